"""The trainings that a loop's protocol asks for, as members of its run: which join, which stop, what each gave."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jaxloop.core.bucket import shared_by_program
from jaxloop.experiments import space
from jaxloop.experiments.requests import Train, Trained
from jaxloop.experiments.space import Config
from jaxloop.storage.records import ENDED, Status
from jaxloop.storage.store import Store
from jaxloop.sweep import identity
from jaxloop.sweep.sweep import Sweep
from jaxloop.training.scheduler import Decisions, Join, Measured
from jaxloop.training.schedulers.halving import halving
from jaxloop.training.schedulers.rungs import Contest, RungScheduler, rungs

HALF = 2  # reduction of screening: the better half survives


class Trainings:
    """The members of a loop, and the request that some of them train for.

    Args:
      store: of the run, at its last checkpoint; what its members have measured counts.

    Attributes:
      decisions: of this turn.
    """

    def __init__(self, sweep: Sweep, store: Store) -> None:
        self.sweep, self.store, self.metric = sweep, store, store.metric
        self.metrics: dict[int, Mapping[str, float]] = {}  # last measured; none of a member that diverged
        self.steps: dict[int, int] = {}
        self.ended: set[int] = set()
        self.diverged: set[int] = set()
        for member in store.members():
            self.steps[member.number] = member.step
            self.metrics[member.number] = {} if member.status == Status.DIVERGED else member.metrics
            if member.status in ENDED:
                self.ended.add(member.number)
            if member.status == Status.DIVERGED:
                self.diverged.add(member.number)
        self.numbers: dict[tuple, int] = {}
        self.requested: list[list[int]] = []  # members of a request, by config and seed
        self.rungs: RungScheduler | None = None  # of those, if the request has any
        self.decisions = Decisions()

    def observe(self, measured: Measured) -> None:
        """Take in what a turn measured."""
        for at, number in enumerate(measured.members.tolist()):
            metrics = {name: float(column[at]) for name, column in measured.metrics.items()}
            self.metrics[number] = {} if measured.diverged[at] else metrics
            self.steps[number] = int(measured.steps[at])
        self.ended.update(measured.members[~measured.is_active].tolist())
        self.diverged.update(measured.members[measured.diverged].tolist())
        for number in range(len(self.numbers), len(measured.hparams)):
            self.numbers.setdefault(space.key(measured.hparams[number]), number)
        self.decisions = Decisions(resume=measured.paused)

    def begin(self, request: Train) -> list[list[int]]:
        """Return the numbers of a request's members, by config and seed; those that are new join the run."""
        wanted = [[self.hparams(config, seed) for seed in request.seeds] for config in request.configs]
        first = len(self.numbers)
        new = {space.key(each): each for row in wanted for each in row if space.key(each) not in self.numbers}
        known = self.numbers | {key: first + at for at, key in enumerate(new)}
        self.requested = [[known[space.key(each)] for each in row] for row in wanted]
        self.decisions = replace(self.decisions, join=[Join(None, each) for each in new.values()])
        self.rungs = self._rungs(request, wanted) if request.rungs else None
        return self.requested

    def answer(self, request: Train, measured: Measured) -> Trained | None:
        """Return what the request's members gave; None while any of them trains."""
        losers: set[int] = set()
        if self.rungs:
            decided = self.rungs.decide(measured)
            losers = self.rungs.losers
            self.ended |= decided.stop
            self.decisions = replace(decided, join=self.decisions.join)
        if not self.ended.issuperset(itertools.chain(*self.requested)):
            return None
        metric = self.metric.replace("validation/", f"{request.split}/")
        return Trained(
            np.array([[self._value(number, metric) for number in row] for row in self.requested]),
            np.array([[self.steps[number] for number in row] for row in self.requested]),
            [max(self.steps[number] for number in row) if losers & {*row} else None for row in self.requested],
        )

    def _rungs(self, request: Train, wanted: Sequence[Sequence[Mapping[str, Any]]]) -> RungScheduler:
        """Return the scheduler of a request: the configs of each program compete, since programs take turns."""
        programs: dict[tuple, dict[str, list[int]]] = {}
        budgets: dict[int, int] = {}
        for row, numbers in zip(wanted, self.requested, strict=True):
            configs = programs.setdefault(shared_by_program(self.sweep, row[0]), {})
            configs[identity.config(dict(row[0]))] = numbers
            budgets |= {number: row[0]["steps"] for number in numbers}
        every = self.sweep.document.run.evaluate_every
        contests = []
        for configs in programs.values():
            of_program = {number: budgets[number] for number in itertools.chain(*configs.values())}
            at = rungs(of_program, request.rungs, every)
            contests.append(Contest(configs, at, reduction=HALF, min_promoted=request.min_promoted))
        # none of them has begun, but in a run that is resumed: the store knows of what they have measured there
        return RungScheduler(contests, self.store, halving)

    def first_divergence(self, config: Config, seeds: Sequence[int]) -> dict[str, int]:
        """Return the member of a config that diverged first, and its finite steps; empty if none has diverged."""
        members = [self.numbers[space.key(self.hparams(config, seed))] for seed in seeds]
        diverged = self.diverged.intersection(members)
        if not diverged:
            return {}
        step, number = min((self.steps[number], number) for number in diverged)
        return {"member": number, "step": step}

    def hparams(self, config: Config, seed: int) -> dict[str, Any]:
        """Return all hparams of a config's member."""
        return self.sweep.completed({**self.sweep.document.hparams, **config, "seed": seed})

    def _value(self, number: int, metric: str) -> float:
        value = self.metrics[number].get(metric)
        return value if value is not None and math.isfinite(value) else math.nan
