"""Pages of reports in a headless browser: what is drawn is what the JSON says, legibly and without a network."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from browser import CHROMIUM, TIMEOUT_S, Browser
from drawn_charts import READ_CHARTS, ChartChecks

PAGE_WRITER = os.environ["CONDENSED_PAGE_WRITER"]
HOSTILE = '</script><script>throw new Error("run")</script><img src="http://127.0.0.1:9/x">&amp;'


def setUpModule():
    if not CHROMIUM:
        raise unittest.SkipTest("no browser: install the package chromium")
    global BROWSER
    BROWSER = Browser()
    unittest.addModuleCleanup(BROWSER.close)


def chart(name: str, x: dict, y: dict, *series: dict, **more) -> dict:
    axes = {"x": {"label": "x", **x}, "y": {"label": "y", **y}}
    return {"heading": name, "chart": {"id": name, "title": name, **axes, "series": list(series), **more}}


def every_kind() -> dict:
    """A page with each scale, style and extra."""
    linear, log = {"scale": "linear"}, {"scale": "log"}
    waves = [[i * 1000, None if i in (7, 8, 12) else 2 + (i * 7919 % 83) / 10] for i in range(60)]
    quantiles = [[q, 0.3 / (1 - q) ** 0.5] for q in (0, 0.5, 0.75, 0.9, 0.99, 0.999, 0.9999, 0.99999)]
    sections = [
        chart(
            "lines",
            {**linear, "label": "position in the stream, tokens"},
            linear,
            {"name": "sparse", "points": [[0, 1], [1500, None], [30000, 9.5]]},
            {"name": "wave", "points": waves},
            marks=[{"x": 10000 + 300 * i, "label": f"mark {i}"} for i in range(6)] + [{"y": 5, "label": "limit"}],
        ),
        chart("logarithms", log, log, {"name": "powers", "points": [[3**i, 1.7**-i] for i in range(12)]}),
        chart("narrow", linear, log, {"name": "steady", "points": [[i, 0.29 + i / 1e4] for i in range(5)]}),
        chart("percentiles", {"scale": "quantile"}, log, {"name": "curve", "points": quantiles}),
        chart(
            "memory",
            {**linear, "unit": "seconds"},
            {**linear, "unit": "bytes"},
            {"name": "resident", "points": [[i * 60, 2.3e7 + i * 1e4] for i in range(400)]},
        ),
        chart("dots", linear, {**linear, "zero": False}, {"name": "stalls", "style": "dots", "points": waves}),
        chart("one", linear, linear, {"name": "single", "points": [[5, 5]]}),
        chart(
            "bands",
            {"scale": "band"},
            linear,
            {"name": "plain", "style": "bars", "points": [["256", 10, 9, 11], ["512", None], ["1024", 8]]},
            {"name": "condensed", "style": "bars", "points": [["256", 30, 29, 31.5], ["512", 29], ["1024", 28]]},
        ),
        chart("steps", log, linear, {"name": "share", "style": "bars", "points": [[2**i, i / 9] for i in range(1, 10)]}),
        chart(
            "many",
            linear,
            log,
            *({"name": f"run {k}", "points": [[i, (k + 1) * (i + 1)] for i in range(50)]} for k in range(7)),
        ),
        {"heading": HOSTILE, "text": HOSTILE, "table": {"columns": [HOSTILE, "n"], "rows": [[HOSTILE, 1.25], ["b", None]]}},
    ]
    return {"title": HOSTILE, "subtitle": HOSTILE, "sections": sections}


class Page(unittest.TestCase, ChartChecks):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="condensed-report-")
        cls.addClassCleanup(folder.cleanup)
        cls.page = every_kind()
        cls.path = Path(folder.name) / "report.html"
        with open(cls.path, "wb") as file:
            subprocess.run(
                [PAGE_WRITER], input=json.dumps(cls.page).encode(), stdout=file, check=True, timeout=TIMEOUT_S
            )

    def test_what_is_drawn_is_the_data(self):
        BROWSER.open(self.path)
        self.check_charts(BROWSER, self.page)
        self.assertEqual(BROWSER.complaints(), [])

    def test_it_needs_nothing_but_itself(self):
        BROWSER.open(self.path)
        self.assertEqual(BROWSER.requests(), [self.path.as_uri()])

    def test_it_is_legible_light_and_dark_wide_and_narrow(self):
        for dark in (False, True):
            for width in (1100, 420):
                with self.subTest(dark=dark, width=width):
                    BROWSER.open(self.path, width=width, dark=dark)
                    self.check_legibility(BROWSER, dark)
                    scrolls = BROWSER.evaluate("document.documentElement.scrollWidth > innerWidth")
                    self.assertFalse(scrolls, "wider than its window")

    def test_text_stays_text(self):
        BROWSER.open(self.path)
        for selector in ("h1", ".subtitle", "section:last-child h2", "section:last-child p", "section:last-child td"):
            shown = BROWSER.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")
            self.assertEqual(shown, HOSTILE, selector)
        self.assertEqual(BROWSER.evaluate("document.querySelectorAll('img').length"), 0)
        inside = BROWSER.evaluate("JSON.parse(document.getElementById('page').textContent)")
        self.assertEqual((inside["title"], inside["sections"][-1]), (HOSTILE, self.page["sections"][-1]))

    def test_arrow_keys_read_values(self):
        BROWSER.open(self.path)
        read = "[...document.querySelectorAll('#lines .value')].map((value) => value.textContent)"
        BROWSER.evaluate("document.querySelector('#lines .plot').focus()")
        self.assertEqual(BROWSER.evaluate(read), ["", ""])
        BROWSER.press("ArrowRight")
        self.assertEqual(BROWSER.evaluate(read), ["1", "2"])
        BROWSER.press("End")
        self.assertEqual(BROWSER.evaluate(read), ["", str(self.page["sections"][0]["chart"]["series"][1]["points"][-1][1])])
        BROWSER.evaluate("document.querySelector('#lines .plot').blur()")
        self.assertEqual(BROWSER.evaluate(read), ["", ""])

    def test_points_without_a_place_are_counted(self):
        self.assertEqual(self.notes("logarithms"), "")
        page = {"title": "t", "sections": [chart("c", {"scale": "quantile"}, {"scale": "log"})]}
        page["sections"][0]["chart"]["series"] = [{"name": "s", "points": [[0, 1], [0.5, 0], [0.9, None], [1, 3]]}]
        path = self.path.with_name("hidden.html")
        path.write_bytes(subprocess.run([PAGE_WRITER], input=json.dumps(page).encode(), capture_output=True).stdout)
        self.assertEqual(
            self.notes("c", path),
            "Of 2 values 1 are 0: on a logarithmic axis they stand at its lower edge. 1 more have no place on this axis.",
        )
        (drawn,) = BROWSER.evaluate(READ_CHARTS)
        self.assertEqual(drawn["series"][0]["dots"][1][1], drawn["bottom"])

    def notes(self, name: str, path: Path | None = None) -> str:
        BROWSER.open(path or self.path)
        return BROWSER.evaluate(f"document.querySelector('#{name} .notes').textContent")


if __name__ == "__main__":
    unittest.main()
