"""Measure the fastest group size on the real step of long runs, and remember it.

On CPU a member's bits are the same in groups of any size from 2 on: a choice by the clock changes no result.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from jaxloop.core import devices
from jaxloop.core.assembly import one_member
from jaxloop.core.bucket import Bucket
from jaxloop.core.chunk import chunked
from jaxloop.core.costs import step_cost
from jaxloop.core.executable import options_of
from jaxloop.core.population import MEMBER, grouped, jitted, kept_apart, populated, spread
from jaxloop.core.program import shared
from jaxloop.core.shapes import resident
from jaxloop.core.task import Task
from jaxloop.sweep.sweep import Sweep, digest
from jaxloop.training import machine_cache

FILE = "widths.json"
WORTH_SECONDS = 120.0  # of training; shorter runs do not repay compiling a few group sizes
FLOPS_PER_SECOND = 50e9  # of a device, for that estimate alone
CALL_FLOPS = 2e9  # of one timed call
ROUNDS = 12


class Step:
    """The training step of `group_size * groups` members on each device, ready to be timed.

    Args:
      length: steps a call.
    """

    def __init__(
        self, sweep: Sweep, task: Task, bucket: Bucket, mesh: Mesh, group_size: int, length: int, groups: int = 1
    ) -> None:
        one, shapes = one_member(sweep, task, bucket)
        state, program = jax.eval_shape(one.init, shapes), chunked(one, length)
        program = kept_apart(program, shapes, state, resident(task, bucket), cpu=devices.on_cpu(mesh))
        program = populated(program)

        def turn(hparams: Any, state: Any, fresh: jax.Array, data: Any) -> Any:
            return program.step(hparams, state, data)

        self.members, self.length = group_size * groups * mesh.size, length
        by_slot = NamedSharding(mesh, MEMBER)
        numbers = np.resize(bucket.numbers, self.members).tolist()
        rows = [bucket.columns(sweep.members[number]) for number in numbers]
        hparams = {name: np.array([row[name] for row in rows]) for name in bucket.traced}
        self.hparams, fresh = jax.device_put((hparams, np.zeros(self.members, bool)), by_slot)
        self.data = shared(task, bucket, mesh)
        self.state = jax.device_put(jax.jit(program.init)(self.hparams), by_slot)
        advance = jitted(spread(grouped(turn, group_size), mesh), options_of(sweep, task, bucket, mesh))
        started = time.perf_counter()
        executable = advance.lower(self.hparams, self.state, fresh, self.data).compile()
        self.compile_seconds = time.perf_counter() - started
        self.advance: Callable[..., Any] = lambda state: executable(self.hparams, state, fresh, self.data)
        self.rate()  # the first call is slower

    def rate(self) -> float:
        """Member-steps/s of one call."""
        started = time.perf_counter()
        self.state, _ = jax.block_until_ready(self.advance(self.state))
        return self.members * self.length / (time.perf_counter() - started)


def tuned(sweep: Sweep, task: Task, bucket: Bucket, mesh: Mesh, first: int, most: int) -> int:
    """Return the fastest group size from `devices.SMALLEST_GROUP` to `most`.

    Remembered from an earlier run, or measured: from `first` on, by factors of two, while it gets faster. Programs
    of several size classes, those of streamed data and those of accelerators keep `first`.
    """
    if not _is_tuned(bucket, mesh) or task.data.source is not None:
        return first
    if known := remembered(sweep, task, bucket, mesh, 0, most):
        return known
    a_step = step_cost(sweep, task, bucket).flops
    steps = sum(sweep.members[number]["steps"] for number in bucket.numbers)
    if a_step * steps / FLOPS_PER_SECOND / mesh.size < WORTH_SECONDS:
        return first
    found = fastest(
        lambda group_size: Step(sweep, task, bucket, mesh, group_size, call_length(a_step, group_size)),
        first,
        most,
    )
    machine_cache.keep(FILE, _key(sweep, task, bucket, mesh, most), found)
    return found


def remembered(sweep: Sweep, task: Task, bucket: Bucket, mesh: Mesh, first: int, most: int) -> int:
    """Return the group size that an earlier run found; else `first`. Nothing is measured."""
    if not _is_tuned(bucket, mesh):
        return first
    found = machine_cache.read(FILE).get(_key(sweep, task, bucket, mesh, most))
    return found if isinstance(found, int) and found >= devices.SMALLEST_GROUP else first


def _is_tuned(bucket: Bucket, mesh: Mesh) -> bool:
    return not bucket.classes and devices.on_cpu(mesh)


def call_length(step_flops: float, group_size: int) -> int:
    """Return the steps of a timed call from a member's FLOPs a step: as many member-steps at every group size."""
    return max(1, round(CALL_FLOPS / step_flops / group_size))


def fastest(step: Callable[[int], Step], first: int, most: int) -> int:
    """Find the group size of the fastest step: from `first` on, doubled or halved while that is faster."""
    group_sizes = [
        group_size for group_size in (first // 2, first, 2 * first) if devices.SMALLEST_GROUP <= group_size <= most
    ]
    found = rates({group_size: step(group_size) for group_size in group_sizes})
    best = max(found, key=lambda group_size: found[group_size])
    factor = 2.0 if best > first else 0.5
    while best != first and devices.SMALLEST_GROUP <= (further := int(best * factor)) <= most:
        found = rates({group_size: step(group_size) for group_size in (best, further)})
        if found[further] <= found[best]:
            break
        best = further
    return best


def rates(steps: dict[int, Step], rounds: int = ROUNDS) -> dict[int, float]:
    """Return the best member-steps/s of each over interleaved calls, so that noise hits all alike."""
    measured = [{group_size: step.rate() for group_size, step in steps.items()} for _ in range(rounds)]
    return {group_size: max(found[group_size] for found in measured) for group_size in steps}


def _key(sweep: Sweep, task: Task, bucket: Bucket, mesh: Mesh, most: int) -> str:
    """Return the key of a group size: its program, the machine, and the largest size searched."""
    shapes = {
        split: {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}
        for split, arrays in resident(task, bucket).items()
    }
    program = (sweep.document.run.task, bucket.static, sorted(bucket.traced), bucket.sizes, bucket.choices, shapes)
    return digest(json.loads(json.dumps((program, machine_cache.machine(mesh), most), default=str)))
