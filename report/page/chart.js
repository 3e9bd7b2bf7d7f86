"use strict";

// Draws a chart: {id, title, x, y, series, marks}, as report/html_page.h describes it.

const GAP = 8; // pixels between labels
const DASHES = [null, "7 3", "2 3", "9 3 2 3", "4 2", "1 2", "12 4"];
const SHAPES = ["Circle", "Square", "Triangle", "Diamond", "Cross", "Star", "Wye"].map((name) => d3["symbol" + name]);

function colour(index) {
  return "var(--series-" + (index % 7) + ")";
}

function styleOf(series) {
  return series.style || "line";
}

// In pixels, in the font of the charts' texts.
const widthOf = (() => {
  const canvas = document.createElement("canvas").getContext("2d");
  canvas.font = "12px " + getComputedStyle(document.body).fontFamily;
  return (text) => canvas.measureText(text).width;
})();

function pointsOf(chart) {
  return [].concat(...chart.series.map((series) => series.points));
}

// Pixels of everything around the plot, and both axes.
function layOut(chart, width) {
  const points = pointsOf(chart);
  const height = width < 480 ? 240 : 320;
  const marks = chart.marks || [];
  const xs = points.map((point) => point[0]).concat(marks.filter((mark) => "x" in mark).map((mark) => mark.x));
  const ys = d3.merge(points.map((point) => point.slice(1))).concat(marks.map((mark) => mark.y))
    .filter((value) => typeof value === "number");
  const lanes = Math.min(3, marks.filter((mark) => "x" in mark).length);
  const box = { top: 30 + 15 * lanes, bottom: height - 46, right: width - 14 };
  const y = makeAxis(chart.y, ys, [box.bottom, box.top], (box.bottom - box.top) / 42, false);
  box.left = 12 + d3.max(y.ticks, (tick) => widthOf(tick.text));
  const across = () => makeAxis(chart.x, xs, barRange(chart, box), (box.right - box.left) / 90, true);
  const first = across();
  const excess = d3.max(first.ticks, (tick) => first.at(tick.value) + widthOf(tick.text) / 2) - width;
  box.right -= Math.max(0, excess); // the last label has room
  const x = across();
  x.shown = withRoom(x.ticks, x.at);
  return { chart, width, height, lanes, box, x, y };
}

// Bars on a numeric axis are as wide as their distance, so the outer ones need half of that beyond the data.
function barRange(chart, box) {
  const bars = chart.series.filter((series) => styleOf(series) === "bars");
  if (chart.x.scale === "band" || bars.length === 0) {
    return [box.left, box.right];
  }
  const most = d3.max(bars, (series) => series.points.length);
  const half = (box.right - box.left) / Math.max(2, 2 * most);
  return [box.left + half, box.right - half];
}

function drawAxes(svg, layout) {
  const { chart, box, x, y } = layout;
  const xTicks = svg.append("g").attr("class", "x axis").selectAll("g").data(x.shown).enter()
    .append("g").attr("class", "tick").attr("data-value", (tick) => tick.value)
    .attr("transform", (tick) => "translate(" + x.at(tick.value) + ",0)");
  xTicks.append("line").attr("y1", box.top).attr("y2", box.bottom);
  xTicks.append("text").attr("y", box.bottom + 17).attr("text-anchor", "middle").text((tick) => tick.text);
  const yTicks = svg.append("g").attr("class", "y axis").selectAll("g").data(y.ticks).enter()
    .append("g").attr("class", "tick").attr("data-value", (tick) => tick.value)
    .attr("transform", (tick) => "translate(0," + y.at(tick.value) + ")");
  yTicks.append("line").attr("x1", box.left).attr("x2", box.right);
  yTicks.append("text").attr("x", box.left - 6).attr("dy", "0.32em").attr("text-anchor", "end")
    .text((tick) => tick.text);
  svg.append("path").attr("class", "frame")
    .attr("d", "M" + box.left + "," + box.top + "V" + box.bottom + "H" + box.right);
  svg.append("text").attr("class", "axis-label").attr("x", 0).attr("y", 13).text(chart.y.label);
  svg.append("text").attr("class", "axis-label").attr("x", box.right).attr("y", box.bottom + 37)
    .attr("text-anchor", "end").text(chart.x.label);
}

function isDrawn(layout, point) {
  return point[1] !== null && Number.isFinite(layout.x.at(point[0])) && Number.isFinite(layout.y.at(point[1]));
}

// Where the bars of a series stand beside those of others.
function barPlaces(layout, series) {
  const groups = layout.chart.series.filter((each) => styleOf(each) === "bars");
  const places = Array.from(new Set([].concat(...groups.map((each) => each.points.map((p) => layout.x.at(p[0]))))));
  const gaps = d3.pairs(places.filter(Number.isFinite).sort(d3.ascending), (a, b) => b - a);
  const room = layout.x.bandwidth || 0.85 * (d3.min(gaps) || (layout.box.right - layout.box.left) / 4);
  const width = Math.max(1, room / groups.length);
  return { width, offset: (groups.indexOf(series) - groups.length / 2) * width };
}

function drawBars(group, layout, series, drawn, index) {
  const { width, offset } = barPlaces(layout, series);
  const base = Math.min(layout.box.bottom, layout.y.at(0) || layout.box.bottom);
  group.selectAll("rect").data(drawn).enter().append("rect").attr("class", "bar").attr("fill", colour(index))
    .attr("x", (point) => layout.x.at(point[0]) + offset).attr("width", width * 0.94)
    .attr("y", (point) => Math.min(base, layout.y.at(point[1])))
    .attr("height", (point) => Math.abs(base - layout.y.at(point[1])));
  return offset + width * 0.47;
}

function drawLine(group, layout, series, drawn, index) {
  const line = d3.line().defined((point) => isDrawn(layout, point))
    .x((point) => layout.x.at(point[0])).y((point) => layout.y.at(point[1]));
  group.append("path").attr("class", "line").attr("stroke", colour(index))
    .attr("stroke-dasharray", DASHES[index % DASHES.length]).attr("d", line(series.points) || "");
  if (drawn.length <= 40) {
    drawDots(group, layout, drawn, index, 22);
    return;
  }
  // A point between two gaps has no line to be seen on.
  const alone = series.points.filter((point, i) => isDrawn(layout, point) &&
    ![series.points[i - 1], series.points[i + 1]].some((beside) => beside && isDrawn(layout, beside)));
  drawDots(group, layout, alone, index, 22);
}

function drawDots(group, layout, points, index, area) {
  const shape = d3.symbol().type(SHAPES[index % SHAPES.length]).size(area);
  group.selectAll("path.dot").data(points).enter().append("path").attr("class", "dot").attr("fill", colour(index))
    .attr("d", shape())
    .attr("transform", (point) => "translate(" + layout.x.at(point[0]) + "," + layout.y.at(point[1]) + ")");
}

function drawIntervals(group, layout, drawn, index, shift) {
  const known = drawn.filter((point) => [2, 3].every((end) => Number.isFinite(layout.y.at(point[end]))));
  const at = (point) => layout.x.at(point[0]) + shift;
  const path = (point) => {
    const [low, high] = [layout.y.at(point[2]), layout.y.at(point[3])];
    return "M" + at(point) + "," + low + "V" + high + "m-4,0h8M" + (at(point) - 4) + "," + low + "h8";
  };
  const onBars = group.select(".bar").size() > 0;
  group.selectAll("path.interval").data(known).enter().append("path").attr("class", "interval").attr("fill", "none")
    .attr("stroke", onBars ? "var(--ink)" : colour(index)).attr("d", path);
}

function drawSeries(svg, layout, series, index) {
  const group = svg.append("g").attr("class", "series").attr("data-name", series.name);
  const drawn = series.points.filter((point) => isDrawn(layout, point));
  let shift = 0;
  if (styleOf(series) === "bars") {
    shift = drawBars(group, layout, series, drawn, index);
  } else if (styleOf(series) === "dots") {
    drawDots(group, layout, drawn, index, 28);
  } else {
    drawLine(group, layout, series, drawn, index);
  }
  drawIntervals(group, layout, drawn.filter((point) => point.length === 4), index, shift);
}

// Labels stand above the plot, in as many lanes as it takes; those without room keep their line and a tooltip.
function drawMarks(svg, layout) {
  const { box } = layout;
  const ends = Array(layout.lanes).fill(-Infinity);
  const marks = (layout.chart.marks || []).slice().sort((a, b) => d3.ascending(a.x, b.x));
  for (const mark of marks) {
    const place = "x" in mark ? layout.x.at(mark.x) : layout.y.at(mark.y);
    if (!Number.isFinite(place)) {
      continue;
    }
    const group = svg.append("g").attr("class", "mark").attr("data-label", mark.label);
    group.append("title").text(mark.label);
    if (!("x" in mark)) {
      group.append("line").attr("x1", box.left).attr("x2", box.right).attr("y1", place).attr("y2", place);
      group.append("text").attr("x", box.right - 4).attr("y", place - 5).attr("text-anchor", "end").text(mark.label);
      continue;
    }
    group.append("line").attr("x1", place).attr("x2", place).attr("y1", box.top).attr("y2", box.bottom);
    const width = widthOf(mark.label);
    const start = Math.max(box.left, Math.min(place - 3, layout.width - width));
    const lane = ends.findIndex((end) => end < start);
    if (lane >= 0) {
      ends[lane] = start + width + GAP;
      group.append("text").attr("x", start).attr("y", box.top - 5 - 15 * lane).text(mark.label);
    }
  }
}

// What the chart cannot show, said instead of left out silently.
function notesOf(layout) {
  const points = pointsOf(layout.chart);
  const shown = points.filter((point) => isDrawn(layout, point));
  const hidden = points.filter((point) => point[1] !== null).length - shown.length;
  const low = layout.chart.y.scale === "log" ? shown.filter((point) => point[1] <= 0).length : 0;
  return (shown.length ? "" : "There is nothing to draw. ") +
    (low ? "Of " + shown.length + " values " + low + " are 0: on a logarithmic axis they stand at its lower edge. " : "") +
    (hidden ? hidden + " more have no place on this axis." : "");
}

function drawChart(container, chart, width) {
  const layout = layOut(chart, width);
  const svg = container.append("svg").attr("class", "plot").attr("viewBox", "0 0 " + width + " " + layout.height)
    .attr("role", "img").attr("tabindex", 0)
    .attr("aria-label", chart.title + ": " + chart.y.label + " over " + chart.x.label +
      ". Arrow keys read the values.");
  drawAxes(svg, layout);
  chart.series.forEach((series, index) => drawSeries(svg, layout, series, index));
  drawMarks(svg, layout);
  return { svg, layout };
}
