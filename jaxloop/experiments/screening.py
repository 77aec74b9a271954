"""Screening: all proposals start training; at each rung, and after each stage, the worse half is dropped."""

import itertools
import math
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxloop.experiments.proposers.base import Proposal
from jaxloop.experiments.requests import LoopPlan, Request, Train
from jaxloop.experiments.trainings import HALF
from jaxloop.training.schedulers.rungs import promoted_count


class Screened(NamedTuple):
    """What screening saw of a proposal.

    Attributes:
      mean: of the metric over its seeds, more being better; where a rung stopped it, as last measured.
      seeds: how many it has started on.
      steps: taken on all of them together.
      stopped_at: how far it came if it lost at a rung; else None.
    """

    mean: float
    seeds: int
    steps: int
    stopped_at: int | None

    def rank(self) -> tuple[bool, int, float]:
        """Return the sort key: proposals that no rung stopped first, then by seeds, then by mean."""
        return self.stopped_at is None, self.seeds, self.mean

    def json(self, sign: float) -> dict[str, Any]:
        """Return what the ledger says of it; `sign` is -1 where less of the metric is better."""
        fields = {"screening_mean": sign * self.mean, "screening_seeds": self.seeds, "screening_steps": self.steps}
        return fields if self.stopped_at is None else {**fields, "stopped_at": self.stopped_at}


def screened(plan: LoopPlan, number: int, proposed: Sequence[Proposal]) -> Generator[Request, Any, list[Screened]]:
    """Train all proposals, with rungs in the first stage, then the better half of the survivors on more seeds."""
    values: list[list[float]] = [[] for _ in proposed]
    found = [Screened(0.0, 0, 0, None) for _ in proposed]
    left, first = list(range(len(proposed))), 0
    min_promoted = min(plan.promote, len(proposed))
    for stage, seeds in enumerate(plan.screen_seeds):
        if stage:
            left = sorted(
                sorted(left, key=lambda at: -found[at].mean)[: promoted_count(len(left), HALF, min_promoted)]
            )
        configs = [proposed[at].config for at in left]
        rungs = () if stage else plan.rungs
        trained = yield Train(
            "screen", number, configs, list(range(first, first + seeds)), rungs=rungs, min_promoted=min_promoted
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


class RoundSize(NamedTuple):
    """What a round trains at most.

    Attributes:
      trainings: that start.
      full: their steps, counted in trainings of full length.
    """

    trainings: int
    full: float


def most_trainings(plan: LoopPlan) -> tuple[RoundSize, int]:
    """Return what a round trains at most, and how many trainings the floor and the audit take.

    Rungs count in full, as where one program trains all configs.
    """
    min_promoted = min(plan.promote, plan.configs)
    confirmed = (plan.promote + 1) * plan.spending.looks[-1]
    left, trainings, full = plan.configs, confirmed, float(confirmed)
    for stage, seeds in enumerate(plan.screen_seeds):
        left = promoted_count(left, HALF, min_promoted) if stage else left
        trainings += left * seeds
        rungs = () if stage else plan.rungs
        for begin, end in itertools.pairwise((0.0, *rungs, 1.0)):
            left = promoted_count(left, HALF, min_promoted) if begin else left
            full += left * seeds * (end - begin)
    return RoundSize(trainings, full), plan.floor_seeds + (2 * plan.audit_seeds if plan.rounds else 0)
