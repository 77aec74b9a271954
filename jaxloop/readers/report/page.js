"use strict";
// The page: headline, facts, then the figures of the run that is chosen.

const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = DATA.runs.map(prepared);

function tile(label, value) {
  return element("div", { class: "tile" }, element("b", {}, value), element("span", {}, label));
}

function headline(parent, run) {
  const box = element("div", { class: "headline" });
  for (const [place, line] of run.headline.entries()) box.append(element("p", place ? {} : { class: "best" }, line));
  parent.append(box);
  for (const note of run.notes) parent.append(element("p", { class: "note" }, note));
}

function tiles(parent, run) {
  const counts = Object.entries(run.counts).filter(([, count]) => count);
  const facts = Object.fromEntries(run.facts);
  parent.append(element("div", { class: "tiles" },
    tile("configs", run.configs.length.toLocaleString("en")),
    ...counts.map(([status, count]) => tile(`members ${status}`, count.toLocaleString("en"))),
    ...["member-steps", "seconds of training", "member-steps per second"].filter((name) => facts[name]).map((name) => tile(name, facts[name]))));
}

function next(parent, run) {
  if (!run.findings.length) return;
  parent.append(element("h2", {}, "What to try next"), element("ul", {}, ...run.findings.map((each) => element("li", {}, ...prose(each.says)))));
}

// A sentence with its commands, which stand between backticks.
function prose(text) {
  return text.split("`").map((part, place) => (place % 2 ? element("code", {}, part) : part));
}

function provenance(parent, run) {
  parent.append(element("h2", {}, "Cost and provenance"),
    element("dl", {}, ...run.facts.flatMap(([label, value]) => [element("dt", {}, label), element("dd", {}, value)])),
    element("p", {}, "To reproduce: ", element("code", {}, run.reproduce), ", or, without the run's folder, save this sweep as a file and ",
      element("code", {}, `jaxloop ${run.command} FILE`), ":"),
    element("details", {}, element("summary", {}, "the sweep"), element("pre", {}, run.sweep)));
}

function show(run) {
  forgetFigures();
  document.body.dataset.state = "drawing";
  const body = document.getElementById("body");
  body.replaceChildren();
  headline(body, run);
  tiles(body, run);
  comparisons(body, RUNS);
  next(body, run);
  loopFigures(body, run);
  curves(body, run);
  const pairs = heatmaps(body, run);
  if (pairs) importances(pairs, run);
  let table = null;
  parallel(body, run, (configs) => table.choose(configs));
  table = configTable(body, run);
  const more = element("div", { class: "figures" });
  const heading = element("h2", {}, "More");
  body.append(heading, more);
  if (!pairs) importances(more, run);
  scatter(more, run);
  lineage(more, run);
  heading.hidden = !more.children.length;
  ledgerTable(body, run);
  provenance(body, run);
  setTimeout(drawWaiting);
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  drawAgain();
}

function start() {
  const wanted = matchMedia("(prefers-color-scheme: dark)");
  document.documentElement.dataset.theme = wanted.matches ? "dark" : "light";
  wanted.addEventListener("change", (event) => setTheme(event.matches ? "dark" : "light"));
  const head = document.getElementById("head");
  const title = element("h1", {}), status = element("span", { class: "status" }), about = element("span", { class: "dim" });
  const choose = (run) => {
    title.textContent = run.name;
    status.textContent = run.so_far === null ? run.says : `${run.says}, so far: step ${run.so_far} at most`;
    about.textContent = `${run.task} · ranked by ${run.metric}, ${run.mode === "max" ? "more" : "less"} is better`;
    show(run);
  };
  head.append(title, status, about);
  if (RUNS.length > 1) {
    head.append(element("label", {}, "run ", selection(RUNS.map((run) => run.path), (path) => choose(RUNS.find((run) => run.path === path)))));
  }
  head.append(element("button", { class: "push", onclick: () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark") }, "light / dark"));
  choose(RUNS[0]);
}

start();
