"use strict";

// Builds the page from the JSON that stands in it. Text is only ever set as text.

function drawTable(container, table) {
  const element = container.append("div").attr("class", "table").append("table");
  const isNumber = table.columns.map((_, i) => table.rows.some((row) => typeof row[i] === "number"));
  element.append("thead").append("tr").selectAll("th").data(table.columns).enter().append("th")
    .attr("scope", "col").classed("number", (_, i) => isNumber[i]).text((column) => column);
  const cells = element.append("tbody").selectAll("tr").data(table.rows).enter().append("tr")
    .selectAll("td").data((row) => row).enter().append("td").classed("number", (_, i) => isNumber[i]);
  cells.text((cell) => (cell === null ? "–" : typeof cell === "number" ? formatNumber(cell) : cell));
  cells.classed("short", (cell) => String(cell).length <= 24);
  cells.filter((cell) => typeof cell === "number" && !Number.isInteger(cell)).attr("title", (cell) => cell);
}

function tableOf(chart) {
  const rows = [].concat(...chart.series.map((series) =>
    series.points.map((point) => [series.name, point[0], point[1], point[2], point[3]])));
  const hasInterval = rows.some((row) => row[3] !== undefined);
  return {
    columns: ["series", chart.x.label, chart.y.label].concat(hasInterval ? ["low", "high"] : []),
    rows: rows.map((row) => row.slice(0, hasInterval ? 5 : 3).map((cell) => (cell === undefined ? null : cell))),
  };
}

function addData(figure, chart) {
  const details = figure.append("details");
  details.append("summary").text("Data");
  details.on("toggle", () => {
    details.on("toggle", null);
    drawTable(details, tableOf(chart));
  });
}

function addChart(section, chart) {
  const figure = section.append("figure").attr("id", chart.id);
  figure.append("figcaption").text(chart.title);
  const legend = drawLegend(figure, chart);
  const plot = figure.append("div");
  const notes = figure.append("p").attr("class", "notes");
  addData(figure, chart);
  let width = 0;
  const draw = () => {
    const found = Math.max(280, Math.round(plot.node().clientWidth));
    if (found !== width) {
      width = found;
      plot.selectAll("*").remove();
      const drawing = drawChart(plot, chart, width);
      notes.text(notesOf(drawing.layout));
      followReader(drawing, legend);
    }
  };
  draw();
  new ResizeObserver(draw).observe(plot.node());
}

function addSection(main, section) {
  const element = main.append("section");
  if (section.heading) {
    element.append("h2").text(section.heading);
  }
  for (const paragraph of (section.text || "").split(/\n\s*\n/).filter((text) => text.trim())) {
    element.append("p").text(paragraph);
  }
  if (section.chart) {
    addChart(element, section.chart);
  }
  if (section.table) {
    drawTable(element, section.table);
  }
}

function buildPage() {
  const page = JSON.parse(document.getElementById("page").textContent);
  const main = d3.select("main");
  main.append("h1").text(page.title);
  if (page.subtitle) {
    main.append("p").attr("class", "subtitle").text(page.subtitle);
  }
  page.sections.forEach((section) => addSection(main, section));
}

buildPage();
