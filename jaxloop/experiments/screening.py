"""Screening: all proposals begin, and the worse half stops at each rung and each stage, until few are left."""

import math
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxloop.experiments.proposers.base import Proposal
from jaxloop.experiments.requests import LoopPlan, Request, Train


class Screened(NamedTuple):
    """What screening saw of a proposal.

    Attributes:
      mean: of the metric over its seeds, more being better; of one that stopped, as it stood there.
      seeds: how many it has begun.
      steps: that it has taken on all of them together.
      stopped_at: the step at which it lost at a rung; None if it took all of its steps.
    """

    mean: float
    seeds: int
    steps: int
    stopped_at: int | None

    def rank(self) -> tuple[bool, int, float]:
        """Return what sorts proposals: who lost at no rung, then who was seen on most seeds, then the mean."""
        return self.stopped_at is None, self.seeds, self.mean

    def json(self, sign: float) -> dict[str, Any]:
        """Return what the ledger says of it; `sign` is -1 where less of the metric is better."""
        fields = {"screening_mean": sign * self.mean, "screening_seeds": self.seeds, "screening_steps": self.steps}
        return fields if self.stopped_at is None else {**fields, "stopped_at": self.stopped_at}


def screened(plan: LoopPlan, number: int, proposed: Sequence[Proposal]) -> Generator[Request, Any, list[Screened]]:
    """Train all, with rungs on the first seeds, then half of those that are left on more, and so on."""
    values: list[list[float]] = [[] for _ in proposed]
    found = [Screened(0.0, 0, 0, None) for _ in proposed]
    left, first = list(range(len(proposed))), 0
    fewest = min(plan.promote, len(proposed))
    for stage, seeds in enumerate(plan.screen_seeds):
        if stage:
            left = sorted(sorted(left, key=lambda at: -found[at].mean)[: halved(len(left), fewest)])
        configs = [proposed[at].config for at in left]
        rungs = () if stage else plan.rungs
        trained = yield Train(
            "screen", number, configs, list(range(first, first + seeds)), rungs=rungs, fewest=fewest
        )
        for at, row, steps, stopped_at in zip(
            left, trained.values, trained.steps, trained.stopped_at, strict=True
        ):
            values[at] += [plan.criteria.sign * value if math.isfinite(value) else -math.inf for value in row]
            taken = found[at].steps + int(steps.sum())
            found[at] = Screened(float(np.mean(values[at])), len(values[at]), taken, stopped_at)
        left = [at for at in left if found[at].stopped_at is None]
        first += seeds
    return found


def halved(count: int, fewest: int) -> int:
    """Return how many of some configs go on: half of them, and never fewer than are promoted."""
    return max(math.ceil(count / 2), fewest)


class RoundSize(NamedTuple):
    """What a round trains at most.

    Attributes:
      trainings: that begin.
      whole: how many whole trainings their steps are.
    """

    trainings: int
    whole: float


def most_trainings(plan: LoopPlan) -> tuple[RoundSize, int]:
    """Return what a round trains at most, and how many trainings the floor and the audit take."""
    fewest = min(plan.promote, plan.configs)
    confirmed = (plan.promote + 1) * plan.spending.looks[-1]
    left, trainings, whole = plan.configs, confirmed, float(confirmed)
    for stage, seeds in enumerate(plan.screen_seeds):
        left = halved(left, fewest) if stage else left
        trainings += left * seeds
        for begin, end in zip((0.0, *plan.rungs), (*plan.rungs, 1.0), strict=True) if not stage else [(0.0, 1.0)]:
            left = halved(left, fewest) if begin else left
            whole += left * seeds * (end - begin)
    return RoundSize(trainings, whole), plan.floor_seeds + (2 * plan.audit_seeds if plan.rounds else 0)
