"""What it costs to keep members apart: steps and evaluations with and without `independence.unmerged`.

Both programs are compiled and timed in turn in one process, so that what disturbs one disturbs the other.
"""

import statistics
import time
from typing import Any

import jax
import measure
import numpy as np
import throughput
from workload import WORKLOADS

from jaxloop.core import devices, size_classes
from jaxloop.core.assembly import one_member
from jaxloop.core.chunk import chunked
from jaxloop.core.executable import options_of
from jaxloop.core.population import MEMBER, grouped, jitted, kept_apart, populated, spread
from jaxloop.core.shapes import resident
from jaxloop.core.task import Hparams
from jaxloop.training import group_tuner, host

MEMBERS, FEW, ROUNDS = 64, 8, 15


class Evaluation(group_tuner.Step):
    """The evaluation of the same members on the validation split, timed as a step is."""

    def __init__(self, sweep: Any, task: Any, bucket: Any, mesh: Any, width: Any, members: Any) -> None:
        super().__init__(sweep, task, bucket, mesh, width, 1, members // (width * mesh.size))
        one, shapes = one_member(sweep, task, bucket)
        program = chunked(one, 1)
        if group_tuner.kept_apart is kept_apart:
            state = jax.eval_shape(one.init, shapes)
            program = kept_apart(program, shapes, state, resident(task, bucket), cpu=devices.on_cpu(mesh))
        validate = populated(program).validate

        def turn(hparams: Hparams, state: Any, fresh: jax.Array, data: Any) -> Any:
            return state, validate(hparams, state, data)

        by_slot = jax.sharding.NamedSharding(mesh, MEMBER)
        fresh = jax.device_put(np.zeros(self.members, bool), by_slot)
        advance = jitted(spread(grouped(turn, width), mesh), options_of(sweep, task, bucket, mesh))
        executable = advance.lower(self.hparams, self.state, fresh, self.data).compile()
        self.advance = lambda state: executable(self.hparams, state, fresh, self.data)
        self.rate()


def merged(make: Any) -> Any:
    """What `make` gives where vmap may merge members, as it does by itself."""
    group_tuner.kept_apart = lambda program, *shapes, cpu: program
    try:
        return make()
    finally:
        group_tuner.kept_apart = kept_apart


def compared(name: str, members: int, rounds: int) -> dict:
    """Times of a step and of an evaluation, apart / merged: the median over rounds of their ratio."""
    workload, mesh = WORKLOADS[name], devices.member_mesh()
    sweep, task = workload.read(members)
    (bucket,) = size_classes.buckets(sweep, task)
    width = throughput.automatic_width(
        workload, devices.largest_group(members, mesh.size, cpu=devices.on_cpu(mesh))
    )
    row = {"workload": name, "width": width}
    for what, make in (
        ("step", lambda: throughput.step(workload, members, width)),
        ("evaluation", lambda: Evaluation(sweep, task, bucket, mesh, width, members)),
    ):
        apart, together = make(), merged(make)
        ratios = []
        for _ in range(rounds):
            first, second = apart.rate(), together.rate()
            ratios.append(second / first)
        row[what] = statistics.median(ratios)
    print(
        f"{name:9} width {width:2}  time apart / merged: step {row['step']:.3f}, "
        f"evaluation {row['evaluation']:.3f}",
        flush=True,
    )
    return row


def main() -> None:
    arguments = measure.parser(str(__doc__).splitlines()[0]).parse_args()
    host.use_every_core()
    if arguments.quick:
        throughput.hurry()
    began = time.monotonic()
    names, members, rounds = (["mlp-tiny"], FEW, 3) if arguments.quick else (list(WORKLOADS), MEMBERS, ROUNDS)
    rows = [compared(name, members, rounds) for name in names]
    if arguments.chart:
        series = {what: [row[what] for row in rows] for what in ("step", "evaluation")}
        measure.bars(arguments.chart, names, series, "time apart / merged", "linear")
    measure.publish({"rows": rows, "seconds": time.monotonic() - began}, arguments.json)


if __name__ == "__main__":
    main()
