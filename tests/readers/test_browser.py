"""Reports and TensorBoard in a real browser: every figure drawn, no error, brushing and sorting."""

import re
import signal
import subprocess
import time

import numpy as np
import pytest
from conftest import JAXLOOP, TINY
from helpers.browser import WAIT, browser, errors, opened, until
from helpers.loops import LOOP
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

import jaxloop
from jaxloop.storage.ranking import ranked
from jaxloop.sweep import sweep

QUICK = ("run.steps=6", "run.evaluate_every=1", 'hparams.model="linear"', 'checkpoint.keep="none"')
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page():
    with browser() as page:
        yield page


def trained(folder, rates, seeds=1):
    """A run of so many learning rates by two weight decays by seeds, which takes seconds."""
    text = TINY.replace("width = 16\ndepth = 2\n", "")
    axes = (
        f"axes.learning_rate={{log=[1e-4, 1e20], num={rates}}}"
        if rates > 1
        else "axes.learning_rate={values=[1e-2]}",
        "axes.weight_decay={values=[0.0, 0.1]}" if rates > 1 else "axes.weight_decay={values=[0.0]}",
        f"axes.seed={{count={seeds}}}",
    )
    jaxloop.run(sweep.parse(text, (*QUICK, *axes)), out=folder / "run").close()
    return folder / "run"


def figures(page):
    """The names of all figures, each of which has drawn something."""
    script = """
      return figures.map(one => {
        const canvas = one.box.querySelector("canvas");
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return [one.name, new Set(pixels).size];
      });"""
    found = page.execute_script(script)
    assert all(colours > 2 for _, colours in found), found
    return [name for name, _ in found]


@pytest.mark.parametrize(("rates", "seeds"), [(1, 1), (32, 4), (500, 1), (500, 4)])
def test_a_page_draws_every_figure(tmp_path, page, rates, seeds):
    run = trained(tmp_path, rates, seeds)
    path = jaxloop.report(run, out=tmp_path / "r.html")
    assert path.stat().st_size < 10_000_000
    opened(page, path)
    assert errors(page) == []
    drawn = figures(page)
    assert "curves" in drawn
    if rates > 1:
        assert {"heatmap learning_rate weight_decay", "parallel", "importances", "scatter"} <= set(drawn)
        assert page.find_element("id", "count").text == f"{2 * rates} of {2 * rates} configs"
    page.execute_script("setTheme('dark')")
    figures(page)
    assert errors(page) == []


def test_a_page_is_printed_light_and_whole(tmp_path, page):
    opened(page, jaxloop.report(trained(tmp_path, 4, 2), out=tmp_path / "r.html"))
    page.execute_script("setTheme('dark')")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    size = {"width": 740, "height": 1000, "deviceScaleFactor": 1, "mobile": False}  # A4 within its margins
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page.execute_script("dispatchEvent(new Event('beforeprint'))")
        theme = "return document.documentElement.dataset.theme"
        assert page.execute_script(theme) == "light"
        widths = "return [...document.querySelectorAll('table')].map((each) => each.scrollWidth)"
        assert max(page.execute_script(widths)) <= size["width"]
        page.execute_script("dispatchEvent(new Event('afterprint'))")
        assert page.execute_script(theme) == "dark"
        figures(page)
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_filter_takes_conditions_and_parts_of_names(tmp_path, page):
    run = trained(tmp_path, 4, 1)
    opened(page, jaxloop.report(run, out=tmp_path / "r.html"))
    rates = [float(text) for text in cells(page, 1)]
    some = sorted(rates)[2]
    (box,) = page.find_elements("css selector", "input[type=search]")
    for written, expected in {
        f"learning_rate={cells(page, 1)[0]}": [rates[0]] * rates.count(rates[0]),
        f"learning_rate>{some}": [rate for rate in rates if rate > some],
        f"learning_rate<={some}": [rate for rate in rates if rate <= some],
        "learning_rates>0": [],
        f"learning_rate>{some} learning_rate<={some}": [],
        f"learning_rate  >= {some}": [rate for rate in rates if rate >= some],
        "learning_rate": rates,
    }.items():
        box.clear()
        box.send_keys(written)
        assert sorted(float(text) for text in cells(page, 1)) == sorted(expected), written
        says_unknown = "no hparam or metric for" in page.find_element("id", "count").text
        assert says_unknown is written.startswith("learning_rates")


def cells(page, column):
    """A column of the table of configs, from top to bottom."""
    script = """
      const rows = document.querySelectorAll("#configs tbody tr");
      return [...rows].map(row => row.children[arguments[0]].textContent);"""
    return page.execute_script(script, column)


def test_brushing_filters_the_table_and_headings_sort_it(tmp_path, page):
    run = trained(tmp_path, 32, 2)
    opened(page, jaxloop.report(run, out=tmp_path / "r.html"))
    names = [cell.text.split(" ")[0] for cell in page.find_elements("css selector", "#configs th")]
    metric = names.index("validation/accuracy")
    heading = page.find_elements("css selector", "#configs th")[metric]
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", heading)
    orders = []
    for _ in range(2):
        heading.click()
        values = [None if text == "–" else float(text) for text in cells(page, metric)]
        known = [value for value in values if value is not None]
        assert values[: len(known)] == known  # those without a value are last, whichever the order
        orders.append(known)
    assert orders[0] == sorted(orders[0])
    assert orders[1] == sorted(orders[1], reverse=True)

    (members,) = [cell for cell in page.find_elements("css selector", "#configs th") if cell.text == "members"]
    members.send_keys(Keys.ENTER)  # a heading is also reached without a mouse
    firsts = [int(re.split("[- ]", text)[0]) for text in cells(page, names.index("members"))]
    assert firsts == sorted(firsts)
    assert members.get_attribute("aria-sort") == "ascending"

    script = """
      const chart = figures.find(one => one.name === "parallel").chart;
      const system = chart.getModel().getComponent("parallel").coordinateSystem;
      return system.getAxisLayout(system.dimensions[0]).position;"""
    x, _ = page.execute_script(script)
    canvas = page.find_element("css selector", "[data-figure=parallel] canvas")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    width, height = canvas.size["width"], canvas.size["height"]
    mouse = ActionChains(page).move_to_element_with_offset(canvas, int(x - width / 2), int(250 - height / 2))
    mouse.click_and_hold().move_by_offset(0, 60).move_by_offset(0, 40).release().perform()
    until(lambda: page.find_element("id", "count").text != "64 of 64 configs")
    (shown,) = re.findall(r"(\d+) of 64 configs", page.find_element("id", "count").text)
    rates = sorted({float(text) for text in cells(page, names.index("learning_rate"))})
    assert 0 < int(shown) == len(cells(page, 0)) < 64
    every = sorted({member.hparams["learning_rate"] for member in jaxloop.load(run).members})
    at = [min(range(32), key=lambda place: abs(every[place] - rate)) for rate in rates]
    assert at == list(range(at[0], at[-1] + 1))  # a brush is one interval of the axis
    assert errors(page) == []


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (1.05, 3.5, None),  # one round value alone: ECharts chooses others
        (0.9, 6, ["1", "2", "5"]),
        (0.05, 30, ["0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10", "20"]),
        (1e-4, 1, ["0.0001", "0.001", "0.01", "0.1", "1"]),
    ],
)
def test_a_log_scale_has_labels_however_few_powers_of_ten_it_spans(tmp_path, page, low, high, shown):
    opened(page, jaxloop.report(trained(tmp_path, 1), out=tmp_path / "r.html"))
    script = """
      const box = document.createElement("div");
      const chart = echarts.init(box, null, { renderer: "svg", width: 500, height: 420 });
      const yAxis = valueAxis(arguments[0], arguments[1], true);
      chart.setOption({ animation: false, xAxis: { show: false }, yAxis });
      return chart.renderToSVGString();"""
    drawn = re.findall(r"<text[^>]*>([^<]*)</text>", page.execute_script(script, low, high))
    values = [float(text) for text in drawn]
    assert len(values) > 2
    assert all(low * 0.999 <= value <= high * 1.001 for value in values)
    assert shown is None or sorted(drawn, key=float) == shown


def test_a_loop_s_page_draws_the_loop(tmp_path, page):
    (tmp_path / "loop.toml").write_text(LOOP)
    jaxloop.loop(tmp_path / "loop.toml", out=tmp_path / "run").close()
    jaxloop.attempt(tmp_path / "run", ("learning_rate=1e-5",), "a far smaller learning rate is no worse")
    opened(page, jaxloop.report(tmp_path / "run", out=tmp_path / "r.html"))
    assert {"staircase", "effects", "curse", "funnel", "alpha"} <= set(figures(page))
    experiments = page.find_elements("css selector", "#ledger tbody tr")
    ledger = jaxloop.load(tmp_path / "run").ledger
    assert len(experiments) == sum(record["kind"] == "experiment" for record in ledger)
    incumbents = [record["incumbent"] for record in ledger if record["kind"] == "round"]
    won = {
        record["id"]
        for record in ledger
        if record["kind"] == "experiment" and record["verdict"] == "success" and record["config"] in incumbents
    }
    said = page.find_element("id", "descent").text
    assert said.startswith("The incumbent's lineage: the baseline")
    assert {int(number) for number in re.findall(r"→ #(\d+): ", said)} == won != set()
    assert errors(page) == []


def test_names_that_look_like_html_are_text(tmp_path, page):
    run = trained(tmp_path, 4)
    with jaxloop.load(run) as loaded:
        loaded.store.put(name="<img src=x onerror=document.title='owned'>", notes=["<b>bold</b>"])
    opened(page, jaxloop.report(run, out=tmp_path / "r.html"))
    assert page.find_element("tag name", "h1").text.startswith("<img")
    assert "<b>bold</b>" in page.find_element("css selector", ".note").text
    assert page.title != "owned"


def test_two_runs_are_compared_and_either_is_shown(tmp_path, page):
    first = trained(tmp_path / "a", 4, 3)
    second = trained(tmp_path / "b", 4, 3)
    opened(page, jaxloop.report(first, second, out=tmp_path / "r.html"))
    assert "equal to the bit" in page.find_element("id", "body").text
    assert "best of each run" in figures(page)
    series = """
      const one = figures.find(one => one.name === "best of each run");
      return one.option().series.filter(each => each.type === "line").map(each => each.data);"""
    drawn = page.execute_script(series)
    assert drawn == [best_curve(first), best_curve(second)]
    script = """
      const box = document.querySelector("#head select");
      box.selectedIndex = 1;
      box.dispatchEvent(new Event("change"));"""
    page.execute_script(script)
    until(lambda: page.execute_script("return document.body.dataset.state === 'drawn'"))
    figures(page)
    assert errors(page) == []


def best_curve(run):
    """The mean over seeds of a run's best config at each step, as a page rounds float32 values."""
    with jaxloop.load(run) as loaded:
        best = ranked(loaded.store)[0]
        steps, values = loaded.store.curves("validation/accuracy")
    means = values[best.members].astype(np.float32).astype(float).mean(0)
    return [[step, pytest.approx(mean)] for step, mean in zip(steps.tolist(), means.tolist(), strict=True)]


def test_tensorboard_shows_axes_and_the_ranked_metric_on_its_first_screens(tmp_path, page):
    """TIME SERIES: the pinned card of the ranked metric; HPARAMS: the axes, then that metric."""
    run = trained(tmp_path, 32, 4)
    server = subprocess.Popen(
        [JAXLOOP, "tb", run, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        said = [server.stdout.readline() for _ in range(3)]
        assert "24 of 256 members are shown" in said[2]
        address = said[1].strip()
        until(lambda: "validation/accuracy" in _pinned(page, address), 2 * WAIT)
        page.get("about:blank")
        page.get(address.partition("?")[0] + "#hparams")
        names = until(lambda: _hparams_columns(page))
        assert names[:3] == ["Trial ID", "Show Metrics", "learning_rate"]
        assert names[3:5] == ["weight_decay", "validation/accuracy"]
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        server.stdout.close()
    assert server.returncode == 0


def _pinned(page, address):
    """The text of TensorBoard's pinned cards; "" while it starts, or has not read the run."""
    from selenium.common.exceptions import WebDriverException

    try:
        page.get(address)
    except WebDriverException:
        return ""
    time.sleep(3)
    found = page.find_elements("css selector", "metrics-pinned-view")
    return found[0].text.replace("\n", "") if found else ""


def _hparams_columns(page):
    """The headings of the HPARAMS table, which lies in shadow roots."""
    script = """
      const found = [];
      const walk = (node) => {
        for (const child of node.querySelectorAll("*")) {
          const text = child.tagName === "VAADIN-GRID-CELL-CONTENT" ? child.innerText.trim() : "";
          if (text) found.push(text);
          if (child.shadowRoot) walk(child.shadowRoot);
        }
      };
      walk(document);
      return found;"""
    found = [" ".join(text.split()) for text in page.execute_script(script)]
    start = found.index("Trial ID") if "Trial ID" in found else -1
    return found[start : start + 7] if start >= 0 else None
