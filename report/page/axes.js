"use strict";

// An axis of a chart: {at(value): its place in pixels, not finite where there is none; ticks: [{value, text}]}.
// `values` are what must have a place, `range` the two ends in pixels, `most` how many ticks fit.

function decadesOf(q) {
  return -Math.log10(1 - q);
}

function niceLog(value, down) {
  const decade = Math.pow(10, Math.floor(Math.log10(value) + 1e-9));
  const steps = [1, 2, 5, 10].map((step) => step * decade);
  const fits = (step) => (down ? step <= value * (1 + 1e-9) : step >= value * (1 - 1e-9));
  return down ? d3.max(steps.filter(fits)) : d3.min(steps.filter(fits));
}

// What is not above 0 has no place on an x axis, and stands at the lower edge on a y axis.
function logAxis(values, range, most, axis, isX) {
  const shown = values.filter((value) => value > 0);
  const low = shown.length ? niceLog(d3.min(shown), true) : 1;
  const high = shown.length ? Math.max(niceLog(d3.max(shown), false), low * 2) : 10;
  const scale = d3.scaleLog().domain([low, high]).range(range);
  const decades = d3.range(Math.floor(Math.log10(low) + 1e-9), Math.ceil(Math.log10(high) - 1e-9) + 1);
  const candidates = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 5], [1]].map((steps) =>
    [].concat(...decades.map((decade) => steps.map((step) => Number(step + "e" + decade))))
      .filter((value) => value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)));
  const few = candidates[2];
  candidates.push(few.filter((_, i) => i % Math.ceil(few.length / most) === 0));
  const ticks = candidates.find((list) => list.length <= most) || candidates[3];
  return { at: (value) => (value > 0 ? scale(value) : isX ? NaN : range[0]), ticks };
}

function quantileAxis(values, range) {
  const last = Math.max(1, d3.max(values.filter((q) => q < 1), decadesOf) || 1);
  const scale = d3.scaleLinear().domain([0, last]).range(range);
  const nines = d3.range(1, Math.floor(last + 1e-9) + 1).map((n) => Number((1 - Math.pow(10, -n)).toFixed(n)));
  return { at: (q) => (q >= 0 && q < 1 ? scale(decadesOf(q)) : NaN), ticks: [0, 0.5].concat(nines) };
}

// Round numbers of seconds, minutes and hours.
function secondTicks([low, high], most) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];
  const step = steps.find((each) => (high - low) / each <= most);
  return step && high - low > 60 ? d3.range(Math.ceil(low / step) * step, high + step * 1e-6, step) : null;
}

function linearAxis(values, range, most, axis, isX) {
  let low = d3.min(values);
  let high = d3.max(values);
  if (values.length === 0) {
    [low, high] = [0, 1];
  }
  if (!isX && axis.zero !== false) {
    [low, high] = [Math.min(low, 0), Math.max(high, 0)];
  }
  if (low === high) {
    const around = Math.abs(low) * 0.05 || 1;
    [low, high] = low === 0 ? [0, 1] : [low - around, high + around];
  }
  const scale = d3.scaleLinear().domain([low, high]).range(range);
  if (!isX) {
    scale.nice(most);
  }
  const ticks = (axis.unit === "seconds" && secondTicks(scale.domain(), most)) || scale.ticks(most);
  return { at: (value) => scale(value), ticks };
}

function bandAxis(values, range) {
  const scale = d3.scaleBand().domain(values).range(range).paddingInner(0.25).paddingOuter(0.15);
  return { at: (name) => scale(name) + scale.bandwidth() / 2, ticks: scale.domain(), bandwidth: scale.bandwidth() };
}

function tickFormat(axis, ticks) {
  if (axis.scale === "band" || axis.scale === "quantile" || axis.unit) {
    return formatFor(axis);
  }
  return d3.max(ticks, Math.abs) >= 10000 ? formatShort : formatNumber;
}

function makeAxis(axis, values, range, most, isX) {
  const builders = { linear: linearAxis, log: logAxis, quantile: quantileAxis, band: bandAxis };
  const made = builders[axis.scale](values, range, Math.max(2, Math.round(most)), axis, isX);
  const format = tickFormat(axis, made.ticks);
  made.ticks = made.ticks.map((value) => ({ value, text: format(value) }));
  return made;
}

// Ticks whose labels have room beside each other.
function withRoom(ticks, at) {
  let end = -Infinity;
  return ticks.filter((tick) => {
    const half = widthOf(tick.text) / 2;
    const fits = at(tick.value) - half > end;
    end = fits ? at(tick.value) + half + GAP : end;
    return fits;
  });
}
