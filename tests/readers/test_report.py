"""A page's numbers are the store's, and every kind of run has a page; no browser here."""

import base64
import csv
import io
import json
import re
import sqlite3

import numpy as np
import pytest
from conftest import TINY
from helpers import line
from helpers.loops import LOOP
from helpers.stopping import crashed

import jaxloop
from jaxloop.errors import DamagedError, NotFoundError, SweepError
from jaxloop.readers import rows
from jaxloop.readers.report.results import results
from jaxloop.storage.ranking import ranked
from jaxloop.sweep import sweep


def data(path):
    """The numbers of a page."""
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


@pytest.fixture(scope="module")
def page(whole, tmp_path_factory):
    return jaxloop.report(whole, out=tmp_path_factory.mktemp("page") / "report.html")


def test_a_page_is_named_after_its_run_and_one_of_several_is_a_report(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert jaxloop.report(whole).name == f"{whole.name}.html"
    assert jaxloop.report(whole, whole).name == "report.html"
    assert sorted(path.name for path in tmp_path.glob("*")) == ["report.html", f"{whole.name}.html"]


def test_a_page_has_the_numbers_of_the_store(whole, page):
    (run,) = data(page)["runs"]
    with jaxloop.load(whole) as loaded:
        configs = ranked(loaded.store)
        assert [row["mean"] for row in run["configs"]] == [config.mean for config in configs]
        assert [row["error"] for row in run["configs"]] == [config.standard_error for config in configs]
        assert [row["members"] for row in run["configs"]] == [config.members for config in configs]
        for row, config in zip(run["configs"], configs, strict=True):
            assert dict(zip(run["metrics"], row["metrics"], strict=True)) == config.metrics
            assert row["values"] == [config.hparams["learning_rate"]]
        assert [axis["name"] for axis in run["axes"]] == ["learning_rate"]
        assert run["metrics"][0] == loaded.store.metric
        for name, curve in run["curves"].items():
            values = np.frombuffer(base64.b64decode(curve["values"]), "<f4").reshape(6, -1)
            np.testing.assert_array_equal(values, loaded.curves(name))
            assert curve["steps"] == loaded.steps().tolist()
        assert "test/accuracy" not in run["curves"]  # of one point


@pytest.mark.slow
def test_tables_frames_and_pages_agree(whole, page, tmp_path, jaxloop_command):
    (run,) = data(page)["runs"]
    with jaxloop.load(whole) as loaded:
        members, curves = rows.of_members(loaded.members), rows.of_curves(loaded.store)
        frame = loaded.frame()
        metric = loaded.store.metric
        for point in curves:
            place = loaded.steps().tolist().index(point["step"])
            assert np.float32(point[metric]) == loaded.curves(metric)[point["member"], place]
    assert frame.to_dict("records") == members
    done = jaxloop_command("show", whole, "--csv")
    assert done.stdout == rows.as_csv(members)
    for kind in ("csv", "json", "parquet"):
        for what in ("members", "curves"):
            assert jaxloop_command("export", whole, what, tmp_path / f"{what}.{kind}").returncode == 0
    assert list(csv.DictReader(io.StringIO((tmp_path / "members.csv").read_text())))[3]["number"] == "3"
    assert json.loads((tmp_path / "members.json").read_text()) == members
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(tmp_path / "curves.parquet").to_pylist() == curves
    means = {number: row["mean"] for row in run["configs"] for number in row["members"]}
    for number, mean in means.items():
        pair = [row[metric] for row in members if means[row["number"]] == mean]
        assert mean == pytest.approx(np.mean(pair), rel=1e-12), number


def test_a_page_needs_no_network(page):
    text = page.read_text(encoding="utf-8")
    scripts = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r'(src|href)="', scripts)
    assert "default-src 'none'" in text


def test_echarts_is_what_its_authors_published():
    import hashlib
    from importlib.resources import files

    folder = files("jaxloop.readers.report")
    recorded = re.search(r"SHA-256: (\w+)", folder.joinpath("ECHARTS.md").read_text())[1]
    assert hashlib.sha256(folder.joinpath("echarts.min.js").read_bytes()).hexdigest() == recorded
    assert "Apache License" in folder.joinpath("ECHARTS-LICENSE").read_text()


def test_hostile_names_stay_text(tmp_path, tiny):
    """A run's name, and a note: nothing in them ends the script that holds the data."""
    evil = "</script><script>alert(1)</script>"
    run = jaxloop.run(sweep.parse(TINY, ("run.steps=20",)), out=tmp_path / "run")
    run.store.put(notes=[evil], name=evil)
    path = jaxloop.report(tmp_path / "run", out=tmp_path / "r.html")
    text = path.read_text(encoding="utf-8")
    assert text.count("<script") == jaxloop_scripts()
    assert evil not in text
    assert data(path)["runs"][0]["name"] == evil


def jaxloop_scripts():
    from jaxloop.readers.report import page

    return 1 + len(page.SCRIPTS)


def test_a_run_that_trains_or_was_interrupted_is_shown_as_it_is(tmp_path):
    folder = crashed(tmp_path / "run", turn=2)
    (run,) = data(jaxloop.report(folder, out=tmp_path / "r.html"))["runs"]
    assert run["status"] == "interrupted"
    assert run["so_far"] == 40
    assert "so far" in run["headline"][0]
    assert len(run["configs"]) == 3


def test_a_run_without_a_turn_and_one_without_a_survivor_have_pages(tmp_path):
    from jaxloop.training import create

    swept = sweep.parse(TINY)
    create.create(swept, jaxloop.api.task_of(swept), tmp_path / "empty", numbered=False)
    (run,) = data(jaxloop.report(tmp_path / "empty", out=tmp_path / "r.html"))["runs"]
    assert run["headline"] == ["no config has a finite validation/accuracy yet: 6 waiting"]
    assert run["curves"] == {}
    lost = sweep.parse(TINY, ("axes.learning_rate={values=[1e20, 1e30]}", "run.steps=20"))
    jaxloop.run(lost, out=tmp_path / "lost").close()
    (run,) = data(jaxloop.report(tmp_path / "lost", out=tmp_path / "r.html"))["runs"]
    assert run["headline"] == ["no config has a finite validation/accuracy: 4 diverged"]
    assert [row["mean"] for row in run["configs"]] == [None, None]
    assert not any("nothing was tried" in finding["says"] for finding in run["findings"])


def test_what_cannot_be_shown_is_told_in_one_error(whole, tmp_path):
    with pytest.raises(NotFoundError):
        jaxloop.report(tmp_path / "none", out=tmp_path / "r.html")
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "page.html").write_text("<p>mine</p>")
    for target, says in {
        tmp_path / "folder.html": "is a folder",
        tmp_path / "page.html": "is no report",
        tmp_path / "task.py": "ends in .html",
        whole / "report.html": "lies in the run",
    }.items():
        with pytest.raises(SweepError, match=says):
            jaxloop.report(whole, out=target)
    with pytest.raises(SweepError, match="needs the folder of a run"):
        jaxloop.report(out=tmp_path / "r.html")
    assert (tmp_path / "page.html").read_text() == "<p>mine</p>"
    with pytest.raises(SweepError, match="no such folder"):
        jaxloop.report(whole, out=tmp_path / "none" / "r.html")
    jaxloop.run(sweep.parse(TINY, ("run.steps=20",)), out=tmp_path / "run").close()
    with sqlite3.connect(tmp_path / "run" / "run.sqlite") as store:
        store.execute("update members set hparams = '{' where number = 1")
    with pytest.raises(DamagedError):
        jaxloop.report(tmp_path / "run", out=tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_a_loop_has_its_audit_in_the_headline(tmp_path):
    jaxloop.loop(_file(tmp_path, LOOP), out=tmp_path / "run").close()
    (run,) = data(jaxloop.report(tmp_path / "run", out=tmp_path / "r.html"))["runs"]
    with jaxloop.load(tmp_path / "run") as loaded:
        audit = loaded.ledger[-1]
    assert run["headline"][0].startswith(audit["verdict"])
    assert f"{audit['effect']:+.4g}" in run["headline"][1]
    assert {record["kind"] for record in run["ledger"]} >= {"floor", "experiment", "round", "audit"}
    assert run["importances"] == []  # of 17 configs
    assert run["staircase"][-1]["config"] == audit["incumbent"]
    drawn = {path.name for path in jaxloop.api.draw(tmp_path / "run", out=tmp_path / "figures", kind="png")}
    assert {"run-incumbent.png", "run-verdicts.png"} <= drawn


def _file(folder, text):
    (folder / "loop.toml").write_text(text)
    return folder / "loop.toml"


def test_an_axis_of_many_values_has_cells_that_are_equal_on_its_scale(tmp_path):
    sampled = '[population]\nsampler = "random"\nmembers = 40\n[axes]\nlearning_rate = { log = [1e-3, 1e-1] }\n'
    text = line.changed(line.SWEEP, ("[axes]\nlearning_rate = { values = [0.1, 0.3] }\n", sampled))
    run = jaxloop.run(line.written(tmp_path, sweep=text), out=tmp_path / "run")
    (axis,) = results(run.store)["axes"]
    rates = np.array([config.hparams["learning_rate"] for config in ranked(run.store)])
    edges = np.geomspace(rates.min(), rates.max(), len(axis["cells"]) + 1)
    inside = np.digitize(rates, edges[1:-1])
    assert axis["values"] is None
    assert axis["cell_of"] == inside.tolist()
    np.testing.assert_allclose(
        [float(label) for label in axis["cells"]], np.sqrt(edges[:-1] * edges[1:]), rtol=1e-3
    )
    image = run.plot.heatmap("learning_rate", "learning_rate").axes[0].images[0].get_array()
    assert np.isfinite(np.asarray(image)).sum() == len(set(inside.tolist()))


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_figures_are_drawn_for_papers(whole, tmp_path, kind):
    drawn = jaxloop.api.draw(whole, out=tmp_path / "figures", kind=kind)
    assert {path.name for path in drawn} >= {f"run-curves-validation-accuracy.{kind}"}
    start = {"png": b"\x89PNG", "svg": b"<?xml"}[kind]
    assert all(path.read_bytes().startswith(start) for path in drawn)


def test_figures_show_dollar_signs_as_text(tmp_path):
    """matplotlib reads them as mathematics, and fails where it cannot."""
    task = line.changed(
        line.LINE,
        ('return {"loss": ', 'return {"lo$s^{$": '),
        ("jaxloop.Data(split, split, split)", 'jaxloop.Data(split, split, split), hparams={"price": "$1"}'),
    )
    text = line.changed(line.SWEEP, ("[axes]\n", "[axes]\nprice = { values = ['$1^{$', '$2'] }\n"))
    text += '[evaluate]\nmetric = "validation/lo$s^{$"\nmode = "min"\n'
    jaxloop.run(line.written(tmp_path, task=task, sweep=text), out=tmp_path / "run").close()
    drawn = jaxloop.api.draw(tmp_path / "run", out=tmp_path / "figures", kind="svg")
    assert {path.name for path in drawn} >= {
        "run-heatmap-price-learning_rate.svg",
        "run-curves-validation-lo$s^{$.svg",
    }


def test_plots_of_a_run_are_figures_of_matplotlib(tmp_path, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # the width of the terminal that pytest runs in
    swept = sweep.parse(TINY, ("axes.weight_decay={values=[0.0, 0.1]}", "run.steps=40"))
    run = jaxloop.run(swept, out=tmp_path / "run")
    lines = run.plot.curves("validation/loss").axes[0].get_lines()
    assert len(lines) == 12 + 6  # members, and the means of configs
    grid = np.asarray(run.plot.heatmap("learning_rate", "weight_decay").axes[0].images[0].get_array())
    assert grid.shape == (2, 3)
    assert np.nanmax(grid) == max(config.mean for config in ranked(run.store))
    with pytest.raises(NotFoundError, match="unknown axis `weight_decoy`; did you mean `weight_decay`"):
        run.plot.heatmap("learning_rate", "weight_decoy")
    assert "learning_rate" in run._repr_html_()
    assert "12 finished" in repr(run)
    standing, *table = str(run).splitlines()
    assert standing == "run: finished, 12 finished"
    assert all(name in table[2] for name in ("learning_rate", "validation/accuracy", "members"))
