"use strict";
// Figures: each a box of the page with one ECharts instance, drawn in turn so that the page stays responsive.

const DISTINCT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#8a6d3b"]; // Okabe and Ito
const VIRIDIS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];
const VERDICTS = {
  success: "#009e73", tie: "#e69f00", "tie (dead hparam)": "#c9a227", undecided: "#7f8793", failure: "#d55e00",
  crash: "#cc79a7", "not promoted": "#aab1bb",
};

const figures = []; // { box, chart, option }: to be drawn again when the theme changes
let waiting = [];

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function short(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return written(String(value));
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  const size = Math.abs(value);
  if (!Number.isFinite(value)) return String(value);
  if (size === 0 || (size >= 1e-4 && size < 1e5)) return String(Number(value.toPrecision(digits)));
  const [mantissa, exponent] = value.toExponential(digits - 2).split("e");
  return `${Number(mantissa)}e${exponent.replace("+", "")}`;
}

function label(value) { // for ECharts, which hands its formatters more than the value
  return short(value);
}

// Names of an axis's values, with as many digits as tell them apart; control characters are written out.
function distinct(values) {
  for (let digits = 4; digits < 17; digits += 1) {
    const names = values.map((value) => short(value, digits));
    if (new Set(names).size === values.length) return names;
  }
  return values.map((value) => written(String(value)));
}

// A text with escapes for characters that are obeyed instead of shown: controls, and marks that turn the direction of text.
function written(text) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (letter) => {
    const code = letter.codePointAt(0).toString(16);
    return { "\n": "\\n", "\t": "\\t", "\r": "\\r" }[letter] ?? (code.length > 2 ? `\\u${code.padStart(4, "0")}` : `\\x${code.padStart(2, "0")}`);
  });
}

function least(values) {
  return values.reduce((found, value) => (value < found ? value : found), Infinity);
}

function most(values) {
  return values.reduce((found, value) => (value > found ? value : found), -Infinity);
}

function quantile(sorted, share) {
  if (!sorted.length) return NaN;
  const place = share * (sorted.length - 1), low = Math.floor(place);
  return sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (place - low);
}

function inOrder(values) {
  return Float64Array.from(values.filter((value) => value !== null && Number.isFinite(value))).sort();
}

// The range that colours span: from the best value to a bad, but not the worst, one, so that outliers take no colours.
function range(values, mode) {
  const sorted = inOrder(values);
  if (!sorted.length) return { min: 0, max: 1 };
  const found = mode === "max"
    ? { min: quantile(sorted, 0.1), max: sorted[sorted.length - 1] }
    : { min: sorted[0], max: quantile(sorted, 0.9) };
  return found.max > found.min ? found : { min: sorted[0] - 1e-9, max: sorted[0] + 1e-9 };
}

// From bad to good values, as `mode` orders them; on dark paper without the colours that would be invisible there.
function colours(mode) {
  const seen = isDark() ? ["#5a5aa0", ...VIRIDIS.slice(3)] : VIRIDIS;
  return mode === "max" ? seen : [...seen].reverse();
}

function isDark() {
  return document.documentElement.dataset.theme === "dark";
}

function titled(text, subtext = "") {
  return {
    text, subtext, left: 8, top: 4, itemGap: 4,
    textStyle: { fontSize: 14, lineHeight: 18, color: css("--ink") },
    subtextStyle: { fontSize: 12, lineHeight: 15, color: css("--dim") },
  };
}

// A legend below a figure, in as many rows as its names take: nothing of it is hidden. `room` is its height.
function legendBelow(names, width = document.body.clientWidth) {
  const rows = names.reduce(({ count, used }, name) => {
    const needs = 48 + 6.6 * name.length;
    return used + needs > width - 120 && used ? { count: count + 1, used: needs } : { count, used: used + needs };
  }, { count: 1, used: 0 }).count;
  return { room: 24 * rows, legend: { bottom: 4, itemGap: 10, textStyle: { color: css("--ink") }, formatter: (name) => (name.length > 240 ? `${name.slice(0, 239)}…` : name), data: names } };
}

function axis(options = {}) {
  return {
    nameLocation: "middle", nameGap: 28, scale: true,
    nameTextStyle: { color: css("--dim") }, axisLabel: { color: css("--dim"), hideOverlap: true },
    axisLine: { lineStyle: { color: css("--line") } }, splitLine: { lineStyle: { color: css("--line") } },
    ...options,
  };
}

// Add a box to a parent; `option()` is asked for what to draw, now and whenever the theme changes.
function figure(parent, name, option, { wide = false, height = 320, after = null } = {}) {
  const box = element("div", { class: wide ? "figure wide" : "figure", "data-figure": name });
  box.style.height = `${height}px`;
  parent.append(box);
  const one = { box, name, option, after, chart: null };
  figures.push(one);
  waiting.push(one);
  return one;
}

function draw(one) {
  one.chart = one.chart ?? echarts.init(one.box, null, { renderer: "canvas" });
  const option = { animation: false, backgroundColor: "transparent", tooltip: { renderMode: "richText", confine: true }, ...one.option() };
  if (option.tooltip) {
    option.tooltip = {
      renderMode: "richText", confine: true, backgroundColor: css("--card"), borderColor: css("--line"),
      textStyle: { color: css("--ink"), fontSize: 12 }, ...option.tooltip,
    };
  }
  if (option.title) Object.assign(option.title.subtextStyle, { width: one.chart.getWidth() - 16, overflow: "break" });
  one.chart.setOption(option, true);
  if (one.after) one.after(one.chart);
}

function drawWaiting() {
  const one = waiting.shift();
  if (!one) {
    document.body.dataset.state = "drawn";
    return;
  }
  try {
    if (one.box.isConnected) draw(one);
  } catch (error) { // the other figures are drawn all the same
    console.error(error);
    one.box.textContent = `${one.name} cannot be drawn: ${error.message}`;
  }
  setTimeout(drawWaiting);
}

function drawAgain() {
  for (const one of figures) if (one.box.isConnected && one.chart) draw(one);
}

function forgetFigures() {
  for (const one of figures) one.chart?.dispose();
  figures.length = 0;
  waiting = [];
}

new ResizeObserver(() => {
  for (const { chart } of figures) {
    chart?.resize();
    if (chart?.getOption().title) chart.setOption({ title: { subtextStyle: { width: chart.getWidth() - 16 } } });
  }
}).observe(document.documentElement);

// Paper is white: what is printed is drawn in the light theme.
let onScreen = "light";
window.addEventListener("beforeprint", () => {
  onScreen = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
  drawAgain();
  for (const one of figures) { one.chart?.resize(); one.chart?.getZr().flush(); }
});
window.addEventListener("afterprint", () => { document.documentElement.dataset.theme = onScreen; drawAgain(); });
