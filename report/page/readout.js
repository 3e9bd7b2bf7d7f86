"use strict";

// The legend of a chart, which also shows the values at the pointer or where the arrow keys went.

function drawSample(entry, series, index) {
  const sample = entry.append("svg").attr("viewBox", "0 0 28 12").attr("aria-hidden", "true");
  const style = styleOf(series);
  if (style === "bars") {
    sample.append("rect").attr("x", 7).attr("width", 14).attr("height", 12).attr("fill", colour(index));
    return;
  }
  if (style === "line") {
    sample.append("path").attr("class", "line").attr("d", "M0,6H28").attr("stroke", colour(index))
      .attr("stroke-dasharray", DASHES[index % DASHES.length]);
  }
  if (style === "dots" || series.points.length <= 40) {
    sample.append("path").attr("class", "dot").attr("transform", "translate(14,6)").attr("fill", colour(index))
      .attr("d", d3.symbol().type(SHAPES[index % SHAPES.length]).size(28)());
  }
}

function drawLegend(container, chart) {
  const legend = container.append("div").attr("class", "legend").attr("aria-live", "polite");
  chart.series.forEach((series, index) => {
    const entry = legend.append("span").attr("class", "entry");
    drawSample(entry, series, index);
    entry.append("span").text(series.name);
    entry.append("span").attr("class", "value");
  });
  legend.append("span").attr("class", "at");
  return legend;
}

// For each series the point beside `place` in pixels, if one is near.
function pointsAt(layout, place) {
  return layout.chart.series.map((series) => {
    const near = series.points.filter((point) => isDrawn(layout, point))
      .map((point) => ({ point, distance: Math.abs(layout.x.at(point[0]) - place) }));
    const best = near[d3.scan(near, (a, b) => a.distance - b.distance)];
    return best && best.distance < 12 ? best.point : null;
  });
}

function show(drawing, legend, place) {
  const { svg, layout } = drawing;
  svg.selectAll(".cursor").remove();
  const values = legend.selectAll(".value");
  if (place === null) {
    values.text("");
    legend.select(".at").text("");
    return;
  }
  const points = pointsAt(layout, place);
  const found = points.find((point) => point !== null);
  const cursor = svg.append("g").attr("class", "cursor");
  cursor.append("line").attr("x1", place).attr("x2", place).attr("y1", layout.box.top).attr("y2", layout.box.bottom);
  points.forEach((point, index) => {
    if (point) {
      cursor.append("circle").attr("r", 4).attr("stroke", colour(index))
        .attr("cx", layout.x.at(point[0])).attr("cy", layout.y.at(point[1]));
    }
  });
  const format = formatFor(layout.chart.y);
  values.data(points).text((point) => (point ? format(point[1]) : ""));
  legend.select(".at").text(found ? layout.chart.x.label + ": " + formatFor(layout.chart.x)(found[0]) : "");
}

function followReader(drawing, legend) {
  const { svg, layout } = drawing;
  const drawn = pointsOf(layout.chart).filter((point) => isDrawn(layout, point));
  const places = Array.from(new Set(drawn.map((point) => layout.x.at(point[0])))).sort(d3.ascending);
  if (places.length === 0) {
    return;
  }
  let index = -1;
  const go = (to) => {
    index = Math.max(0, Math.min(places.length - 1, to));
    show(drawing, legend, places[index]);
  };
  svg.on("pointermove", function () {
    const place = d3.mouse(this)[0];
    const right = Math.min(places.length - 1, d3.bisectLeft(places, place));
    go(right > 0 && place - places[right - 1] < places[right] - place ? right - 1 : right);
  });
  svg.on("pointerleave blur", () => show(drawing, legend, null));
  svg.on("keydown", () => {
    const to = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: places.length - 1 }[d3.event.key];
    if (to !== undefined) {
      d3.event.preventDefault();
      go(to);
    }
  });
}
