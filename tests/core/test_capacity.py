"""How many members sit at a time: what fits in memory, by plan and where the plan was wrong."""

import itertools
from dataclasses import replace

import jax
import numpy as np
import pytest
from conftest import TINY

import jaxloop
from jaxloop import api
from jaxloop.core import devices, population, size_classes
from jaxloop.core.program import compiled
from jaxloop.core.slot_counts import SlotLimits
from jaxloop.errors import ResourceError
from jaxloop.sweep import sweep
from jaxloop.training import host, programs


@pytest.fixture
def program():
    swept = sweep.parse(TINY, ("axes.seed.count=16",))
    task = api.task_of(swept)
    (bucket,) = size_classes.buckets(swept, task)

    def at(**settings):
        return compiled(swept, task, bucket, devices.member_mesh(), SlotLimits(**settings))

    return at


@pytest.mark.slow
def test_capacity_is_what_fits_in_memory(program):
    whole = program()
    assert (whole.capacity, whole.memory_bytes < host.memory_bytes(whole.mesh)) == (64, True)
    less = program(memory_bytes=whole.memory_bytes - 1)
    assert less.capacity < 64
    assert less.memory_bytes < whole.memory_bytes
    assert (
        program(capacity=64, group_size=whole.group_size, memory_bytes=1000).capacity == 64
    )  # a resumed run keeps its own
    with pytest.raises(ResourceError, match=r"4 members at a time do not fit .*: 0\.00 GiB of each are free"):
        program(memory_bytes=1000)


@pytest.mark.parametrize(
    ("limit", "used", "free"),
    [("1000", "400", 600), ("1000", "2000", 0), ("max", "400", None), (None, None, None)],
)
def test_a_container_has_less_memory_than_its_host(limit, used, free, tmp_path, monkeypatch):
    monkeypatch.setattr(host, "CGROUP", tmp_path)
    if limit:
        (tmp_path / "memory.max").write_text(limit)
        (tmp_path / "memory.current").write_text(used)
    found = host.memory_bytes(devices.member_mesh())
    if free is None:
        assert found > 2**26  # the machine's own
    else:
        assert found == int(host.MEMORY_SHARE * free) // 2


def test_deterministic_kernels_are_asked_of_gpus_alone():
    def options(platform, deterministic):
        return population.compiler_options(platform, short_products=False, deterministic=deterministic)

    assert options("cpu", True) == options("cpu", False) == population.EXACT_ON_CPU
    assert options("gpu", True) == {"xla_gpu_deterministic_ops": True}
    assert options("gpu", False) == options("tpu", True) == {}


class OutOfMemory:
    """Programs of more slots than fit: their turns, from one on, end as XLA's do when a device is full."""

    def __init__(self, monkeypatch, fits, turn=0):
        self.fits, self.turn, self.real = fits, turn, programs.compiled
        monkeypatch.setattr(programs, "compiled", self)

    def __call__(self, *arguments, **settings):
        program, turns = self.real(*arguments, **settings), itertools.count()

        def advance(*arguments):
            if program.capacity > self.fits and next(turns) >= self.turn:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
            return program.advance(*arguments)

        return replace(program, advance=advance)


@pytest.mark.slow
def test_where_memory_runs_out_at_the_start_half_the_slots_go_on(tmp_path, monkeypatch):
    swept = sweep.parse(TINY, ("axes.seed.count=8",))
    plain = jaxloop.run(swept, out=tmp_path / "plain")
    OutOfMemory(monkeypatch, fits=8)
    halved = jaxloop.run(swept, out=tmp_path / "halved")
    assert (plain.summary.capacity, halved.summary.capacity) == (32, 8)
    assert halved.summary.notes == [
        "32 slots did not fit in the devices' memory: going on with 16",
        "16 slots did not fit in the devices' memory: going on with 8",
    ]
    for metric in plain.store.metric_names():
        np.testing.assert_array_equal(plain.curves(metric), halved.curves(metric))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "turn", "capacity"),
    [("population.capacity=24", 0, None), ("run.steps=60", 1, None), ("population.group_size=4", 0, 8)],
    ids=["a chosen capacity is kept", "in a later turn", "a chosen width is kept"],
)
def test_what_is_halved(setting, turn, capacity, tmp_path, monkeypatch):
    swept = sweep.parse(TINY, ("axes.seed.count=8", setting))
    OutOfMemory(monkeypatch, fits=16, turn=turn)
    if capacity is None:
        with pytest.raises(
            ResourceError, match=r"out of memory: RESOURCE_EXHAUSTED.*\n.*--set population\.capacity=N"
        ):
            jaxloop.run(swept, out=tmp_path / "run")
    else:
        summary = jaxloop.run(swept, out=tmp_path / "run").summary
        assert (summary.capacity, summary.group_size) == (capacity, 4)
