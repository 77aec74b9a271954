"""How many members sit at a time: what fits in memory, by plan and where the plan was wrong."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from conftest import TINY
from hypothesis import given
from hypothesis import strategies as st

import jaxloop
from jaxloop import api, devices, planner, runner, sweep
from jaxloop.compiled import compiled
from jaxloop.errors import ResourceError


@given(
    groups=st.integers(1, 50),
    width=st.sampled_from([2, 4, 8, 16, 1024]),
    count=st.integers(1, 8),
    share=st.floats(0.0, 0.999),
)
def test_a_shrunk_capacity_is_smaller_and_whole(groups, width, count, share):
    capacity = groups * width * count
    found = devices.shrunk(capacity, width, 2, count, share)
    if found is None:
        assert capacity == 2 * count
        return
    smaller, narrower = found
    assert smaller < capacity
    assert 2 <= narrower <= width
    assert smaller % (narrower * count) == 0
    assert smaller <= max(share * capacity, 2 * count)


def test_a_fixed_width_is_not_narrowed():
    assert devices.shrunk(8, 4, 4, 2, 0.5) is None


@pytest.fixture
def program(compiled_quickly):
    swept = sweep.parse(TINY, ("axes.seed.count=16",))
    task = api.task_of(swept)
    (bucket,) = planner.buckets(swept, task)

    def at(**settings):
        return compiled(swept, task, bucket, devices.member_mesh(), **settings)

    return at


def test_capacity_is_what_fits_in_memory(program, monkeypatch):
    whole = program()
    assert (whole.capacity, whole.memory_bytes < devices.memory_bytes(whole.mesh)) == (64, True)
    monkeypatch.setattr(devices, "memory_bytes", lambda mesh: whole.memory_bytes - 1)
    less = program()
    assert less.capacity < 64
    assert less.memory_bytes < whole.memory_bytes
    assert program(capacity=64, width=whole.width).capacity == 64  # a resumed run keeps its own
    monkeypatch.setattr(devices, "memory_bytes", lambda mesh: 1000)
    with pytest.raises(ResourceError, match=r"4 members at a time need 0\.\d+ GiB of each device, 0\.00 GiB"):
        program()


def test_where_memory_runs_out_at_the_start_half_the_slots_go_on(tmp_path, monkeypatch):
    swept = sweep.parse(TINY, ("axes.seed.count=8",))
    plain = jaxloop.run(swept, out=tmp_path / "plain")
    real = runner.compiled

    def too_large(*arguments, **settings):
        program = real(*arguments, **settings)
        if program.capacity <= 8:
            return program

        def advance(*arguments):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")

        return replace(program, advance=advance)

    monkeypatch.setattr(runner, "compiled", too_large)
    halved = jaxloop.run(swept, out=tmp_path / "halved")
    assert (plain.summary["capacity"], halved.summary["capacity"]) == (32, 8)
    assert halved.summary["notes"] == [
        "32 slots did not fit in the devices' memory: going on with 16",
        "16 slots did not fit in the devices' memory: going on with 8",
    ]
    for metric in plain.store.metric_names():
        np.testing.assert_array_equal(plain.curves(metric), halved.curves(metric))
    with pytest.raises(jax.errors.JaxRuntimeError):  # a capacity that the user chose is not changed
        jaxloop.run(sweep.parse(TINY, ("axes.seed.count=8", "population.capacity=24")), out=tmp_path / "fixed")
