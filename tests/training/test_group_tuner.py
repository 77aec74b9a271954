"""The width: found on the real step, remembered, and without a trace in the results."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from conftest import TINY
from helpers import line

import jaxloop
from jaxloop import api
from jaxloop.core import devices, size_classes
from jaxloop.sweep import sweep
from jaxloop.training import group_tuner

RATES = {2: 1.0, 4: 3.0, 8: 5.0, 16: 4.0, 32: 9.0}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def bucket():
    swept = sweep.parse(TINY)
    task = api.task_of(swept)
    return swept, task, size_classes.buckets(swept, task)[0], devices.member_mesh()


@pytest.mark.parametrize(("first", "most", "found"), [(2, 32, 8), (4, 32, 8), (8, 32, 8), (16, 32, 32), (8, 4, 4)])
def test_the_search_climbs_to_the_next_peak(first, most, found):
    def step(width):
        assert devices.SMALLEST_GROUP <= width <= most
        return SimpleNamespace(rate=lambda: RATES[width])

    assert group_tuner.fastest(step, min(first, most), most) == found


@pytest.mark.slow
def test_a_width_is_measured_once(bucket, monkeypatch):
    assert group_tuner.tuned(*bucket, 2, 4) == 2  # a run of a second is not worth it
    monkeypatch.setattr(group_tuner, "WORTH_SECONDS", 0.0)
    monkeypatch.setattr(group_tuner, "CALL_FLOPS", 2e7)
    found = group_tuner.tuned(*bucket, 2, 4)
    assert found in (2, 4)
    monkeypatch.setattr(group_tuner, "fastest", None)  # a call would raise
    assert group_tuner.tuned(*bucket, 2, 4) == group_tuner.remembered(*bucket, 0, 4) == found
    assert group_tuner.remembered(*bucket, 0, 8) == 0  # another search


@pytest.mark.slow
def test_members_that_begin_by_lapack_are_measured(tmp_path):
    """On two devices: calls of members that were merged into one would wait for each other, for ever."""
    matrices = "jax.nn.initializers.orthogonal()(key, (8, 128, 128))[0, 0, :1]"
    task = line.changed(line.LINE, ("jax.random.normal(key, (1,))", matrices))
    swept, task = api.read(line.written(tmp_path, task=task))
    (bucket,) = size_classes.buckets(swept, task)
    assert group_tuner.Step(swept, task, bucket, devices.member_mesh(), 64, 1).rate() > 0


@pytest.mark.parametrize("text", ["", "[]", '{"x": "y"}', "\x00\xff", "not json"])
def test_a_damaged_memory_is_no_memory(bucket, tmp_path, text):
    file = tmp_path / "cache" / "jaxloop" / group_tuner.FILE
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert group_tuner.tuned(*bucket, 2, 4) == 2


@pytest.mark.slow
def test_a_tuned_run_has_the_same_bits(tmp_path, monkeypatch):
    swept = sweep.parse(TINY, ("axes.seed.count=4",))
    plain = jaxloop.run(swept, out=tmp_path / "plain")
    monkeypatch.setattr(group_tuner, "tuned", lambda *arguments: 2)
    tuned = jaxloop.run(swept, out=tmp_path / "tuned")
    assert plain.summary.group_size != tuned.summary.group_size == 2
    for metric in plain.store.metric_names():
        np.testing.assert_array_equal(plain.curves(metric), tuned.curves(metric))
    ours, theirs = (jax.tree.leaves(run.params(5)) for run in (plain, tuned))
    assert all((a == b).all() for a, b in zip(ours, theirs, strict=True))
