"""Delays planted in the daemon are found again: in its own accounts of slow steps, and in what bench reports."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from daemon_process import BINARY, MODEL, TIMEOUT_S, Daemon

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


if __name__ == "__main__":
    unittest.main()
