"""Pages of real runs in a headless browser: every chart is drawn, from the figures of the JSON report."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from browser import CHROMIUM, Browser
from daemon_process import TIMEOUT_S, Daemon
from drawn_charts import ChartChecks

CTL = os.environ["CONDENSECTL_BINARY"]
TOKENS = os.environ.get("CONDENSED_BENCH_TOKENS", "12000")  # of each run; documentation's figures are from 200000
CHARTS_OF_A_RUN = [
    "itl_by_position",
    "itl_percentiles",
    "throughput_over_time",
    "itl_over_time",
    "batch_over_time",
    "evictions_over_time",
    "memory_over_time",
    "cache_over_tokens",
    "stalls",
]


def ctl(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([CTL, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S)


def setUpModule():
    """Two runs, and a browser to look at them with."""
    if not CHROMIUM:
        raise unittest.SkipTest("no browser: install the package chromium")
    global BROWSER, FOLDER
    BROWSER = Browser()
    unittest.addModuleCleanup(BROWSER.close)
    folder = tempfile.TemporaryDirectory(prefix="condensed-bench-page-")
    unittest.addModuleCleanup(folder.cleanup)
    FOLDER = Path(folder.name)
    daemon = Daemon()
    unittest.addModuleCleanup(daemon.clean_up)
    for name, window in (("narrow", "60"), ("wide", "252")):
        # So low a threshold that there are stalls to be shown.
        flags = ["--tokens", TOKENS, "--window", window, "--stall-threshold", "50us"]
        files = ["--json", str(FOLDER / f"{name}.json"), "--html", str(FOLDER / f"{name}.html")]
        run = ctl("--socket", daemon.socket_path, "bench", "stream", *flags, *files)
        if run.returncode != 0:
            raise RuntimeError(run.stdout + run.stderr)


def report(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text())


def points(page: dict, chart: str, series: int = 0) -> list:
    (found,) = (s["chart"] for s in page["sections"] if s.get("chart", {}).get("id") == chart)
    return found["series"][series]["points"]


class BenchPage(unittest.TestCase, ChartChecks):
    def shown(self, file: str, dark: bool = False) -> dict:
        """Opens a page and returns the JSON in it; what is drawn is that, legibly, and nothing goes wrong."""
        path = FOLDER / file
        BROWSER.open(path, dark=dark)
        page = BROWSER.evaluate("JSON.parse(document.getElementById('page').textContent)")
        self.check_charts(BROWSER, page)
        self.check_legibility(BROWSER, dark)
        self.assertEqual(BROWSER.complaints(), [])
        self.assertEqual(BROWSER.requests(), [path.as_uri()])
        return page

    def assert_near(self, found: list, wanted: list) -> None:
        """The numbers are the same as far as they survive being written twice."""
        self.assertEqual(len(found), len(wanted))
        for a, b in zip(found, wanted):
            for x, y in zip(a, b):
                self.assertAlmostEqual(x, y, delta=1e-9 * max(1, abs(y)))

    def test_a_run_shows_what_its_report_says(self):
        for dark in (False, True):
            page = self.shown("wide.html", dark)
            charts = [s["chart"]["id"] for s in page["sections"] if "chart" in s]
            self.assertEqual(charts, CHARTS_OF_A_RUN)
        self.compare_with_report(page, report("wide"))

    def compare_with_report(self, page: dict, run: dict) -> None:
        for series, member in enumerate(("p50_ms", "p99_ms", "max_ms")):
            bins = [[(b["from"] + b["to"]) / 2, b[member]] for b in run["by_position"]]
            found = [point for point in points(page, "itl_by_position", series) if point[1] is not None]
            self.assert_near(found, bins)
        curve = [point for point in run["percentiles"]["itl"] if point[0] < 1]
        self.assertGreater(len(curve), 10)
        self.assert_near(points(page, "itl_percentiles"), curve)
        slices = run["timeline"]
        rates = [[s["t_s"] + s["length_s"] / 2, s["output_tokens"] / s["length_s"]] for s in slices]
        self.assert_near(points(page, "throughput_over_time"), rates)
        memory = [[s["t_s"] + s["length_s"], s["resident_bytes"]] for s in slices if "resident_bytes" in s]
        self.assert_near(points(page, "memory_over_time"), memory)
        caches = [point[1] for point in points(page, "cache_over_tokens")]
        self.assertEqual(caches, [s["cache_bytes"] for s in slices if "cache_bytes" in s])
        stalls = [[s["position"], s["itl_ms"]] for s in run["stalls"]["listed"]]
        self.assertGreater(len(stalls), 0)
        self.assert_near(points(page, "stalls"), stalls)

    def test_runs_are_compared(self):
        files = [str(FOLDER / "narrow.json"), str(FOLDER / "wide.json")]
        done = ctl("bench", "compare", *files, "--html", str(FOLDER / "both.html"), "--json", str(FOLDER / "both"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("client window      60   252", done.stdout)
        page = self.shown("both.html")
        for i, name in enumerate(("narrow", "wide")):
            curve = [point for point in report(name)["percentiles"]["itl"] if point[0] < 1]
            self.assert_near(points(page, "itl_percentiles", i), curve)
        comparison = json.loads((FOLDER / "both").read_text())
        self.assertEqual(comparison["runs"], ["narrow", "wide"])
        self.assertEqual([d["setting"] for d in comparison["differing_settings"]], ["client window"])
        itl = next(q for q in comparison["quantities"] if q["name"] == "itl mean_ms")
        means = [report(name)["mean_itl_ms"] for name in ("narrow", "wide")]
        self.assert_near([[run["value"]] for run in itl["runs"]], [[mean] for mean in means])
        # The mean of the parts, weighted by what they count, is the mean of the whole.
        for name, run, mean in zip(("narrow", "wide"), itl["runs"], means):
            if len(report(name)["segments"]["itl"]) >= 10:
                self.assertAlmostEqual(run["parts_mean"], mean, delta=0.002 * mean)

    def test_files_that_are_no_reports_are_refused(self):
        other = FOLDER / "other.json"
        other.write_text('{"schema": "condensed-bench/99"}')
        done = ctl("bench", "compare", str(FOLDER / "wide.json"), str(other))
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn(f'{other} is not a report of `bench --json`: its schema is "condensed-bench/99"', done.stderr)


if __name__ == "__main__":
    unittest.main()
