"""TensorBoard itself reads what was written: its event reader, and its HTTP API."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from helpers import line

import jaxloop
from jaxloop.readers import board
from jaxloop.sweep import sweep


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("summaries")
    (folder / "tiny.toml").write_text(TINY)
    return jaxloop.run(folder / "tiny.toml", out=folder / "run")


def test_records_of_many_members_are_what_protocol_buffers_writes_for_each(tmp_path):
    from jaxloop.storage import tensorboard

    generator = np.random.default_rng(0)
    metrics = {name: generator.normal(size=20).astype(np.float32) for name in ("train/loss", "test/loss", "x/y")}
    metrics["test/loss"][generator.random(20) < 0.5] = np.nan
    metrics["train/loss"][:3] = np.inf, 0.0, -0.0
    steps = generator.integers(1, 4, 20) * 1000
    for row, record in enumerate(tensorboard.scalar_records(steps, metrics)):
        (path,) = [tmp_path / f"{row}" / "events.out.tfevents.1"]
        path.parent.mkdir()
        path.write_bytes(record)
        measured = {name: column[row] for name, column in metrics.items() if not np.isnan(column[row])}
        ((event, end),) = tensorboard._events(path)
        assert end == len(record)
        assert event.step == steps[row]
        assert abs(event.wall_time - time.time()) < 60
        assert {value.tag: np.float32(value.simple_value) for value in event.summary.value} == measured
        assert event.SerializeToString() == record[12:-4]


@pytest.mark.filterwarnings("ignore")
def test_the_event_reader_gives_every_members_curves(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folders = sorted(p for p in (run.path / "members").iterdir() if p.is_dir())
    assert len(folders) == 6
    for metric in run.store.metric_names():
        curves = run.curves(metric)
        for number, folder in enumerate(folders):
            events = EventAccumulator(str(folder))
            events.Reload()
            values = [event.value for event in events.Scalars(metric)]
            expected = curves[number][~np.isnan(curves[number])]
            np.testing.assert_array_equal(np.float32(values), expected)


@contextmanager
def served(command, port, runs):
    """What TensorBoard answers, once it has read so many runs."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    base = f"http://localhost:{port}/data/plugin"

    def ask(path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(base + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    try:
        tags = {}
        for _ in range(120):
            with suppress(OSError):
                tags = ask("/scalars/tags")
            if len(tags) >= runs:
                break
            time.sleep(0.5)
        assert len(tags) == runs
        yield ask
    finally:
        server.kill()
        server.wait()


def session_groups(ask):
    """The rows of the HPARAMS tab."""
    question = {
        "experimentName": "",
        "allowedStatuses": ["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING", "STATUS_UNKNOWN"],
        "colParams": [{"metric": {"group": "", "tag": "validation/accuracy"}}],
        "startIndex": 0,
        "sliceSize": 100,
    }
    return ask("/hparams/session_groups", question)["sessionGroups"]


def test_the_http_api_gives_curves_and_one_group_a_config(run):
    port = board.port(0)
    command = [str(Path(sys.executable).parent / "tensorboard"), "--logdir", str(run.path / "members")]
    command += ["--port", str(port), "--host", "127.0.0.1", "--load_fast", "false"]
    with served(command, port, 6) as ask:
        name = sorted(ask("/scalars/tags"))[3]
        points = ask(f"/scalars/scalars?run={name}&tag=validation/loss")
        np.testing.assert_allclose([value for _, _, value in points], run.curves("validation/loss")[3])
        groups = session_groups(ask)
        assert len(groups) == 3  # a group a config
        assert {len(group["sessions"]) for group in groups} == {2}
        rates = {round(group["hparams"]["learning_rate"], 6) for group in groups}
        assert rates == {round(m.hparams["learning_rate"], 6) for m in run.members}


def event_folders(logdir):
    """How many runs TensorBoard finds."""
    walked = os.walk(logdir, followlinks=True)
    return sum(any("tfevents" in file for file in files) for _, _, files in walked)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_tensorboard_ticks_all_of_up_to_five_runs(count, tmp_path):
    """It unticks them where there are more than 40."""
    axes = ("axes.learning_rate={log=[1e-3, 1e-1], num=13}", "run.steps=40")
    jaxloop.run(sweep.parse(TINY, axes), out=tmp_path / "0").close()
    for number in range(1, count):
        shutil.copytree(tmp_path / "0", tmp_path / str(number))
    with board.logdir([tmp_path / str(number) for number in range(count)]) as shown:
        assert 30 < event_folders(shown.path) <= 40
        assert all((shown.path / "members" if count == 1 else shown.path / "0" / "members").iterdir())


@pytest.mark.filterwarnings("ignore")
def test_a_row_is_a_config_of_one_run_where_several_are_shown(run, tmp_path):
    """The runs are equal, as far as their configs go."""
    shutil.copytree(run.path, tmp_path / "again")
    with board.logdir([run.path, tmp_path / "again"]) as shown:
        runs = event_folders(shown.path) - 3  # which have no scalars: tables, and what is declared
        port = board.port(0)
        with served(board.command(shown.path, port), port, runs) as ask:
            groups = session_groups(ask)
            declared = ask("/hparams/experiment", {"experimentName": ""})["hparamInfos"]
    assert "run" in {info["name"] for info in declared}
    assert sorted(group["hparams"]["run"] for group in groups) == [*["again"] * 3, *[run.path.name] * 3]
    assert all(group["name"].startswith(f"{group['hparams']['run']}: learning_rate=") for group in groups)
    assert {len(group["sessions"]) for group in groups} == {2}


def test_torch_is_not_loaded_to_write_events(tmp_path):
    """tensorboardX does that where it is installed; who wants it gets it all the same."""
    (tmp_path / "torch.py").write_text("here = True\n")
    code = (
        "import sys; import jaxloop.storage.tensorboard; assert 'torch' not in sys.modules; "
        "import torch; assert torch.here"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(tmp_path)})


def experiment(file):
    """What a file declares of a run to the HPARAMS tab."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    events = EventAccumulator(str(file))
    events.Reload()
    content = events.SummaryMetadata("_hparams_/experiment").plugin_data.content
    return plugin_data_pb2.HParamsPluginData.FromString(content).experiment


def group_names(folder):
    """The rows of the HPARAMS tab that the members in a log directory are in."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.plugins.hparams import plugin_data_pb2

    found = []
    for member in filter(Path.is_dir, folder.iterdir()):
        files = sorted(member.glob("*tfevents*"))
        values = [
            value for file in files for event in EventFileLoader(str(file)).Load() for value in event.summary.value
        ]
        first = next(value for value in values if value.tag == "_hparams_/session_start_info")
        content = first.metadata.plugin_data.content
        found.append(plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.group_name)
    return found


@pytest.mark.filterwarnings("ignore")
def test_configs_are_shown_whole_or_say_which_part_is(run, monkeypatch):
    monkeypatch.setattr(board, "BEST", 5)
    with board.logdir([run.path]) as shown:
        names = Counter(group_names(shown.path / "members"))
    assert sorted(names.values()) == [2, 2]
    assert not any("of 2 members" in name for name in names)
    monkeypatch.setattr(board, "MANY", 1)
    monkeypatch.setattr(board, "FEW", 1)
    with board.logdir([run.path]) as shown:
        names = Counter(group_names(shown.path / "members"))
    assert sorted(names.values()) == [1, 1, 1]
    assert all(name.endswith("(1 of 2 members)") for name in names)


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_trains_on_is_shown_anew_and_its_own_files_stay(tmp_path):
    """Its configs had one member each when TensorBoard began."""
    run = tmp_path / "run"
    jaxloop.run(sweep.parse(TINY, ("axes.seed.count=1", "run.steps=20")), out=run).close()
    with board.logdir([run]) as shown:
        assert len(group_names(shown.path / "members")) == 3
        jaxloop.resume(run, overrides=("axes.seed.count=3",)).close()
        before = sorted(run.rglob("*"))
        shown.trained[run] = True
        shown.fill()
        shown.fill()
        names = Counter(group_names(shown.path / "members"))
        assert sorted(names.values()) == [3, 3, 3]
        assert sorted(run.rglob("*")) == before


@pytest.mark.filterwarnings("ignore")
def test_filters_range_over_the_whole_axis_whichever_members_are_shown(run):
    with board.logdir([run.path], members=["0"]) as shown:
        (file,) = (shown.path / "members").glob("events*")
        declared = {info.name: info.domain_interval for info in experiment(file).hparam_infos}
    rates = [member.hparams["learning_rate"] for member in run.members]
    assert min(rates) < max(rates)
    assert declared["learning_rate"].min_value == min(rates)
    assert declared["learning_rate"].max_value == max(rates)


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_grows_declares_all_its_axes_and_metrics_once(tmp_path):
    case = 'cases.more={optimizer="rmsprop", decay=0.8, learning_rate=0.1, ema_decay=0.5}'
    text = (
        line.SWEEP.replace('optimizer = "sgd"\n', "")
        .replace("[axes]", "[cases.first]")
        .replace("learning_rate =", 'optimizer = "sgd"\nlearning_rate =')
    )
    jaxloop.run(line.written(tmp_path, sweep=text), out=tmp_path / "run").close()
    run = jaxloop.resume(tmp_path / "run", overrides=(case,))
    assert len(run.members) == 3
    (file,) = (run.path / "members").glob("events*")
    declared = experiment(file)
    assert {info.name for info in declared.hparam_infos} == set(run.store.varied) >= {"decay", "ema_decay"}
    assert declared.metric_infos[0].name.tag == run.store.metric
    assert {info.name.tag for info in declared.metric_infos} == set(run.store.metric_names())
    assert "validation/ema/loss" in run.store.metric_names()


@pytest.mark.filterwarnings("ignore")
def test_the_summary_has_quantiles_of_all_members_and_bands_of_the_best(run):
    """By TensorBoard's own reader, against NumPy on the members' curves."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run.path / "summary"
    metric, curves = run.store.metric, run.curves(run.store.metric)

    def scalars(name, tag):
        events = EventAccumulator(str(folder / name))
        events.Reload()
        return [event.value for event in events.Scalars(tag)]

    np.testing.assert_allclose(scalars("quantile-50", metric), np.median(curves, axis=0), rtol=1e-6)
    np.testing.assert_allclose(scalars("quantile-10", metric), np.quantile(curves, 0.1, axis=0), rtol=1e-6)
    np.testing.assert_allclose(scalars("best", metric), curves.max(0), rtol=1e-6)
    best = run.summary.best[0]
    (first,) = [path.name for path in folder.iterdir() if path.name.startswith("config-1-")]
    mine = curves[best.members]
    np.testing.assert_allclose(scalars(first, metric), mine.mean(0), rtol=1e-6)
    lower = mine.mean(0) - mine.std(0, ddof=1) / np.sqrt(len(mine))
    np.testing.assert_allclose(scalars(first, f"with standard error/{metric}/lower"), lower, rtol=1e-5)
    assert scalars("counts", "turns/in training")[0] == 6
    assert scalars("counts", "turns/finished")[-1] == 6
    tags = EventAccumulator(str(folder / "best"))
    tags.Reload()
    assert not [tag for tag in tags.Tags()["scalars"] if tag.startswith("test/")]  # curves of one point are text
    overview = EventAccumulator(str(folder / "overview"))
    overview.Reload()
    (text,) = overview.Tensors("overview/text_summary")
    assert f"{best.metrics['test/accuracy']:.4g}" in text.tensor_proto.string_val[0].decode()
    assert overview.Tensors("custom_scalars__config__")


def test_a_summary_that_is_written_again_replaces_the_one_before(run):
    from jaxloop.storage.aggregates import Aggregates

    before = {path.parent: path for path in (run.path / "summary").rglob("events*")}
    aggregates = Aggregates(run.path / "summary")
    aggregates.write(run.store)
    after = {path.parent: path for path in (run.path / "summary").rglob("events*")}
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    aggregates.took = 1e6
    aggregates.refresh(run.store)  # it was written a moment ago, and takes long
    assert {path.parent: path for path in (run.path / "summary").rglob("events*")} == after
