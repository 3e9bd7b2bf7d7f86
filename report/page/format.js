"use strict";

// Numbers as people read them.

function formatNumber(value) {
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) {
    return d3.format(",")(value);
  }
  if (size >= 1000 && size < 1e15) {
    return d3.format(",.0f")(value);
  }
  return d3.format(size >= 1e-4 && size < 1e15 ? ".4~r" : ".3~e")(value);
}

// 200k, 1.5M
function formatShort(value) {
  return value === 0 ? "0" : d3.format(".4~s")(value);
}

function formatBytes(value) {
  const [, number, prefix] = /^(.*?)([a-zµA-Z]?)$/.exec(formatShort(value));
  return number + " " + prefix + "B";
}

// 90 s, 12:30 min, 1:05:00 h
function formatSeconds(value) {
  if (Math.abs(value) < 120) {
    return d3.format(".4~r")(value) + " s";
  }
  const rounded = Math.round(value);
  const two = d3.format("02");
  const minutes = Math.floor(rounded / 60);
  return minutes < 60
    ? minutes + ":" + two(rounded % 60) + " min"
    : Math.floor(minutes / 60) + ":" + two(minutes % 60) + ":" + two(rounded % 60) + " h";
}

// A share of one. 1 - q is rounded, not q: 0.9999 is not 100 %.
function formatQuantile(q) {
  const digits = Math.max(0, Math.ceil(-Math.log10(1 - q)) - 1);
  return d3.format("." + Math.min(digits, 8) + "~f")(q * 100) + "%";
}

function formatFor(axis) {
  if (axis.scale === "band") {
    return (name) => name;
  }
  if (axis.scale === "quantile") {
    return formatQuantile;
  }
  return { bytes: formatBytes, seconds: formatSeconds }[axis.unit] || formatNumber;
}
