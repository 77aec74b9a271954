"use strict";
// Runs side by side: the curves of their best configs, and configs paired by seed.

function comparisons(parent, runs) {
  bestOfRuns(parent, runs);
  for (const each of DATA.comparisons) {
    parent.append(element("h2", {}, `${each.runs[1]} over ${each.runs[0]}`));
    if (each.why) {
      parent.append(element("p", { class: "note" }, `not compared: ${each.why}`));
      continue;
    }
    const shared = each.differences.length
      ? `${each.differences.length} configs paired by seed; effects above 0 are better; simultaneous 95% intervals (Bonferroni)`
      : "no config with the same values and seeds in both";
    parent.append(element("p", { class: "dim" }, `${each.metric}: ${shared}; configs in the first run alone: ${each.only[0]}, in the second alone: ${each.only[1]}`));
    if (each.caution) parent.append(element("p", { class: "note" }, each.caution));
    for (const [name, [one, other]] of Object.entries({ ...each.hparams, ...each.provenance })) {
      parent.append(element("p", { class: "dim" }, `differs: ${name}: ${one} in the first, ${other} in the second`));
    }
    if (!each.differences.length) continue;
    const names = [...new Set(each.differences.flatMap((one) => Object.keys(one.hparams)))];
    const box = element("div", {});
    parent.append(box);
    sortable(box, [
      ...names.map((name) => ({ name, value: (one) => one.hparams[name] })),
      ...["seeds", "first", "second", "effect", "low", "high"].map((name) => ({ name, value: (one) => one[name] })),
      { name: "verdict", isWord: true, value: (one) => one.said, className: (one) => one.verdict },
    ], each.differences);
  }
}

// One curve for each run: mean and band over the seeds of its best config.
function bestOfRuns(parent, runs) {
  const drawn = runs.map((run) => ({ run, config: run.configs.find((config) => config.mean !== null) })).filter(({ config }) => config);
  const metrics = [...new Set(drawn.flatMap(({ run }) => Object.keys(run.curves)))]
    .filter((metric) => drawn.filter(({ run }) => metric in run.curves).length > 1);
  if (!metrics.length) return;
  const chosen = { metric: metrics[0], isLog: false };
  parent.append(element("h2", {}, "The best config of each run"), winner(drawn), curveControls(metrics, chosen, () => draw(made)));
  const box = element("div", { class: "figures" });
  parent.append(box);
  const made = figure(box, "best of each run", () => bestOfRunsOption(drawn, chosen), { wide: true, height: 340 + 20 * drawn.length });
}

// The run whose best config has the best mean, where all train one task and rank by one metric.
function winner(drawn) {
  const [{ run: { task, metric, mode } }] = drawn;
  if (drawn.some(({ run }) => run.task !== task || run.metric !== metric || run.mode !== mode)) return "";
  const { run, config } = drawn.reduce((best, each) => (
    (mode === "max" ? each.config.mean > best.config.mean : each.config.mean < best.config.mean) ? each : best));
  return element("p", {}, `best mean ${metric}: ${run.path}, ${told(run, config)}: ${short(config.mean)}`);
}

function bestOfRunsOption(drawn, { metric, isLog }) {
  const lines = drawn.filter(({ run }) => metric in run.curves).map(({ run, config }, place) => ({
    name: `${run.path}: ${told(run, config)}`, colour: DISTINCT[place % DISTINCT.length], points: overSeeds(run.curves[metric], config.members),
  }));
  const { legend, room } = legendBelow(lines.map((line) => line.name));
  const ends = lines.flatMap((line) => line.points).filter((point) => point.mean !== null)
    .flatMap((point) => [point.mean - point.deviation, point.mean + point.deviation]).filter((value) => !isLog || value > 0);
  return {
    title: titled(metric, "mean of each run's best config by its own metric, ± 1 sd over seeds"),
    grid: { left: 64, right: 24, top: 58, bottom: 52 + room },
    legend,
    xAxis: axis({ type: "value", name: "step", min: "dataMin", max: "dataMax" }),
    yAxis: valueAxis(least(ends), most(ends), isLog),
    tooltip: { trigger: "item", valueFormatter: valueAt(isLog) },
    dataZoom: [{ type: "inside", filterMode: "none" }],
    series: [...lines.map((line) => band(line.points, line.colour, isLog)), ...lines.map((line) => meanLine(line.name, line.points, line.colour, isLog))],
  };
}
