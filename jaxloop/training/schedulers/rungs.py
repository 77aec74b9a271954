"""Rungs: steps at which configs are compared, and what their members measured there."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from jaxloop.storage.records import ENDED, Status
from jaxloop.storage.store import Store
from jaxloop.sweep import identity
from jaxloop.sweep.sweep import Sweep
from jaxloop.training.scheduler import Decisions, Measured
from jaxloop.training.schedulers.objective import WORST, objective

REDUCTION = 3  # of so many configs at a rung one is promoted; each rung has as many times the steps of the last


@dataclass
class Contest:
    """Configs that compete at their rungs.

    Attributes:
      configs: numbers of the members of each, by what `identity.config` calls it.
      rungs: of each, the steps at which it stands, by member.
      values: of the metric, more being better, by rung and member; `WORST` for members that ended before.
      promoted: rungs and configs that were promoted there.
      reduction: factor by which each rung cuts the number of configs.
      min_promoted: how many are promoted at least.
    """

    configs: dict[str, list[int]]
    rungs: list[Mapping[int, int]]
    values: dict[tuple[int, int], float] = field(default_factory=dict)
    promoted: set[tuple[int, str]] = field(default_factory=set)
    reduction: int = REDUCTION
    min_promoted: int = 1

    def has_reached(self, rung: int, config: str) -> bool:
        """Return whether all members of a config have measured a value at a rung."""
        return all((rung, number) in self.values for number in self.configs[config])

    def best(self, rung: int, configs: Sequence[str], count: int) -> list[str]:
        """Return the best configs at a rung, by the mean of their members."""
        means = {
            config: float(np.mean([self.values[rung, number] for number in self.configs[config]]))
            for config in configs
        }
        return sorted(configs, key=lambda config: -means[config])[:count]

    def mark_lost(self, number: int) -> None:
        """Give a member that has ended early the worst value at all rungs that it has not reached."""
        for rung in range(len(self.rungs)):
            self.values.setdefault((rung, number), WORST)


class Standing(NamedTuple):
    """What a contest has decided so far.

    waits_at: members that wait to be promoted, with the rung at which they do.
    losers: members that will never be promoted.
    """

    waits_at: dict[int, int]
    losers: set[int]


class RungScheduler:
    """Pauses members at each rung, so that their slots go to others, until they are promoted.

    Args:
      contests: disjoint sets of configs that compete.
      store: of the run; values that members have recorded at their rungs are read from it.
      standing: decides who is promoted.
    """

    def __init__(self, contests: Sequence[Contest], store: Store, standing: Callable[[Contest], Standing]) -> None:
        self.contests, self.objective, self.standing = contests, objective(store), standing
        self.ended: set[int] = set()
        self.losers: set[int] = set()
        self.contest_of = {
            number: contest
            for contest in self.contests
            for members in contest.configs.values()
            for number in members
        }
        for member in store.members():
            if member.number not in self.contest_of:
                continue
            contest, points = self.contest_of[member.number], store.points(member.number)
            for rung, steps in enumerate(contest.rungs):
                reached = steps[member.number]
                if member.status == Status.FINISHED:  # maybe before the rung, by its task's own criterion
                    reached = min(reached, member.step)
                if member.step >= reached:
                    value = points.get((self.objective.metric, reached), math.nan)  # the store has no NaN
                    contest.values[rung, member.number] = self.objective.value(value)
                    if member.status == Status.RUNNING or member.step > steps[member.number]:
                        contest.promoted.add((rung, identity.config(member.hparams)))
            if member.status in (Status.DIVERGED, Status.STOPPED):
                contest.mark_lost(member.number)
            if member.status in ENDED:
                self.ended.add(member.number)

    def decide(self, measured: Measured) -> Decisions:
        self._observe(measured)
        standings = [self.standing(contest) for contest in self.contests]
        waits_at = {number: rung for each in standings for number, rung in each.waits_at.items()}
        self.losers = {number for each in standings for number in each.losers}
        present = set(measured.members[measured.is_active].tolist()) | set(measured.paused)
        at_rung = {
            number
            for number, steps in zip(measured.members.tolist(), measured.steps.tolist(), strict=True)
            if number in waits_at and steps == self.contest_of[number].rungs[waits_at[number]][number]
        }
        stop = self.losers & present - self.ended
        self.ended |= stop
        paused = set(measured.paused)
        return Decisions(
            stop=stop,
            pause=(at_rung & present) - paused - stop,
            resume=sorted(paused - stop - waits_at.keys()),
        )

    def _observe(self, measured: Measured) -> None:
        for at, number in enumerate(measured.members.tolist()):
            if number not in self.contest_of:
                continue
            contest = self.contest_of[number]
            for rung, steps in enumerate(contest.rungs):
                # a member that diverges in its next step has its value; one that is done keeps its last
                is_done = not measured.is_active[at] and not measured.diverged[at]
                if measured.steps[at] == steps[number] or (is_done and measured.steps[at] < steps[number]):
                    contest.values.setdefault(
                        (rung, number), self.objective.value(float(measured.metrics[self.objective.metric][at]))
                    )
            if measured.diverged[at]:
                contest.mark_lost(number)
            if not measured.is_active[at]:
                self.ended.add(number)


def promoted_count(configs: int, reduction: int, min_promoted: int) -> int:
    """Return how many of so many configs at a rung are promoted."""
    return min(configs, max(math.ceil(configs / reduction), min_promoted))


def per_program(sweep: Sweep, store: Store, standing: Callable[[Contest], Standing]) -> RungScheduler:
    """Return the scheduler of a sweep: the configs of each program compete."""
    every, contests = sweep.document.run.evaluate_every, []
    for program in store.size_classes:
        configs: dict[str, list[int]] = {}
        for number in itertools.chain(*program):
            configs.setdefault(identity.config(sweep.members[number]), []).append(number)
        budgets = {number: sweep.members[number]["steps"] for number in itertools.chain(*program)}
        contests.append(Contest(configs, rungs(budgets, shares(len(configs)), every)))
    return RungScheduler(contests, store, standing)


def shares(configs: int) -> list[float]:
    """Return the rungs for so many configs, as shares of their budgets; one config reaches the end."""
    count = int(math.log(max(configs, 1), REDUCTION) + 1e-9)
    return [REDUCTION ** (rung - count) for rung in range(count)]


def rungs(budgets: Mapping[int, int], at: Sequence[float], every: int) -> list[Mapping[int, int]]:
    """Return the steps of each rung, by member: a share of its budget, at the nearest end of a chunk.

    Rungs that coincide are merged; one at or behind any member's last step is dropped.

    Args:
      budgets: steps of each member, by number.
      at: shares of a budget, ascending.
      every: steps of a chunk.
    """
    found: list[Mapping[int, int]] = []
    for share in at:
        steps = {number: max(every, round(budget * share / every) * every) for number, budget in budgets.items()}
        grows = not found or any(steps[number] > found[-1][number] for number in steps)
        if grows and all(steps[number] < budget for number, budget in budgets.items()):
            found.append(steps)
    return found
