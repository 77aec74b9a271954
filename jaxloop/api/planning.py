"""Estimate what a sweep or a loop costs, without importing the training code."""

from dataclasses import replace
from pathlib import Path

from jaxloop.core.bucket import is_one_program
from jaxloop.tasks.of_sweep import read
from jaxloop.training import plan
from jaxloop.training.host import prepare


def planned(file: str | Path, overrides: tuple[str, ...] = (), *, compile: bool = False) -> plan.Plan:
    """Estimate the cost of a sweep or loop file; nothing is run or written.

    Args:
      file: a sweep file, with or without a [loop] section.
      overrides: such as "run.steps=100".
      compile: whether to compile the programs and measure memory and compilation time.

    Raises:
      SweepError: the file breaks a rule.
    """
    prepare()
    checked, task = read(file, overrides)
    found = None
    if loop := checked.document.loop:
        from jaxloop.experiments.driver import plan_of
        from jaxloop.experiments.screening import most_trainings

        loop_plan = plan_of(checked, "min")  # the direction makes no difference
        # of several programs each stops its own worse half, and none of one config
        counted = loop_plan if is_one_program(checked) else replace(loop_plan, rungs=())
        size, beside = most_trainings(counted)
        found = plan.PlannedLoop(
            rounds=None if loop.is_open() else loop.rounds,
            rungs=[
                round(share * checked.document.run.steps) for share in loop.rungs if size.full < size.trainings
            ],
            trainings_per_round=size.trainings,
            full_trainings_per_round=size.full,
            floor_and_audit_trainings=beside,
        )
    return plan.plan(checked, task, compile=compile, loop=found)
