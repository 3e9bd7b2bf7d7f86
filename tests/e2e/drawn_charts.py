"""What a report's page shows, read out of a browser and turned back into data."""

from __future__ import annotations

import math
import re

from browser import Browser

# For each chart: its axes' ticks with their places, and what each series is drawn as.
READ_CHARTS = """
[...document.querySelectorAll("figure")].map((figure) => {
  const ticks = (axis) => [...figure.querySelectorAll(`.${axis}.axis .tick`)].map((tick) => {
    const [, x, y] = /translate\\((.*),(.*)\\)/.exec(tick.getAttribute("transform"));
    return [tick.dataset.value, Number(axis === "x" ? x : y)];
  });
  const pair = (dot) => /translate\\((.*),(.*)\\)/.exec(dot.getAttribute("transform")).slice(1).map(Number);
  const numbers = (rect, ...names) => names.map((name) => Number(rect.getAttribute(name)));
  return {
    id: figure.id, x: ticks("x"), y: ticks("y"),
    bottom: Number(/V([-\\d.]+)/.exec(figure.querySelector(".frame").getAttribute("d"))[1]),
    legend: [...figure.querySelectorAll(".legend .entry")].map((entry) => entry.textContent),
    series: [...figure.querySelectorAll(".series")].map((series) => ({
      name: series.dataset.name,
      lines: [...series.querySelectorAll(".line")].map((line) => line.getAttribute("d")),
      dots: [...series.querySelectorAll(".dot")].map(pair),
      bars: [...series.querySelectorAll(".bar")].map((rect) => numbers(rect, "x", "y", "width", "height")),
      intervals: [...series.querySelectorAll(".interval")].map((path) => path.getAttribute("d")),
    })),
    marks: [...figure.querySelectorAll(".mark")].map((mark) => mark.dataset.label),
  };
})
"""

# Labels that overlap others of their axis or stick out of their chart.
READ_COLLISIONS = """
[...document.querySelectorAll("svg.plot")].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  const groups = [".x.axis text", ".y.axis text", ".mark text", ".axis-label"].map((s) => [...svg.querySelectorAll(s)]);
  const boxes = groups.map((texts) => texts.map((text) => ({text: text.textContent, box: text.getBoundingClientRect()})));
  const beside = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top + 2 || b.bottom <= a.top + 2;
  const inside = (b) => b.left >= frame.left - 1 && b.right <= frame.right + 1 && b.top >= frame.top - 1 && b.bottom <= frame.bottom + 1;
  const id = svg.closest("figure").id;
  const labels = boxes.flat();
  return labels.filter((l) => !inside(l.box)).map((l) => `${id}: "${l.text}" sticks out`).concat(
    labels.flatMap((a, i) => labels.slice(i + 1).filter((b) => !beside(a.box, b.box)).map((b) => `${id}: "${a.text}" on "${b.text}"`)));
})
"""

# Smallest contrast to the background among texts, and among what series are drawn with (WCAG 2.1).
READ_CONTRAST = """
(() => {
  const light = (rgb) => rgb.map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const parse = (colour) => colour.match(/\\d+/g).slice(0, 3).map(Number);
  const paper = light(parse(getComputedStyle(document.body).backgroundColor));
  const contrast = (colour) => {
    const other = light(parse(colour));
    return (Math.max(other, paper) + 0.05) / (Math.min(other, paper) + 0.05);
  };
  const least = (selector, property) =>
    Math.min(...[...document.querySelectorAll(selector)].map((e) => contrast(getComputedStyle(e)[property])));
  return {
    paper, text: Math.min(least("svg text", "fill"), least("h1, h2, p, td, th, .legend span, summary", "color")),
    series: Math.min(least(".dot, .bar", "fill"), least(".line", "stroke")),
  };
})()
"""


class Ruler:
    """An axis read off its ticks: a place in pixels back to a value."""

    def __init__(self, scale: str, ticks: list) -> None:
        self.scale = scale
        if scale == "band":
            self.names = ticks
            return
        values = [self.straight(float(value)) for value, _ in ticks]
        places = [place for _, place in ticks]
        if len(ticks) < 2:
            raise AssertionError(f"an axis with fewer than two ticks: {ticks}")
        self.origin, self.first = places[0], values[0]
        self.step = (values[-1] - values[0]) / (places[-1] - places[0])
        for value, place in zip(values, places):
            if not math.isclose(self.first + (place - self.origin) * self.step, value, rel_tol=1e-6, abs_tol=1e-6 * abs(values[-1])):
                raise AssertionError(f"ticks of a {scale} axis are not where their values are: {ticks}")

    def straight(self, value: float) -> float:
        """The value in what the axis is even in."""
        if self.scale == "log":
            return math.log10(value)
        return -math.log10(1 - value) if self.scale == "quantile" else value

    def value(self, place: float):
        if self.scale == "band":
            return min(self.names, key=lambda tick: abs(tick[1] - place))[0]
        straight = self.first + (place - self.origin) * self.step
        if self.scale == "log":
            return 10**straight
        return 1 - 10**-straight if self.scale == "quantile" else straight

    def reach(self) -> float:
        """What counts as one on this axis, for comparing values to a small part of it."""
        return 1 if self.scale != "linear" else abs(self.step) * 300


def pairs(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([-\d.e]+),([-\d.e]+)", path)]


def drawn_points(style: str, series: dict) -> list[tuple[float, float]]:
    """Places of a series' points, as many as are drawn."""
    if style == "line":
        return pairs(series["lines"][0])
    if style == "dots":
        return [tuple(dot) for dot in series["dots"]]
    return [(x + width / 2, y) for x, y, width, _ in series["bars"]]


def same(ruler: Ruler, found, wanted) -> bool:
    if ruler.scale == "band":
        return found == wanted
    a, b = ruler.straight(found), ruler.straight(wanted)
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6 * ruler.reach())


class ChartChecks:
    """For test cases: compares what a browser shows with the JSON it was drawn from."""

    def check_charts(self, browser: Browser, page: dict) -> None:
        charts = {s["chart"]["id"]: s["chart"] for s in page["sections"] if "chart" in s}
        drawn = {chart["id"]: chart for chart in browser.evaluate(READ_CHARTS)}
        self.assertEqual(list(drawn), list(charts))
        for name, chart in charts.items():
            with self.subTest(chart=name):
                self.check_chart(chart, drawn[name])

    def check_chart(self, chart: dict, drawn: dict) -> None:
        x, y = Ruler(chart["x"]["scale"], drawn["x"]), Ruler(chart["y"]["scale"], drawn["y"])
        self.assertEqual(drawn["legend"], [series["name"] for series in chart["series"]])
        self.assertEqual([series["name"] for series in drawn["series"]], drawn["legend"])
        self.assertEqual(sorted(drawn["marks"]), sorted(mark["label"] for mark in chart.get("marks", [])))
        for series, shapes in zip(chart["series"], drawn["series"]):
            style = series.get("style", "line")
            wanted = [point for point in series["points"] if point[1] is not None]
            places = drawn_points(style, shapes)
            self.assertEqual(len(places), len(wanted), series["name"])
            for place, point in zip(places, wanted):
                # Bars of one group stand beside each other, off their x.
                if style != "bars":
                    self.assertTrue(same(x, x.value(place[0]), point[0]), (series["name"], place, point))
                if y.scale == "log" and point[1] <= 0:
                    self.assertEqual(place[1], drawn["bottom"], (series["name"], place, point))
                    continue
                self.assertTrue(same(y, y.value(place[1]), point[1]), (series["name"], place, point))
            self.check_gaps(style, series, shapes)
            self.check_intervals(y, wanted, shapes)

    def check_gaps(self, style: str, series: dict, shapes: dict) -> None:
        if style == "line":
            runs = "".join("x" if y is not None else " " for _, y, *_ in series["points"]).split()
            self.assertEqual(shapes["lines"][0].count("M"), len(runs), series["name"])

    def check_intervals(self, y: Ruler, wanted: list, shapes: dict) -> None:
        known = [point for point in wanted if len(point) == 4 and None not in point]
        self.assertEqual(len(shapes["intervals"]), len(known))
        for path, (_, _, low, high) in zip(shapes["intervals"], known):
            _, begin, end = re.match(r"M([-\d.e]+),([-\d.e]+)V([-\d.e]+)", path).groups()
            self.assertTrue(same(y, y.value(float(begin)), low), path)
            self.assertTrue(same(y, y.value(float(end)), high), path)

    def check_legibility(self, browser: Browser, dark: bool) -> None:
        self.assertEqual(browser.evaluate(READ_COLLISIONS), [])
        contrast = browser.evaluate(READ_CONTRAST)
        self.assertGreaterEqual(contrast["text"], 4.5)
        self.assertGreaterEqual(contrast["series"], 3)
        self.assertTrue(contrast["paper"] < 0.1 if dark else contrast["paper"] > 0.9)
