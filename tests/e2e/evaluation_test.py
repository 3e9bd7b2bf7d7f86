"""condensed-eval: caches compared, what is remembered, the paper's experiment."""

import array
import html
import json
import math
import os
import random
import re
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

from daemon_process import MODEL, TIMEOUT_S

EVAL = os.environ["CONDENSED_EVAL_BINARY"]
WORDS = "the captain said nothing for a long time and the night went on over that dark water while men slept".split()
TEXT = " ".join(random.Random(1).choice(WORDS) for _ in range(500))


def run(*command, code=0):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert result.returncode == code, f"{command}: exit code {result.returncode}: {result.stderr}"
    return result


def page_of(path):
    """The JSON that a page draws."""
    script = re.search(r'<script type="application/json" id="page">(.*?)</script>', path.read_text(), re.S)
    return json.loads(html.unescape(script.group(1)) if "&quot;" in script.group(1) else script.group(1))


def charts_of(page):
    return {section["chart"]["id"]: section["chart"] for section in page["sections"] if "chart" in section}


class EvalTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="condensed-evaluation-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.text = self.folder / "text"
        self.text.write_text(TEXT)


class Compare(EvalTest):
    def perplexity(self, *flags):
        return json.loads(run(EVAL, "perplexity", "--model", MODEL, "--text", self.text, *flags, "--json").stdout)

    def error(self, *flags, code=1):
        return run(EVAL, "perplexity", "--model", MODEL, "--text", self.text, *flags, code=code).stderr

    def test_each_line_is_what_that_cache_alone_gives(self):
        size = ("--sinks", 4, "--window", 60)
        sampling = ("--segments", 3, "--segment-tokens", 8)
        report = self.perplexity(*size, *sampling, "--compare", "sinks,window-only,dense-recompute,dense",
                                 "--dense-tokens", 400)
        caches = {cache["kind"]: cache for cache in report["caches"]}
        sinks = self.perplexity(*size)
        self.assertEqual(caches["sinks"]["nll"], sinks["nll"])
        self.assertEqual(caches["sinks"]["tokens"], sinks["tokens"])
        self.assertEqual(caches["window-only"]["nll"], self.perplexity("--sinks", 0, "--window", 64)["nll"])
        self.assertEqual(caches["window-only"]["nll"], self.perplexity(*size, "--cache", "window-only")["nll"])
        recomputed = self.perplexity(*size, *sampling, "--cache", "dense-recompute")
        self.assertEqual(caches["dense-recompute"]["nll"], recomputed["nll"])
        against = caches["dense-recompute"]["against_first"]
        self.assertEqual(against["tokens"], 24)
        self.assertAlmostEqual(against["perplexity_ratio"] * recomputed["sinks_over_recomputed"], 1)
        for part in caches["dense-recompute"]["parts"]:  # the sample's difference on top of the whole part's
            whole = next(p for p in caches["sinks"]["parts"] if p["position"] == part["position"])
            self.assertLess(abs(part["nll_adjusted"] - whole["nll"]), 0.5)
        dense = self.perplexity("--sinks", 0, "--window", 400, "--tokens", 400)
        self.assertEqual(caches["dense"]["nll"], dense["nll"])
        self.assertEqual(caches["dense"]["tokens"], 399)
        # Nothing is evicted in the first 64 tokens.
        self.assertEqual(caches["window-only"]["growing_parts"][:2], caches["dense"]["growing_parts"][:2])
        self.assertNotIn("against_first", caches["sinks"])

    def test_sinks_are_compared_in_caches_of_one_size(self):
        report = self.perplexity("--sinks", "0,1,4", "--window", 60)
        self.assertEqual(report["capacity"], 64)
        self.assertEqual([(cache["sinks"], cache["window"]) for cache in report["caches"]], [(0, 64), (1, 63), (4, 60)])
        for cache in report["caches"]:
            alone = self.perplexity("--sinks", cache["sinks"], "--window", cache["window"])
            self.assertEqual(cache["nll"], alone["nll"])
            against = cache.get("against_first")
            if against:
                self.assertAlmostEqual(against["nll"], cache["nll"] - report["caches"][0]["nll"])
                self.assertLessEqual(against["nll_95"][0], against["nll"])
                self.assertGreaterEqual(against["nll_95"][1], against["nll"])

    def test_table_and_page_show_the_figures_of_the_json(self):
        page_path = self.folder / "page.html"
        json_path = self.folder / "report.json"
        table = run(EVAL, "perplexity", "--model", MODEL, "--text", self.text, "--window", 60, "--compare", "window-only,dense",
                    "--html", page_path, "--json", json_path).stdout
        report = json.loads(json_path.read_text())
        for cache in report["caches"]:
            self.assertRegex(table, re.escape(cache["name"]) + rf" +{cache['tokens']} +{cache['perplexity']:.3f}")
        charts = charts_of(page_of(page_path))
        for chart, parts in (("along-the-stream", "parts"), ("from-the-beginning", "growing_parts")):
            drawn = {series["name"]: [y for _, y in series["points"]] for series in charts[chart]["series"]}
            self.assertEqual(drawn, {cache["name"]: [part["nll"] for part in cache[parts]] for cache in report["caches"]})
        self.assertEqual(charts["from-the-beginning"]["x"]["scale"], "log")

    def test_what_cannot_be_compared_is_an_error(self):
        self.assertIn("foo", self.error("--compare", "sinks,foo", code=2))
        self.assertIn("--sinks", self.error("--sinks", "1,x", code=2))
        self.assertIn("-1", self.error("--sinks", "1,-1", code=2))
        self.error("--compare", "sinks", "--cache", "sinks", code=2)
        self.assertIn("lists sinks twice", self.error("--compare", "sinks,sinks"))
        self.assertIn("lists 4 twice", self.error("--sinks", "4,1,4"))
        self.assertIn("nothing is predicted", self.error("--compare", "dense", "--dense-tokens", 1))
        self.assertIn("give --compare", self.error("--html", self.folder / "page.html"))
        self.assertIn("cannot be written", self.error("--compare", "sinks", "--html", "/no/such/folder/page.html"))
        self.assertIn("too few", self.error("--compare", "dense-recompute", "--window", 2000))


if __name__ == "__main__":
    unittest.main()
