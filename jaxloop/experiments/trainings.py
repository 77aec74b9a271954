"""The trainings that a loop's protocol asks for, as members of its run: which join, which stop, what each gave."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

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
        self.ended: dict[Status, set[int]] = {status: set() for status in ENDED}
        for member in store.members():
            self.steps[member.number] = member.step
            self.metrics[member.number] = {} if member.status == Status.DIVERGED else member.metrics
            if member.status in ENDED:
                self.ended[member.status].add(member.number)
        self.numbers: dict[tuple, int] = {}
        self.requested: list[list[int]] = []  # members of a request, by config and seed
        self.race: RungScheduler | None = None  # of those, if the request has rungs
        self.decisions = Decisions()

    def observe(self, measured: Measured) -> None:
        """Take in what a turn measured."""
        for at, number in enumerate(measured.members.tolist()):
            metrics = {name: float(column[at]) for name, column in measured.metrics.items()}
            self.metrics[number] = {} if measured.diverged[at] else metrics
            self.steps[number] = int(measured.steps[at])
            if not measured.goes_on[at]:
                self.ended[Status.DIVERGED if measured.diverged[at] else Status.FINISHED].add(number)
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
        self.race = None
        if request.rungs:
            budgets = {
                number: hparams["steps"]
                for numbers, row in zip(self.requested, wanted, strict=True)
                for number, hparams in zip(numbers, row, strict=True)
            }
            contest = Contest(
                {identity.config(row[0]): numbers for row, numbers in zip(wanted, self.requested, strict=True)},
                rungs(budgets, request.rungs, self.sweep.document.run.evaluate_every),
                eta=2,
                fewest=request.fewest,
            )
            self.race = RungScheduler([contest], self.store, halving)
        return self.requested

    def answer(self, request: Train, measured: Measured) -> Trained | None:
        """Return what the members of the request gave that has begun; None while they train."""
        if self.race:
            decided = self.race.decide(measured)
            self.ended[Status.STOPPED] |= decided.stop
            self.decisions = replace(decided, join=self.decisions.join)
        if not set().union(*self.ended.values()).issuperset(itertools.chain(*self.requested)):
            return None
        metric = self.metric.replace("validation/", f"{request.split}/")
        stopped = [self.ended[Status.STOPPED].intersection(row) for row in self.requested]
        return Trained(
            np.array([[self._value(number, metric) for number in row] for row in self.requested]),
            np.array([[self.steps[number] for number in row] for row in self.requested]),
            [max(self.steps[number] for number in row) if row else None for row in stopped],
        )

    def first_divergence(self, config: Config, seeds: Sequence[int]) -> dict[str, int]:
        """Return the member of a config that diverged first, and its finite steps; empty if none has diverged."""
        members = [self.numbers[space.key(self.hparams(config, seed))] for seed in seeds]
        diverged = [(self.steps[number], number) for number in self.ended[Status.DIVERGED].intersection(members)]
        return {"member": min(diverged)[1], "step": min(diverged)[0]} if diverged else {}

    def hparams(self, config: Config, seed: int) -> dict[str, Any]:
        """Return all hparams of a config's member."""
        return self.sweep.completed({**self.sweep.document.hparams, **config, "seed": seed})

    def _value(self, number: int, metric: str) -> float:
        value = self.metrics[number].get(metric)
        return value if value is not None and math.isfinite(value) else math.nan
