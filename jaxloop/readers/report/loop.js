"use strict";
// The figures of a loop: the incumbent's staircase, verdicts, the winner's curse, the funnel, alpha, the ledger.

function of(run, kind) {
  return run.ledger.filter((record) => record.kind === kind);
}

function changes(config) {
  return Object.entries(config ?? {}).map(([name, value]) => `${name}=${short(value)}`).join(" ");
}

function interval(points, colour) {
  const width = 10;
  return {
    type: "custom", z: 2, silent: true, data: points, encode: { x: 0, y: [1, 2] },
    renderItem: (_, api) => {
      const [x, low] = api.coord([api.value(0), api.value(1)]), [, high] = api.coord([api.value(0), api.value(2)]);
      const line = (x1, y1, x2, y2) => ({ type: "line", shape: { x1, y1, x2, y2 }, style: { stroke: colour, lineWidth: 1.5 } });
      return { type: "group", children: [line(x, low, x, high), line(x - width / 2, low, x + width / 2, low), line(x - width / 2, high, x + width / 2, high)] };
    },
  };
}

function staircase(parent, run) {
  const steps = run.staircase, audit = of(run, "audit").find((record) => record.effect !== undefined);
  const end = steps[steps.length - 1].experiments;
  const audited = (of(run, "round").at(-1)?.experiments ?? 0) + 0.04 * end; // after the rounds, before any tries
  figure(parent, "staircase", () => ({
    title: titled("The incumbent", "gain over the baseline, above 0 is better; bars: intervals of the sum; diamond: audit on the test split"),
    grid: { left: 70, right: 30, top: 72, bottom: 48 },
    xAxis: axis({ type: "value", name: "experiments", scale: false, max: Math.ceil(end * 1.08) || 1 }),
    yAxis: axis({ type: "value", name: `gain in ${run.metric}`, nameGap: 48 }),
    tooltip: { formatter: (item) => `${short(item.value[1])}\n${changes(item.data.config).replaceAll(" ", "\n") || "baseline"}` },
    series: [
      { type: "line", step: "end", name: "recorded", color: css("--accent"), symbolSize: 7, data: steps.map((each) => ({ value: [each.experiments, each.effect], config: each.config })) },
      interval(steps.filter((each) => each.experiment !== null).map((each) => [each.experiments, each.low, each.high]), css("--accent")),
      ...(audit ? [
        { type: "scatter", name: "audit", symbol: "diamond", symbolSize: 13, color: css("--ink"), data: [{ value: [audited, audit.effect], config: audit.incumbent }] },
        interval([[audited, audit.low, audit.high]], css("--ink")),
      ] : []),
    ],
  }));
}

function effects(parent, run) {
  const judged = of(run, "experiment").filter((record) => record.effect !== undefined && record.effect !== null);
  if (!judged.length) return;
  const rows = judged.slice(-60).reverse();
  figure(parent, "effects", () => ({
    title: titled("Verdicts", "gain over the incumbent on fresh paired seeds, with its interval; above 0 is better"),
    grid: { left: 70, right: 30, top: 72, bottom: 62 },
    xAxis: axis({ type: "value", name: "effect" }),
    yAxis: axis({ type: "category", data: rows.map((record) => `#${record.id}`) }),
    legend: { bottom: 2, textStyle: { color: css("--ink") }, data: [...new Set(rows.map((record) => record.verdict))] },
    tooltip: { formatter: (item) => { const record = rows[item.value[1]]; return `#${record.id} ${record.verdict}\n${changes(record.changed).replaceAll(" ", "\n")}\n${short(record.effect)} [${short(record.low)}, ${short(record.high)}] on ${record.n} seeds`; } },
    series: Object.entries(VERDICTS).flatMap(([verdict, colour]) => {
      const data = rows.map((record, row) => ({ record, row })).filter(({ record }) => record.verdict === verdict);
      if (!data.length) return [];
      return [
        {
          type: "custom", silent: true, data: data.map(({ record, row }) => [record.low, record.high, row]),
          encode: { x: [0, 1], y: 2 },
          renderItem: (_, api) => {
            const [x1, y1] = api.coord([api.value(0), api.value(2)]), [x2, y2] = api.coord([api.value(1), api.value(2)]);
            return { type: "line", shape: { x1, y1, x2, y2 }, style: { stroke: colour, lineWidth: 2 } };
          },
        },
        { type: "scatter", name: verdict, color: colour, symbolSize: 9, data: data.map(({ record, row }) => [record.effect, row]) },
      ];
    }),
  }), { height: Math.max(320, 130 + 18 * rows.length) });
}

function curse(parent, run) {
  const floor = of(run, "floor")[0];
  const judged = of(run, "experiment").filter((record) => record.screening_mean !== undefined && record.effect !== undefined && record.effect !== null);
  if (!floor || !judged.length) return;
  const sign = run.mode === "max" ? 1 : -1;
  const baseline = new Map(run.staircase.map((each) => [changes(each.config), each.effect]));
  const points = judged.map((record) => ({
    value: [sign * (record.screening_mean - floor.mean), (baseline.get(changes(record.incumbent)) ?? 0) + record.effect, record.id],
    itemStyle: { color: VERDICTS[record.verdict] },
  }));
  const all = points.flatMap((point) => point.value.slice(0, 2));
  const [low, high] = [least([0, ...all]), most(all)];
  figure(parent, "curse", () => ({
    title: titled("The winner's curse", "gain over the baseline as screening saw it, and measured again on fresh seeds; line: no curse"),
    grid: { left: 70, right: 30, top: 72, bottom: 48 },
    xAxis: axis({ type: "value", name: "at screening", axisLabel: { color: css("--dim"), formatter: label } }),
    yAxis: axis({ type: "value", name: "on fresh seeds", nameGap: 48, axisLabel: { color: css("--dim"), formatter: label } }),
    tooltip: { formatter: (item) => `#${item.value[2]}: ${short(item.value[0])} at screening, ${short(item.value[1])} on fresh seeds` },
    series: [
      { type: "scatter", symbolSize: 9, data: points },
      { type: "line", silent: true, showSymbol: false, lineStyle: { type: "dashed", color: css("--dim"), width: 1 }, data: [[low, low], [high, high]] },
    ],
  }));
}

function funnel(parent, run) {
  const proposed = of(run, "experiment").filter((record) => record.screening_seeds);
  if (!proposed.length) return;
  const most = Math.max(...proposed.map((record) => record.screening_seeds));
  const survivors = proposed.filter((record) => record.stopped_at === undefined);
  const stages = [
    ["proposed", proposed.length],
    ...(survivors.length < proposed.length ? [["passed every rung", survivors.length]] : []),
    ["screened on 2 seeds or more", proposed.filter((record) => record.screening_seeds > 1).length],
    [`screened on ${most}`, survivors.filter((record) => record.screening_seeds === most).length],
    ["judged on fresh seeds", proposed.filter((record) => record.effect !== undefined).length],
    ["success", proposed.filter((record) => record.verdict === "success").length],
  ];
  figure(parent, "funnel", () => ({
    title: titled("From proposal to success", "configs that reached each stage"),
    grid: { left: 190, right: 50, top: 50, bottom: 24 },
    xAxis: axis({ type: "value", scale: false }), yAxis: axis({ type: "category", inverse: true, data: stages.map(([name]) => name) }),
    series: [{ type: "bar", color: css("--accent"), barMaxWidth: 26, label: { show: true, position: "right", color: css("--ink") }, data: stages.map(([, count]) => count) }],
  }));
}

function spending(parent, run) {
  const spent = run.ledger.filter((record) => record.kind === "round" || record.proposer === "try");
  if (!spent.length) return;
  const named = (record) => (record.kind === "round" ? `round ${record.round}` : `try ${record.round}`);
  figure(parent, "alpha", () => ({
    title: titled("Alpha left", "the chance of a false success that is not spent yet; a success hands its share on"),
    grid: { left: 70, right: 30, top: 72, bottom: 48 },
    xAxis: axis({ type: "category", name: "after", data: spent.map(named) }),
    yAxis: axis({ type: "value", min: 0, axisLabel: { color: css("--dim"), formatter: label } }),
    series: [{ type: "bar", color: css("--accent"), barMaxWidth: 40, label: { show: true, position: "top", formatter: (item) => short(item.value), color: css("--ink") }, data: spent.map((record) => record.alpha_left) }],
  }));
}

function ledgerTable(parent, run) {
  const records = of(run, "experiment");
  if (!records.length) return;
  const number = (name) => ({ name, value: (record) => record[name] });
  const box = element("div", { id: "ledger" });
  parent.append(element("h2", {}, "Ledger"), box);
  sortable(box, [
    number("id"), number("round"),
    { name: "verdict", isWord: true, value: (record) => record.verdict, className: (record) => String(record.verdict).split(" ")[0] },
    number("effect"), number("low"), number("high"), number("n"), number("level"), number("rho"), number("screening_mean"), number("stopped_at"),
    { name: "changed", isWord: true, className: () => "long", value: (record) => changes(record.changed) },
    { name: "proposer", isWord: true, value: (record) => record.proposer },
    ...(records.some((record) => record.hypothesis) ? [{ name: "hypothesis", isWord: true, value: (record) => record.hypothesis }] : []),
  ], records);
}

// Which experiments the last incumbent descends from, each with what it changed in the one before.
function descent(parent, run) {
  const won = run.staircase.filter((each) => each.experiment !== null).map((each) => of(run, "experiment").find((record) => record.id === each.experiment));
  const steps = won.map((each) => `#${each.id}: ${changes(each.changed)} (gain ${short(each.effect)} [${short(each.low)}, ${short(each.high)}])`);
  parent.append(element("p", { id: "descent" }, ["The incumbent's lineage: the baseline", ...steps].join(" → ")));
}

function loopFigures(parent, run) {
  if (!of(run, "floor").length) return;
  parent.append(element("h2", {}, "The loop"));
  descent(parent, run);
  const box = element("div", { class: "figures" });
  parent.append(box);
  for (const show of [staircase, effects, curse, funnel, spending]) show(box, run);
}
