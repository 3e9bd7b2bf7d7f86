"""condensectl bench against the real daemon: its figures agree with each other and with the daemon's."""

import base64
import csv
import io
import json
import os
import signal
import struct
import subprocess
import tempfile
import time
import unittest
import zlib
from pathlib import Path

from daemon_process import TIMEOUT_S, DaemonTest

CTL = os.environ["CONDENSECTL_BINARY"]


def decoded_count(encoded: str) -> int:
    """How many values a histogram holds, read by its published format."""
    outer = base64.b64decode(encoded)
    payload = zlib.decompress(outer[8:])
    (length,) = struct.unpack(">i", payload[4:8])
    counts, total, at = payload[40 : 40 + length], 0, 0
    while at < len(counts):
        value = shift = 0
        while True:
            byte, at = counts[at], at + 1
            value |= (byte if shift == 56 else byte & 0x7F) << shift
            shift += 7
            if shift > 56 or byte < 0x80:
                break
        number = value >> 1 ^ -(value & 1)
        total += max(number, 0)
    return total


class BenchTest(DaemonTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="condensed-bench-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def command(self, *words: str) -> list[str]:
        return [CTL, "--socket", self.daemon.socket_path, "bench", *words]

    def bench(self, *words: str, code: int = 0) -> subprocess.CompletedProcess:
        result = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=TIMEOUT_S)
        self.assertEqual(result.returncode, code, result.stderr)
        return result

    def report(self, *words: str) -> dict:
        path = self.folder / "report.json"
        self.bench(*words, "--json", str(path))
        return json.loads(path.read_text())

    def session_names(self) -> list[str]:
        return [session["session"] for session in self.connect().call(op="list")["sessions"]]

    def check_sums(self, report: dict) -> None:
        """The parts of a report say the same as its whole."""
        for figure, histogram in report["histograms"].items():
            self.assertEqual(decoded_count(histogram["encoded"]), histogram["count"], figure)
            self.assertEqual(sum(part["count"] for part in report["segments"][figure]), histogram["count"], figure)
            quantiles = [point[0] for point in report["percentiles"][figure]]
            values = [point[1] for point in report["percentiles"][figure]]
            self.assertEqual(quantiles, sorted(quantiles))
            self.assertEqual(values, sorted(values))
            self.assertEqual(values[-1], report[f"max_{figure}_ms"])
            self.assertLessEqual(report[f"median_{figure}_ms"], report[f"p99.99_{figure}_ms"])
        self.assertEqual(sum(b["count"] for b in report["by_position"]), report["histograms"]["itl"]["count"])
        self.assertEqual(sum(s["output_tokens"] for s in report["timeline"]), report["total_output_tokens"])
        self.assertEqual(report["stalls"]["count"] > 1000 or len(report["stalls"]["listed"]), report["stalls"]["count"])


class Stream(BenchTest):
    flags = ("--replay-bytes", "16777216")  # so that whole streams can be had again

    def test_every_token_is_counted_at_its_position_and_as_the_daemon_counts(self):
        report = self.report(
            "stream", "--sessions", "3", "--tokens", "400", "--warmup-tokens", "50", "--window", "60", "--sinks", "2"
        )
        self.check_sums(report)
        self.assertEqual(report["schema"], "condensed-bench/1")
        self.assertEqual((report["completed"], report["failed"]), (3, 0))
        self.assertEqual(report["total_output_tokens"], 1200)
        self.assertEqual(report["histograms"]["ttft"]["count"], 3)
        self.assertEqual(report["histograms"]["itl"]["count"], 1197)
        self.assertEqual(report["histograms"]["e2el"]["count"], 3)
        # Positions 0 (the beginning of sequence) to 50 are before, and the first token measured has no gap.
        covered = [(b["from"], b["to"]) for b in report["by_position"]]
        self.assertLessEqual(covered[0][0], 52)
        self.assertLess(52, covered[0][1])
        self.assertLessEqual(covered[-1][0], 450)
        self.assertLess(450, covered[-1][1])
        daemon = report["daemon_side"]
        self.assertEqual(daemon["itl"]["count"], 1197)
        self.assertEqual(daemon["ttft"]["count"], 3)
        self.assertEqual(daemon["generation_tokens"], 1200)
        waited_ms = 3 * report["mean_ttft_ms"] + 1197 * report["mean_itl_ms"]
        self.assertLessEqual(waited_ms, 1.002 * 3 * report["mean_e2el_ms"])
        self.assertEqual(report["settings"]["client"]["window"], 60)
        self.assertEqual(report["settings"]["daemon"]["model"], "books-1m")
        self.assertGreater(report["overhead"]["ns_per_token"], 0)
        self.assertEqual(self.session_names(), [])

    def test_the_same_seed_gives_the_same_text_and_every_session_its_own(self):
        connection = self.connect()
        texts = []
        for _ in range(2):
            watcher = subprocess.Popen(
                self.command("stream", "--sessions", "2", "--seed", "5", "--duration", "30s"), stdout=subprocess.DEVNULL
            )
            names = []
            while len(names) < 2:
                names = self.session_names()
            for name in names:
                while connection.call(op="stat", session=name)["position"] < 2:
                    time.sleep(0.01)
                attached = connection.call(op="attach", session=name, from_position=1)  # after the beginning
                self.assertEqual(attached["event"], "attached", attached)
                texts.append([event["token"] for event in connection.tokens(30)])
                connection.call(op="detach", session=name)
            watcher.send_signal(signal.SIGINT)
            self.assertEqual(watcher.wait(TIMEOUT_S), 130)
        self.assertEqual(texts[:2], texts[2:])
        self.assertNotEqual(texts[0], texts[1])

    def test_an_interrupted_run_reports_and_leaves_nothing(self):
        path = self.folder / "cut.json"
        process = subprocess.Popen(
            self.command("stream", "--sessions", "2", "--json", str(path)), stdout=subprocess.PIPE, text=True
        )
        connection = self.connect()
        while connection.call(op="stat")["tokens_generated"] < 500:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 130)
        self.assertIn("interrupted", out)
        report = json.loads(path.read_text())
        self.check_sums(report)
        self.assertEqual(report["ended"], "interrupted")
        self.assertGreater(report["total_output_tokens"], 100)
        self.assertEqual(self.session_names(), [])

    def test_a_duration_ends_the_run_and_goodput_counts_what_keeps_the_limits(self):
        report = self.report("stream", "--duration", "500ms", "--slo", "ttft=1h,itl=1h")
        self.check_sums(report)
        self.assertGreaterEqual(report["duration"], 0.5)
        self.assertEqual(report["good_token_share"], 1)
        self.assertEqual(report["ended"], "finished")
        # Not itl: tokens that arrive together are 0 s apart.
        self.assertEqual(self.report("stream", "--tokens", "50", "--slo", "ttft=0s")["request_goodput"], 0)

    def test_sessions_of_others_are_left_alone(self):
        self.connect().call(op="open", session="mine", text="It was")
        self.bench("stream", "--tokens", "20")
        self.assertEqual(self.session_names(), ["mine"])

    def test_a_refused_generation_is_counted_and_named(self):
        path = self.folder / "refused.json"
        self.bench("stream", "--tokens", "5", "--top-p", "7", "--json", str(path), code=1)
        report = json.loads(path.read_text())
        self.assertEqual((report["completed"], report["failed"]), (0, 1))
        self.assertEqual(report["errors"], {"bad_request": 1})

    def test_a_daemon_that_goes_away_still_leaves_a_report(self):
        path = self.folder / "lost.json"
        process = subprocess.Popen(
            self.command("stream", "--json", str(path)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        connection = self.connect()
        while connection.call(op="stat")["tokens_generated"] < 200:
            time.sleep(0.01)
        self.assertEqual(self.daemon.restart(), 0)
        _, error = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 3, error)
        report = json.loads(path.read_text())
        self.check_sums(report)
        self.assertNotIn("daemon_side", report)
        self.assertGreater(report["total_output_tokens"], 100)


class Outputs(BenchTest):
    def test_csv_and_hgrm_have_the_figures_of_the_json(self):
        report = self.report(
            "stream", "--tokens", "300", "--csv", str(self.folder / "r.csv"), "--hgrm", str(self.folder / "r")
        )
        rows = list(csv.DictReader(io.StringIO((self.folder / "r.csv").read_text())))
        summary = {row["key"]: row["value"] for row in rows if row["section"] == "summary"}
        self.assertEqual(float(summary["p99_itl_ms"]), report["p99_itl_ms"])
        counts = [int(row["value"]) for row in rows if row["section"] == "by_position" and row["key"] == "count"]
        self.assertEqual(counts, [b["count"] for b in report["by_position"]])
        lines = (self.folder / "r.itl.hgrm").read_text().splitlines()
        self.assertEqual(lines[0].split(), ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"])
        curve = [[float(line.split()[1]), float(line.split()[0])] for line in lines[2:] if not line.startswith("#")]
        self.assertEqual(len(curve), len(report["percentiles"]["itl"]))
        for (q, value), (expected_q, expected) in zip(curve, report["percentiles"]["itl"]):
            self.assertAlmostEqual(q, expected_q, places=9)
            self.assertAlmostEqual(value, expected, places=5)
        self.assertTrue((self.folder / "r.ttft.hgrm").exists())

    def test_json_for_machines_is_one_line_on_standard_output(self):
        command = [CTL, "--json", "--socket", self.daemon.socket_path, "bench", "stream", "--tokens", "30"]
        out = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True).stdout
        self.assertEqual(json.loads(out)["total_output_tokens"], 30)

    def test_what_cannot_be_run_is_refused_before_anything_happens(self):
        for words, what in [
            (["stream", "--duration", "soon"], "--duration soon"),
            (["stream", "--slo", "speed=1s"], "--slo speed=1s"),
            (["stream", "--logit-bias", "x"], "--logit-bias x"),
            (["prefill", "--phase", "0s"], "--phase 0s"),
        ]:
            self.assertIn(what, self.bench(*words, code=2).stderr)
        self.assertIn("/nowhere", self.bench("stream", "--tokens", "9", "--json", "/nowhere/r.json", code=1).stderr)
        self.bench("stream", "--sessions", "0", code=2)
        self.bench("marathon", code=2)
        self.assertEqual(self.connect().call(op="stat")["tokens_generated"], 0)


class Prefill(BenchTest):
    def test_gaps_beside_input_and_without_are_told_apart(self):
        report = self.report(
            "prefill", "--sessions", "2", "--duration", "3s", "--phase", "500ms", "--input-tokens", "64", "--inputs", "2"
        )
        self.check_sums(report)
        counts = {figure: histogram["count"] for figure, histogram in report["histograms"].items()}
        self.assertEqual(counts["itl_with_input"] + counts["itl_without_input"], counts["itl"])
        self.assertGreater(counts["itl_with_input"], 0)
        self.assertGreater(counts["itl_without_input"], 0)
        self.assertEqual(report["total_input_tokens"], 64 * counts["append"])
        self.assertEqual(report["prefill"], {"phase_s": 0.5, "appends": counts["append"], "tokens_per_append": 64})
        self.assertGreaterEqual(report["daemon_side"]["prompt_tokens"], report["total_input_tokens"])
        self.assertEqual(self.session_names(), [])


if __name__ == "__main__":
    unittest.main()
