"""A run whose code, data, libraries or sweep have changed: told, refused, or gone on with and recorded."""

import pytest
from conftest import TINY
from helpers.stopping import Stopped, crash_at

import jaxloop
from jaxloop.errors import DamagedError, ResourceError, SweepError
from jaxloop.readers.verify import verify
from jaxloop.storage.store import Store

TASK = """
import jaxloop
from jaxloop.tasks import digits

task = digits()
"""


@pytest.fixture
def mine(tmp_path):
    """A sweep of a task in a file of one's own."""
    (tmp_path / "mine.py").write_text(TASK)
    file = tmp_path / "tiny.toml"
    file.write_text(TINY.replace('"digits"', '"mine.py:task"'))
    return file


@pytest.mark.slow
@pytest.mark.parametrize("changed", ["code", "data", "jax", "sweep"])
def test_drift_is_shown_and_refused(mine, tmp_path, changed):
    run = tmp_path / "run"
    with pytest.raises(Stopped):
        jaxloop.run(mine, overrides=("run.steps=100",), out=run, observe=crash_at(2))
    if changed == "code":
        (tmp_path / "mine.py").write_text(TASK + "# a comment\n")
    elif changed == "data":
        code = TASK + "task.data.splits()['train']['x'][0, 0] += 1\n"
        (tmp_path / "mine.py").write_text(code)
    elif changed == "jax":
        with Store(run) as store:
            store.put(origins=[{**store.origins[0], "jax": "0.9.0"}])
    else:
        (run / "sweep.toml").write_text((run / "sweep.toml").read_text().replace("steps = 100", "steps = 90"))
    told = {"code": "code: was", "data": "data: was", "jax": "jax: was 0.9.0, is", "sweep": r"\+steps = 90"}
    with pytest.raises(DamagedError, match=told[changed]) as refused:
        jaxloop.resume(run)
    assert "--allow-drift" in str(refused.value)
    assert "jaxloop fork" in str(refused.value)
    assert ("+# a comment" in str(refused.value)) == (changed == "code")
    with jaxloop.load(run) as loaded:
        assert loaded.store.counts()["finished"] == 0
    with pytest.raises(Stopped):
        jaxloop.resume(run, allow_drift=True, observe=crash_at(2))
    with jaxloop.resume(run) as resumed:  # accepted once, it is no drift any more
        assert resumed.summary.finished == 6
        (drift,) = resumed.store.drift
    assert drift["turn"] == 2
    assert verify(run)["problems"] == []


@pytest.mark.slow
def test_a_task_that_gains_an_hparam_has_drifted_and_is_still_read(mine, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(Stopped):
        jaxloop.run(mine, overrides=("axes.steps.values=[20, 60]",), out=run, observe=crash_at(2))
    more = "import dataclasses\ntask = dataclasses.replace(task, hparams={**task.hparams, 'extra': 0.5})\n"
    (tmp_path / "mine.py").write_text(TASK + more)
    with jaxloop.load(run) as loaded:
        assert loaded.params(0)
    with pytest.raises(DamagedError, match="code: was"):
        jaxloop.resume(run)
    with jaxloop.resume(run, allow_drift=True) as resumed:
        assert resumed.summary.finished == 12
    assert verify(run)["problems"] == []


@pytest.mark.slow
def test_what_is_refused_leaves_no_drift_behind(mine, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(Stopped):
        jaxloop.run(mine, out=run, observe=crash_at(2))
    (tmp_path / "mine.py").write_text(TASK + "# a comment\n")
    huge = ("axes.seed.count=3", "axes.width.values=[16, 4000000]")
    with pytest.raises((SweepError, ResourceError)):
        jaxloop.resume(run, allow_drift=True, overrides=huge)
    with jaxloop.load(run) as loaded:
        assert loaded.store.drift == []
        assert len(loaded.members) == 6


@pytest.mark.slow
def test_to_a_finished_run_drift_matters_once_it_grows(mine, tmp_path):
    run = jaxloop.run(mine, out=tmp_path / "run").path
    (tmp_path / "mine.py").write_text(TASK + "# a comment\n")
    with jaxloop.resume(run, allow_drift=True) as resumed:
        assert resumed.store.drift == []
    with pytest.raises(DamagedError, match="code: was"):
        jaxloop.resume(run, overrides=("axes.seed.count=3",))
    with jaxloop.resume(run, overrides=("axes.seed.count=3",), allow_drift=True) as grown:
        assert [each["changes"][0][:10] for each in grown.store.drift] == ["code: was "]
        assert grown.summary.finished == 9
