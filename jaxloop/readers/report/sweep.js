"use strict";
// The figures of a population: curves, heatmaps, parallel coordinates, importances, scatter, table.

const BEST = 8; // configs with a line of their own
const MOST_POINTS = 200_000; // of curves that are drawn behind them

// Give a run's data the forms that several figures need.
function prepared(run) {
  for (const axis of run.axes) axis.names = axis.values ? distinct(axis.values) : null;
  run.configs.forEach((config, place) => {
    config.place = place;
    config.waits = config.members.every((number) => run.members.status[number] === "waiting");
    config.diverged = config.members.filter((number) => run.members.status[number] === "diverged").length;
  });
  for (const curve of Object.values(run.curves)) {
    const bytes = Uint8Array.from(atob(curve.values), (letter) => letter.charCodeAt(0));
    curve.points = new Float32Array(bytes.buffer);
  }
  return run;
}

function told(run, config) {
  return run.axes.map((axis, place) => [axis, config.values[place]]).filter(([, value]) => value !== null)
    .map(([axis, value]) => `${axis.name}=${axis.names ? axis.names[axis.values.indexOf(value)] : short(value, 6)}`).join(" ") || "the only config";
}

function pointsOf(curve, number) {
  const count = curve.steps.length;
  return curve.points.subarray(number * count, (number + 1) * count);
}

// Mean and standard deviation over a config's members at each step, of those that were measured there.
function overSeeds(curve, members) {
  return curve.steps.map((step, place) => {
    const values = curve.is_evaluation_step[place] ? members.map((number) => pointsOf(curve, number)[place]).filter(Number.isFinite) : [];
    if (!values.length) return { step, mean: null, deviation: 0 };
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    return { step, mean, deviation: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0 };
  });
}

// Of how many members one curve is drawn, so that there are not too many points.
function thinned(run, curve) {
  return Math.max(1, Math.ceil((run.members.config.length * curve.steps.length) / MOST_POINTS));
}

// All members' curves in a few series, one a colour: gaps keep them apart. ECharts draws five series fast, not 4,000.
function background(run, curve, isLog) {
  const classes = Array.from({ length: 5 }, () => []);
  const ranked = run.configs.filter((config) => config.mean !== null).length || 1;
  const share = thinned(run, curve);
  run.members.config.forEach((place, number) => {
    if (Math.imul(number, 0x9e3779b1) >>> 0 >= 2 ** 32 / share) return; // by a hash: no seed is favoured
    const into = classes[Math.min(4, Math.floor((5 * place) / ranked))];
    const points = pointsOf(curve, number);
    curve.steps.forEach((step, at) => {
      if (Number.isFinite(points[at]) && !(isLog && points[at] <= 0)) into.push([step, height(points[at], isLog)]);
    });
    into.push([null, null]);
  });
  const shades = ["#5ec962", "#21918c", "#2c728e", ...(isDark() ? ["#4a6db0", "#7a6fc0"] : ["#472d7b", "#440154"])];
  return classes.map((data, place) => ({
    type: "line", name: `members, ${["best", "second", "third", "fourth", "last"][place]} fifth`, data, showSymbol: false,
    connectNulls: false, silent: true, z: 1, lineStyle: { width: 1, opacity: 0.22, color: shades[place] },
    itemStyle: { color: shades[place] }, tooltip: { show: false },
  })).filter((series) => series.data.length);
}

function band(points, colour, isLog) {
  const known = points.filter((point) => point.mean !== null && !(isLog && point.mean - point.deviation <= 0));
  return {
    type: "custom", silent: true, z: 2, tooltip: { show: false },
    data: known.slice(0, 1).map((point) => [point.step, height(point.mean, isLog)]),
    renderItem: (_, api) => ({
      type: "polygon",
      shape: {
        points: [
          ...known.map((point) => api.coord([point.step, height(point.mean + point.deviation, isLog)])),
          ...[...known].reverse().map((point) => api.coord([point.step, height(point.mean - point.deviation, isLog)])),
        ],
      },
      style: { fill: colour, opacity: 0.16 },
    }),
    clip: true,
  };
}

function meanLine(name, points, colour, isLog) {
  return {
    type: "line", name, z: 3, showSymbol: false, lineStyle: { width: 2 }, color: colour,
    data: points.filter((point) => point.mean !== null).map((point) => [point.step, isLog && point.mean <= 0 ? null : height(point.mean, isLog)]),
  };
}

// Where a value is drawn: a log axis of ECharts names powers of ten alone, of which a curve may cross none.
function height(value, isLog) {
  return isLog ? Math.log10(value) : value;
}

function valueAt(isLog) {
  return (place) => short(isLog ? 10 ** place : place);
}

// The vertical axis of curves between two values, with a margin.
function valueAxis(lowest, highest, isLog) {
  const [low, high] = [height(lowest, isLog), height(highest, isLog)];
  const margin = high > low ? 0.03 * (high - low) : 0;
  const ticks = isLog ? roundValues(lowest, highest).map((value) => height(value, isLog)) : [];
  const custom = ticks.length > 2 ? { customValues: ticks } : {};
  return axis({
    type: "value", min: low - margin, max: high + margin, axisTick: custom,
    axisLabel: {
      color: css("--dim"), formatter: valueAt(isLog), hideOverlap: true,
      showMinLabel: ticks.length > 2, showMaxLabel: ticks.length > 2, ...custom, // else they are no round values
    },
  });
}

// 1, 2 and 5 times the powers of ten between two values; of many decades, the powers alone.
function roundValues(low, high) {
  const steps = high / low > 1000 ? [1] : [1, 2, 5];
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    found.push(...steps.map((step) => step * 10 ** power).filter((value) => value >= low && value <= high));
  }
  return found;
}

function curveOption(run, metric, isLog) {
  const curve = run.curves[metric];
  const best = run.configs.filter((config) => config.mean !== null).slice(0, BEST);
  const lines = best.map((config) => overSeeds(curve, config.members));
  const { legend, room } = legendBelow(best.map((config) => told(run, config)));
  const settled = Array.from(curve.points).filter((value) => Number.isFinite(value) && !(isLog && value <= 0)).sort((a, b) => a - b);
  const means = lines.flat().map((point) => point.mean).filter((value) => value !== null && !(isLog && value <= 0));
  const [low, high] = [least([quantile(settled, 0.01), ...means]), most([quantile(settled, 0.97), ...means])];
  return {
    title: titled(metric, `mean of the best ${best.length} configs by ${run.metric}, ± 1 sd over seeds; behind them ${thinned(run, curve) > 1 ? `one member of ${thinned(run, curve)}` : "all members"}` +
      (curve.every > 1 ? `; one point of ${curve.every}` : "")),
    grid: { left: 64, right: 24, top: 58, bottom: 52 + room },
    legend,
    xAxis: axis({ type: "value", name: "step", min: "dataMin", max: "dataMax" }),
    yAxis: valueAxis(low, high, isLog),
    tooltip: { trigger: "item", valueFormatter: valueAt(isLog) },
    dataZoom: [{ type: "inside", filterMode: "none" }],
    series: [
      ...background(run, curve, isLog),
      ...best.map((_, place) => band(lines[place], DISTINCT[place], isLog)),
      ...best.map((config, place) => meanLine(told(run, config), lines[place], DISTINCT[place], isLog)),
    ],
  };
}

function curves(parent, run) {
  const metrics = Object.keys(run.curves);
  if (!metrics.length) return;
  const chosen = { metric: metrics[0], isLog: false };
  parent.append(element("h2", {}, "Curves"), curveControls(metrics, chosen, () => draw(made)));
  const box = element("div", { class: "figures" });
  parent.append(box);
  const names = run.configs.filter((config) => config.mean !== null).slice(0, BEST).map((config) => told(run, config));
  const made = figure(box, "curves", () => curveOption(run, chosen.metric, chosen.isLog), { wide: true, height: 400 + legendBelow(names).room });
}

function curveControls(metrics, chosen, changed) {
  return element("div", { class: "controls" },
    element("label", {}, "metric ", selection(metrics, (value) => { chosen.metric = value; changed(); })),
    element("label", {}, element("input", { type: "checkbox", onchange: (event) => { chosen.isLog = event.target.checked; changed(); } }), " log scale"));
}

function selection(choices, chosen, first = choices[0]) {
  const made = element("select", { onchange: (event) => chosen(event.target.value) }, ...choices.map((choice) => element("option", { value: choice }, choice)));
  made.value = first;
  return made;
}

const STATISTICS = {
  "best config": (means) => means[0], // of configs in the order of the ranking
  "mean of configs": (means) => means.reduce((sum, value) => sum + value, 0) / means.length,
  "number of configs": (means, tried) => tried,
};

function heatmapOption(run, first, second, statistic) {
  const [across, up] = [run.axes[first], run.axes[second]];
  const found = new Map();
  for (const config of run.configs) {
    const key = [across.cell_of[config.place], up.cell_of[config.place]];
    if (key.includes(null)) continue;
    if (config.waits) continue;
    const cell = found.get(String(key)) ?? { key, means: [], tried: 0, diverged: 0, place: config.place };
    cell.tried += 1;
    cell.diverged += config.diverged > 0;
    if (config.mean !== null) cell.means.push(config.mean);
    found.set(String(key), cell);
  }
  const isCount = statistic === "number of configs";
  const valued = [...found.values()].filter((cell) => isCount || cell.means.length)
    .map((cell) => ({ ...cell, value: STATISTICS[statistic](cell.means, cell.tried) }));
  const hatched = [...found.values()].filter((cell) => !cell.means.length && cell.diverged);
  const mode = isCount ? "max" : run.mode;
  const span = isCount ? { min: 0, max: most([1, ...valued.map((cell) => cell.value)]) } : range(run.configs.map((config) => config.mean), mode); // one scale for all pairs
  const better = (one, other) => (statistic === "best config" ? one.place < other.place : mode === "max" ? one.value > other.value : one.value < other.value);
  const optimum = isCount ? null : valued.reduce((best, cell) => (best === null || better(cell, best) ? cell : best), null);
  const names = [run.axes[first].name, run.axes[second].name];
  const [beyondLow, beyondHigh] = [valued.some((cell) => cell.value < span.min), valued.some((cell) => cell.value > span.max)];
  return {
    aria: { enabled: true, decal: { show: true, decals: [{ symbol: "none" }] } }, // hatched: only cells that say so
    title: titled(isCount ? "configs tried" : run.metric, [
      `${statistic} of each cell`, ...(optimum ? ["outlined: the optimum"] : []), ...(hatched.length ? ["hatched: diverged"] : []), "blank: no result",
    ].join("; ")),
    grid: { left: 90, right: 78, top: 58, bottom: 62 },
    xAxis: axis({
      type: "category", data: across.cells, name: names[0], nameGap: 42,
      axisLabel: { color: css("--dim"), interval: 0, rotate: across.cells.length > 5 ? 35 : 0, fontSize: 11, width: 90, overflow: "truncate" },
    }),
    yAxis: axis({ type: "category", data: up.cells, name: names[1], nameGap: 68, axisLabel: { color: css("--dim"), hideOverlap: true, width: 64, overflow: "truncate" } }),
    visualMap: {
      type: "continuous", ...span, right: 4, top: "middle", itemHeight: 150, itemWidth: 12, calculable: false, precision: 4, seriesIndex: 0,
      text: [(beyondHigh ? "≥ " : "") + short(span.max), (beyondLow ? "≤ " : "") + short(span.min)], inRange: { color: colours(mode) }, textStyle: { color: css("--dim") }, dimension: 2,
    },
    tooltip: {
      formatter: (item) => `${names[0]} ${across.cells[item.data.value[0]]}\n${names[1]} ${up.cells[item.data.value[1]]}\n` +
        (item.seriesName === "diverged" ? "diverged" : `${statistic}: ${short(item.data.value[2])}\n${item.data.tried} configs`),
    },
    series: [
      {
        type: "heatmap", name: run.metric,
        data: [...valued.filter((cell) => cell !== optimum), ...(optimum ? [optimum] : [])].map((cell) => ({
          value: [...cell.key, cell.value], tried: cell.tried,
          itemStyle: cell === optimum ? { borderColor: css("--ink"), borderWidth: 2.5 } : { borderColor: css("--paper"), borderWidth: 1 },
        })),
      },
      {
        type: "heatmap", name: "diverged",
        data: hatched.map((cell) => ({
          value: [...cell.key, 0], tried: cell.tried,
          itemStyle: {
            color: css("--card"), borderColor: css("--line"), borderWidth: 1,
            decal: { symbol: "rect", symbolSize: 1, dashArrayX: [1, 0], dashArrayY: [2, 5], rotation: Math.PI / 4, color: css("--bad") },
          },
        })),
      },
    ],
  };
}

function heatmaps(parent, run) {
  const pairs = run.axes.flatMap((_, first) => run.axes.slice(first + 1).map((__, more) => [first, first + 1 + more]))
    .filter((pair) => pair.every((place) => (run.axes[place].values?.length ?? 2) > 1));
  if (!pairs.length) return null;
  const chosen = { statistic: "best config" };
  const made = [];
  parent.append(element("h2", {}, "Axes, by pairs"), element("div", { class: "controls" },
    element("label", {}, "a cell shows ", selection(Object.keys(STATISTICS), (value) => { chosen.statistic = value; made.forEach(draw); }))));
  const box = element("div", { class: "figures" });
  parent.append(box);
  for (const [first, second] of pairs) {
    made.push(figure(box, `heatmap ${run.axes[first].name} ${run.axes[second].name}`, () => heatmapOption(run, first, second, chosen.statistic)));
  }
  return box;
}

function parallelAxis(axis, dim) {
  const style = { nameTextStyle: { color: css("--ink"), width: 110, overflow: "truncate" }, axisLabel: { color: css("--dim"), formatter: label, width: 110, overflow: "truncate" }, axisLine: { lineStyle: { color: css("--dim") } } };
  const isLog = axis.is_log && axis.is_number;
  if (axis.values && (!axis.is_number || (!isLog && axis.values.length <= 12))) {
    return { dim, name: axis.name, type: "category", data: axis.names, ...style };
  }
  return { dim, name: axis.name, type: isLog ? "log" : "value", scale: true, ...(isLog ? { min: "dataMin", max: "dataMax" } : {}), ...style };
}

// Parallel coordinates; a brush on any axis calls `chosen` with the configs that it leaves, or with null.
function parallel(parent, run, chosen) {
  const ranked = run.configs.filter((config) => config.mean !== null);
  if (!run.axes.length || ranked.length < 2) return;
  const span = range(ranked.map((config) => config.mean), run.mode);
  const inBest = [...ranked].reverse(); // the best are drawn last
  const means = inOrder(ranked.map((config) => config.mean)); // the worst outliers are drawn at the end of the scale
  const span97 = [quantile(means, 0.03), quantile(means, 0.97)], reach = 3 * (span97[1] - span97[0]);
  const worst = means.length < 20 ? (run.mode === "max" ? -Infinity : Infinity) : run.mode === "max" ? span97[0] - reach : span97[1] + reach;
  const option = () => {
    const drawn = run.axes.map(parallelAxis);
    return {
      title: titled("Parallel coordinates", "drag along an axis to select configs: the table below follows; click the axis to clear it"),
      parallel: { left: 60, right: 110, top: 84, bottom: 28, axisExpandable: false },
      parallelAxis: [...drawn, {
        dim: drawn.length, name: run.metric, type: "value", scale: true, min: "dataMin", max: "dataMax",
        inverse: run.mode === "min", nameLocation: run.mode === "min" ? "start" : "end", nameTextStyle: { color: css("--ink"), fontWeight: "bold" }, axisLabel: { color: css("--dim"), formatter: label },
      }],
      visualMap: { show: false, type: "continuous", ...span, dimension: drawn.length, inRange: { color: colours(run.mode) } },
      tooltip: { formatter: (item) => `${told(run, inBest[item.dataIndex]).replaceAll(" ", "\n")}\n${run.metric} ${short(inBest[item.dataIndex].mean)}` },
      series: [{
        type: "parallel", name: "configs", smooth: false, lineStyle: { width: 1.2, opacity: ranked.length > 300 ? 0.25 : 0.6 },
        inactiveOpacity: 0.02, activeOpacity: 0.9, progressive: 1000,
        data: inBest.map((config) => [
          ...config.values.map((value, place) => (value === null ? "-" : drawn[place].type === "category" ? run.axes[place].names[run.axes[place].values.indexOf(value)] : value)),
          run.mode === "max" ? Math.max(config.mean, worst) : Math.min(config.mean, worst),
        ]),
      }],
    };
  };
  const box = element("div", { class: "figures" });
  parent.append(element("h2", {}, "All configs at once"), box);
  figure(box, "parallel", option, {
    wide: true, height: 400,
    after: (chart) => {
      chosen(null); // drawn anew, it has no brush
      chart.off("axisareaselected");
      chart.on("axisareaselected", () => {
        const series = chart.getModel().getSeriesByIndex(0);
        const isBrushed = !series.getRawIndicesByActiveState("normal").length;
        chosen(isBrushed ? series.getRawIndicesByActiveState("active").map((place) => inBest[place]) : null);
      });
    },
  });
}

function importances(parent, run) {
  const shown = (run.importances ?? []).slice(0, 12).reverse();
  if (!shown.length) return;
  figure(parent, "importances", () => ({
    title: titled("What sets the best configs apart", "PED-ANOVA over the best tenth; grey: no more than chance would give"),
    grid: { left: 190, right: 40, top: 58, bottom: 40 },
    xAxis: axis({ type: "value", name: "share", max: "dataMax", scale: false, axisLabel: { color: css("--dim"), formatter: (value) => `${Math.round(100 * value)}%` } }),
    yAxis: axis({ type: "category", data: shown.map((each) => each.hparams.join(" × ")), axisLabel: { color: css("--dim"), width: 170, overflow: "truncate" } }),
    tooltip: { valueFormatter: (value) => `${(100 * value).toFixed(1)}%` },
    series: [{
      type: "bar", barMaxWidth: 22,
      data: shown.map((each) => ({ value: each.share, itemStyle: { color: each.exceeds_chance ? css("--accent") : css("--dim") } })),
    }],
  }));
}

function columns(run) {
  return [
    ...run.axes.map((axis, place) => ({ name: axis.name, is_log: axis.is_log, is_number: axis.is_number, values: axis.names, of: (config) => (axis.is_number ? config.values[place] : axis.values.indexOf(config.values[place])) })),
    ...run.metrics.map((metric, place) => ({ name: metric, is_log: false, is_number: true, values: null, of: (config) => config.metrics[place] })),
  ];
}

function scatter(parent, run) {
  const all = columns(run);
  if (!all.length || !run.configs.some((config) => config.mean !== null)) return;
  const chosen = { x: all[0], y: all.find((column) => column.name === run.metric) ?? all[0] };
  const pick = (name) => (value) => { chosen[name] = all.find((column) => column.name === value); draw(made); };
  const names = all.map((column) => column.name);
  const ranked = run.configs.filter((config) => config.mean !== null);
  const option = () => {
    const isLog = (column) => column.is_number && column.is_log;
    const side = (column, more) => {
      if (!column.is_number) return axis({ type: "category", name: column.name, data: column.values, ...more });
      if (!isLog(column)) return axis({ type: "value", name: column.name, axisLabel: { color: css("--dim"), formatter: label, hideOverlap: true }, ...more });
      const values = ranked.map(column.of);
      return { ...valueAxis(least(values), most(values), true), name: column.name, ...more };
    };
    const span = range(ranked.map((config) => config.mean), run.mode);
    return {
      title: titled("Scatter", `a dot is a config; colour: ${run.metric}`),
      grid: { left: 78, right: 30, top: 58, bottom: 48 },
      xAxis: side(chosen.x, {}), yAxis: side(chosen.y, { nameGap: 56 }),
      visualMap: { show: false, type: "continuous", ...span, dimension: 2, inRange: { color: colours(run.mode) } },
      tooltip: { formatter: (item) => told(run, ranked[item.dataIndex]).replaceAll(" ", "\n") + `\n${run.metric} ${short(ranked[item.dataIndex].mean)}` },
      series: [{ type: "scatter", symbolSize: ranked.length > 1000 ? 4 : 8, data: ranked.map((config) => [height(chosen.x.of(config), isLog(chosen.x)), height(chosen.y.of(config), isLog(chosen.y)), config.mean]) }],
    };
  };
  const made = figure(parent, "scatter", option);
  const controls = element("div", { class: "controls" },
    element("label", {}, "scatter: across ", selection(names, pick("x"))),
    element("label", {}, "up ", selection(names, pick("y"), chosen.y.name)));
  parent.before(controls);
}

// Ascending numbers, those that follow each other as a range: "4-7 12".
function numbers(members) {
  const parts = [];
  for (const number of members) {
    const last = parts[parts.length - 1];
    if (last && last[1] === number - 1) last[1] = number;
    else parts.push([number, number]);
  }
  const shown = parts.slice(0, 4).map(([first, last]) => (first === last ? first : `${first}-${last}`));
  return [...shown, ...(parts.length > 4 ? ["…"] : [])].join(" ");
}

const CONDITION = /^(.+?)(<=|>=|!=|==?|<|>)(.+)$/;

// Whether a config meets one word of the filter: "learning_rate>=0.01" as `jaxloop show --where` reads it, or a part of its name.
function meets(run, config, word) {
  const [, name, sign, text] = CONDITION.exec(word) ?? [];
  const axis = run.axes.findIndex((each) => each.name.toLowerCase() === name);
  const metric = run.metrics.findIndex((each) => each.toLowerCase() === name);
  if (axis < 0 && metric < 0) return told(run, config).toLowerCase().includes(word);
  const value = axis >= 0 ? config.values[axis] : config.metrics[metric], wanted = Number(text);
  const isEqual = value === wanted || short(value).toLowerCase() === text || Number(short(value)) === wanted;
  if (sign === "=" || sign === "==") return isEqual;
  if (sign === "!=") return !isEqual;
  if (typeof value !== "number" || Number.isNaN(wanted)) return false;
  return { "<": value < wanted, ">": value > wanted, "<=": value <= wanted || isEqual, ">=": value >= wanted || isEqual }[sign];
}

// Whether a word of the filter is a condition on what no column has.
function isUnknown(run, word) {
  const [, name] = CONDITION.exec(word) ?? [];
  return name !== undefined && ![...run.axes.map((axis) => axis.name), ...run.metrics].some((known) => known.toLowerCase() === name);
}

function configTable(parent, run) {
  const count = element("p", { class: "dim", id: "count" });
  const words = element("input", { type: "search", placeholder: "learning_rate>=0.01", size: 24, "aria-label": "filter configs" });
  parent.append(element("h2", {}, "Configs"), element("div", { class: "controls" }, element("label", {}, "filter ", words), count));
  const shape = [
    { name: "rank", value: (config) => (config.mean === null ? null : config.place + 1) },
    ...run.axes.map((axis, place) => ({ name: axis.name, isWord: !axis.is_number, value: (config) => config.values[place] })),
    { name: `${run.metric}`, value: (config) => config.mean },
    { name: "± s.e.", value: (config) => config.error },
    ...run.metrics.map((metric, place) => ({ name: metric, value: (config) => config.metrics[place] })).filter((column) => column.name !== run.metric),
    { name: "finite", value: (config) => config.finite },
    { name: "diverged", value: (config) => config.diverged },
    { name: "members", isWord: true, className: () => "tight", value: (config) => numbers(config.members), sortedBy: (config) => config.members[0] },
  ];
  const box = element("div", { id: "configs" });
  parent.append(box);
  const table = sortable(box, shape, run.configs, { sorted: 0 });
  let brushed = null;
  const show = () => {
    const joined = words.value.toLowerCase().replace(/\s*(<=|>=|!=|==|=|<|>)\s*/g, "$1"); // "width >= 64" is one condition
    const wanted = joined.trim().split(/\s+/).filter(Boolean);
    const rows = (brushed ?? run.configs).filter((config) => wanted.every((word) => meets(run, config, word)))
      .sort((first, second) => first.place - second.place);
    const unknown = wanted.filter((word) => isUnknown(run, word));
    count.textContent = `${rows.length} of ${run.configs.length} configs` + (unknown.length ? `; no hparam or metric for ${unknown.join(" ")}` : "");
    table.show(rows);
  };
  words.addEventListener("input", show);
  show();
  return { choose(configs) { brushed = configs; show(); } };
}

// Copies of members: from whom, and at which step.
function lineage(parent, run) {
  const copies = run.members.parent.map((from, number) => [from, number]).filter(([from]) => from !== null);
  if (!copies.length) return;
  const data = copies.flatMap(([from, number]) => [
    [run.members.parent_step[number], from], [run.members.parent_step[number], number], [run.members.step[number], number], [null, null],
  ]);
  figure(parent, "lineage", () => ({
    title: titled("Lineage", "a copy begins where its parent was, and goes on with other hparams"),
    grid: { left: 70, right: 30, top: 58, bottom: 48 },
    xAxis: axis({ type: "value", name: "step" }), yAxis: axis({ type: "value", name: "member", nameGap: 44 }),
    series: [{ type: "line", data, showSymbol: false, connectNulls: false, color: css("--accent"), lineStyle: { width: 1 } }],
  }), { wide: true });
}
