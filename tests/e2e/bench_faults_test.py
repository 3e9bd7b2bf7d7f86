"""Delays planted in the daemon are found again: in its own accounts of slow steps, and in what bench reports."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from daemon_process import BINARY, MODEL, TIMEOUT_S, Daemon

CTL = os.environ["CONDENSECTL_BINARY"]
FAILPOINTS_BINARY = os.environ["CONDENSED_FAILPOINTS_BINARY"]
VARIABLE = "CONDENSED_FAILPOINTS"


class FaultyDaemon(Daemon):
    """A daemon with delays planted in it."""

    def __init__(self, failpoints: str, *flags: str) -> None:
        self.failpoints = failpoints
        super().__init__(*flags)

    def command(self) -> list[str]:
        return [FAILPOINTS_BINARY, *super().command()[1:]]

    def start(self) -> subprocess.Popen:
        with mock.patch.dict(os.environ, {VARIABLE: self.failpoints}):
            return super().start()


class FaultyDaemonTest(unittest.TestCase):
    def faulty(self, failpoints: str, *flags: str) -> Daemon:
        daemon = FaultyDaemon(failpoints, *flags)
        self.addCleanup(daemon.clean_up)
        return daemon


def bench(daemon: Daemon, *arguments: str) -> dict:
    """The report of a run."""
    path = Path(daemon.folder.name) / "report.json"
    command = [CTL, "--socket", daemon.socket_path, "bench", *arguments, "--json", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    if result.returncode != 0:
        raise AssertionError(f"{command} ended with {result.returncode}: {result.stdout}{result.stderr}")
    return json.loads(path.read_text())


class Failpoints(FaultyDaemonTest):
    def test_malformed_ones_refuse_to_start(self):
        for text in ("step=sleep:eighty", "nowhere=sleep:1ms", "step=sleep:1ms/every:0"):
            with tempfile.TemporaryDirectory(prefix="condensed-e2e-") as folder:
                result = subprocess.run(
                    [FAILPOINTS_BINARY, "--model", MODEL, "--socket", f"{folder}/socket"],
                    env={**os.environ, VARIABLE: text},
                    capture_output=True,
                    text=True,
                    timeout=TIMEOUT_S,
                )
            self.assertEqual(result.returncode, 1, text)
            self.assertIn(f"{VARIABLE}: expected", result.stderr)

    def test_the_daemon_that_is_installed_has_none(self):
        self.assertIn(VARIABLE.encode(), Path(FAILPOINTS_BINARY).read_bytes())
        self.assertNotIn(VARIABLE.encode(), Path(BINARY).read_bytes())


class Accounts(FaultyDaemonTest):
    """What the daemon says of itself."""

    def slow_tokens(self, failpoints: str, n: int, above_ms: float = 60) -> list[dict]:
        connection = self.faulty(failpoints).connect()
        connection.call(op="open", session="a", text="It was")
        connection.send(op="generate", session="a", max_tokens=n, ignore_eos=True, account_above_ms=above_ms)
        events = connection.until("done")
        self.assertEqual(len(events), n + 1)
        return [event for event in events if "account" in event]

    def every(self, n: int, events: list[dict]) -> list[dict]:
        """Those that stand n positions apart, of events among which a busy machine may have put others."""
        by_position = {event["position"]: event for event in events}
        rows = [[by_position[p] for p in by_position if p % n == rest] for rest in {p % n for p in by_position}]
        row = max(rows, key=len)
        for earlier, later in zip(row, row[1:]):
            self.assertEqual(later["position"] - earlier["position"], n)
        return row

    def test_a_slow_step_is_told_with_its_size(self):
        slow = self.slow_tokens("step=sleep:80ms/every:300", 1000)
        planted = self.every(300, [event for event in slow if event["account"]["step_ms"] >= 80])
        self.assertIn(len(planted), (3, 4))  # input takes steps, too
        for event in planted:
            account = event["account"]
            self.assertGreaterEqual(account["interval_ms"], account["step_ms"])
            self.assertEqual((account["decode_rows"], account["prompt_rows"], account["sessions"]), (1, 0, 1))
            parts = ("step_ms", "other_steps_ms", "between_steps_ms", "idle_ms", "starting_ms")
            self.assertAlmostEqual(sum(account[part] for part in parts), account["interval_ms"], places=3)
            # A thread that slept has used no processor: what it used is less than what passed by about the sleep.
            self.assertLessEqual(account["engine_thread"]["cpu_ms"], account["interval_ms"] - 75)

    def test_what_holds_up_between_steps_is_told_apart(self):
        slow = self.slow_tokens("between_steps=sleep:80ms/every:300", 700)
        planted = self.every(300, [event for event in slow if event["account"]["between_steps_ms"] >= 80])
        self.assertIn(len(planted), (2, 3))
        for event in planted:
            self.assertGreaterEqual(event["account"]["preparing_ms"], 80)
            self.assertLess(event["account"]["step_ms"], event["account"]["interval_ms"] - 80)

    def test_nobody_is_told_who_has_not_asked(self):
        connection = self.faulty("step=sleep:80ms/every:20").connect()
        connection.call(op="open", session="a", text="It was")
        connection.send(op="generate", session="a", max_tokens=50)
        self.assertFalse([event for event in connection.until("done") if "account" in event])


class StreamWithPlantedDelays(FaultyDaemonTest):
    """80 ms in every 5,000th step: one token in 5,000, whatever else the machine does."""

    TOKENS = 26_000

    def setUp(self) -> None:
        flags = ("--tokens", str(self.TOKENS), "--warmup-tokens", "100", "--stall-threshold", "20ms")
        self.report = bench(self.faulty("step=sleep:80ms/every:5000"), "stream", *flags)

    def test_they_are_found_where_and_as_large_as_they_are(self):
        report = self.report
        self.assertEqual(report["total_output_tokens"], self.TOKENS)
        planted = [s for s in report["stalls"]["listed"] if s["account"] and s["account"]["step_ms"] >= 80]
        rests = [stall["position"] % 5000 for stall in planted]
        rest = max(rests, key=rests.count)
        planted = [stall for stall in planted if stall["position"] % 5000 == rest]
        # Where the machine held up the tool just before, the tool saw less of a delay than there was.
        self.assertGreaterEqual(len(planted), 4)
        self.assertGreaterEqual(len([stall for stall in planted if stall["itl_ms"] >= 80]), 3)
        for earlier, later in zip(planted, planted[1:]):
            self.assertIn(later["position"] - earlier["position"], (5000, 10_000))
            self.assertGreater(later["t_s"], earlier["t_s"])
        for stall in planted:
            account = stall["account"]
            self.assertLess(account["step_ms"], 1000)
            self.assertLessEqual(account["step_ms"], account["interval_ms"])
        # By position: a bin that holds one of them says so.
        bins = report["by_position"]
        for stall in planted:
            (holder,) = [each for each in bins if each["from"] <= stall["position"] < each["to"]]
            self.assertGreaterEqual(holder["max_ms"] * 1.002, stall["itl_ms"])

        # One in 5,000 lies above 99.98 %: p99.99 shows it. p99.9 does not, but for what a busy machine adds: so
        # many were late in all, and above them the curve begins to show 80 ms.
        self.assertGreaterEqual(report["p99.99_itl_ms"], 80)
        self.assertGreaterEqual(report["max_itl_ms"], 80)
        late = len([stall for stall in report["stalls"]["listed"] if stall["itl_ms"] >= 80])
        if late < self.TOKENS / 1000 - 1:
            self.assertLess(report["p99.9_itl_ms"], 80)
        shown_from = min(q for q, ms in report["percentiles"]["itl"] if ms >= 80)
        self.assertGreater(shown_from, 1 - (late + 2) / self.TOKENS)
        self.assertLessEqual(shown_from, 0.9999)
        # And the settings of the daemon that it was are in the report.
        self.assertEqual(report["settings"]["daemon"]["settings"]["window"], 124)


class OpenLoop(FaultyDaemonTest):
    """A server that takes one row a step, and at least 5 ms for it, gets requests faster than it can answer."""

    REQUESTS = 60
    OUTPUT_TOKENS = 10
    STEP_MS = 5

    def setUp(self) -> None:
        self.daemon = self.faulty(f"step=sleep:{self.STEP_MS}ms", "--max-batch-tokens", "1")
        folder = Path(self.daemon.folder.name)
        self.turns = folder / "turns"
        self.turns.write_text("Go on.\n")
        self.trace = folder / "trace"

    def halves_of_wait(self, report: dict) -> tuple[float, float]:
        segments = report["segments"]["wait"]
        total = sum(segment["count"] for segment in segments)
        halves = [[0.0, 0], [0.0, 0]]
        seen = 0
        for segment in segments:
            half = halves[0 if seen + segment["count"] <= total / 2 else 1]
            half[0] += segment["mean_ms"] * segment["count"]
            half[1] += segment["count"]
            seen += segment["count"]
        return halves[0][0] / halves[0][1], halves[1][0] / halves[1][1]

    def test_waiting_grows_where_requests_come_faster_than_answers(self):
        loop = ("--turns-file", str(self.turns), "--outstanding", "1", "--keep-sessions")
        self.trace.write_text(f"0 {self.OUTPUT_TOKENS}\n")
        rows = bench(self.daemon, "arrivals", "--trace", str(self.trace), *loop)
        rows_each = rows["total_input_tokens"] + self.OUTPUT_TOKENS - 1
        self.assertGreater(rows_each, self.OUTPUT_TOKENS)
        # The sleeps alone take so long; at 120 % of what they allow the gaps are shorter by a sixth.
        service_ms = (rows_each - 1) * self.STEP_MS
        gap_ms = service_ms / 1.2
        self.trace.write_text("".join(f"{i * gap_ms / 1e3:.6f} {self.OUTPUT_TOKENS}\n" for i in range(self.REQUESTS)))

        report = bench(self.daemon, "arrivals", "--trace", str(self.trace), *loop)
        self.assertEqual(report["completed"], self.REQUESTS)
        self.assertEqual(report["arrivals"]["not_sent"], 0)
        # Each waits for what those before it took beyond their gaps, which the sleeps guarantee.
        behind_ms = service_ms - gap_ms
        self.assertGreaterEqual(report["max_wait_ms"], (self.REQUESTS - 1) * behind_ms)
        first, second = self.halves_of_wait(report)
        self.assertGreater(second - first, self.REQUESTS / 2 * behind_ms * 0.7)
        self.assertGreaterEqual(report["max_ttft_ms"], report["max_wait_ms"])

        # With the next request sent when the answer is there, the same server looks as if it kept up.
        closed = bench(
            self.daemon,
            *("conversation", "--users", "1", "--turns", "10", "--think-ms", "0", "--turns-file", str(self.turns)),
            *("--answer-tokens", str(self.OUTPUT_TOKENS)),
        )
        self.assertNotIn("wait", closed["histograms"])
        self.assertLess(closed["mean_ttft_ms"], report["mean_ttft_ms"])

    def test_what_was_due_and_not_sent_is_counted(self):
        loop = ("--turns-file", str(self.turns), "--outstanding", "1", "--keep-sessions")
        # The first takes longer than the run; three more are due within it, one is not.
        self.trace.write_text("0 1000\n0.1 1\n0.2 1\n0.3 1\n3600 1\n")
        report = bench(self.daemon, "arrivals", "--trace", str(self.trace), "--duration", "500ms", *loop)
        self.assertEqual((report["arrivals"]["sent"], report["arrivals"]["not_sent"]), (1, 3))
        self.assertGreaterEqual(report["arrivals"]["longest_not_sent_ms"], 399)


class Loads(FaultyDaemonTest):
    """The other scenarios do what they say; no delays are planted."""

    def test_conversations_can_be_repeated(self):
        flags = ("--users", "2", "--turns", "3", "--think-ms", "1", "--answer-tokens", "20", "--temperature", "0")
        reports = [bench(self.faulty(""), "conversation", *flags, "--seed", seed) for seed in ("7", "7", "8")]
        same, again, other = [(r["total_input_tokens"], r["total_output_tokens"]) for r in reports]
        self.assertEqual(same, again)
        self.assertNotEqual(same, other)
        self.assertEqual(reports[0]["completed"], 6)
        self.assertEqual(reports[0]["conversation"], {"users": 2, "turns": 6})

    def test_sessions_fall_asleep_and_wake_in_churn(self):
        with tempfile.TemporaryDirectory(prefix="condensed-e2e-") as state:
            daemon = self.faulty("", "--state-dir", state, "--max-resident-sessions", "4")
            flags = ("--sessions", "12", "--workers", "2", "--actions", "80", "--answer-tokens", "4")
            report = bench(daemon, "churn", *flags)
            self.assertGreaterEqual(sum(report["churn"]["actions"].values()), 80)
            self.assertGreater(report["churn"]["woken"], 0)
            self.assertEqual(report["histograms"]["wake"]["count"], report["churn"]["woken"])
            self.assertLessEqual(report["churn"]["sessions"], 12)
            # It leaves nothing behind.
            self.assertEqual(daemon.connect().call(op="list")["sessions"], [])
            self.assertEqual(daemon.stop(), 0)

    def test_what_makes_no_load_is_refused(self):
        daemon = self.faulty("")
        for arguments, expected in (
            (("arrivals",), "give --rate, or --trace FILE"),
            (("arrivals", "--rate", "1", "--trace", "x"), "excludes"),
            (("arrivals", "--trace", "/nonexistent"), "/nonexistent: cannot be read"),
            (("conversation", "--template", "x"), "expected {}"),
            (("churn", "--mix", "open=1"), "talk above 0"),
        ):
            result = subprocess.run(
                [CTL, "--socket", daemon.socket_path, "bench", *arguments],
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
            )
            self.assertEqual(result.returncode, 2, arguments)
            self.assertIn(expected, result.stderr)


if __name__ == "__main__":
    unittest.main()
