"""Configs ranked by what their members measured: the mean over seeds and folds, and its standard error."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxloop.errors import SweepError
from jaxloop.formatting import ranges
from jaxloop.storage.records import Member, Status
from jaxloop.storage.store import Store
from jaxloop.sweep.catalog import REPLICATES, direction, undirected

LONG = 20  # characters of members' numbers: of more, the first and their count


@dataclass(frozen=True)
class RankedConfig:
    """A config and what its members measured.

    Attributes:
      config: the hash that its members share.
      hparams: by name, without seed and fold.
      members: their numbers.
      finished: how many of them have a finite value of the metric.
      not_finite: the numbers of those that have ended without one.
      complete: whether all members have a finite value.
      mean: of the finite values; None if there is none.
      standard_error: of that mean; None for fewer than two values.
      metrics: the mean of each metric over the same members, by "split/name".
    """

    config: str
    hparams: dict[str, Any]
    members: list[int]
    finished: int
    not_finite: list[int]
    complete: bool
    mean: float | None
    standard_error: float | None
    metrics: dict[str, float]

    def members_in_words(self) -> str:
        """Return the members' numbers, or the first and their count; and how many of them have a finite value."""
        listed, count = ranges(self.members), len(self.members)
        if len(listed) > LONG:
            listed = f"{self.members[0]} and {count - 1} others"
        return listed if self.complete else f"{listed}, {self.finished} of {count} finite"


def ranked(
    store: Store,
    metric: str | None = None,
    mode: str | None = None,
    *,
    so_far: bool = False,
    every: bool = False,
) -> list[RankedConfig]:
    """Return configs, best first, by a metric's mean over their seeds and folds.

    A config is `complete` if all its members finished with a finite value: the mean of those that survive would
    flatter it, so incomplete ones come after all complete ones. Those without a finite value come last, their mean
    is None.

    Args:
      metric: instead of the run's own.
      mode: "max" or "min", whether more or less is better; instead of the run's own.
      so_far: take members that still run, or were stopped or paused, as they are now.
      every: include configs of which no member counts: those that wait, and those that have diverged.
    """
    metric, mode = str(metric or store.metric), mode or store.mode
    counted = {Status.FINISHED, Status.RUNNING, Status.PAUSED, Status.STOPPED} if so_far else {Status.FINISHED}
    configs: dict[str, list[Member]] = {}
    for member in store.members():
        configs.setdefault(member.config, []).append(member)
    measured = [_measured(config, members, metric, counted) for config, members in configs.items()]
    sign = -1 if mode == "max" else 1

    def order(config: RankedConfig) -> tuple:
        mean = math.inf if config.mean is None else sign * config.mean
        return config.mean is None, not config.complete, mean, config.members[0]

    return sorted((config for config in measured if every or config.finished or config.not_finite), key=order)


def require_metric(store: Store, metric: str) -> None:
    """Make sure that a run measures a metric; its own may not be measured yet.

    Raises:
      NotFoundError: it does not.
    """
    if metric != store.metric:
        store.require_metric(metric)


def direction_of(store: Store, metric: str, mode: str | None = None) -> str:
    """Return "max" or "min": as asked, or as the run ranks the same on another split, or as the name tells.

    Raises:
      SweepError: none of these tells.
    """
    is_alike = metric.partition("/")[2] == store.metric.partition("/")[2]
    found = mode or (store.mode if is_alike else direction(metric))
    if found is None:
        raise SweepError(undirected(metric, "--mode"))
    return found


def metrics_in_order(store: Store) -> list[str]:
    """Return a run's metrics by name: the one that members are ranked by, then the same on other splits."""
    first, kind = store.metric, store.metric.partition("/")[2]
    return sorted(store.metric_names(), key=lambda name: (name != first, name.partition("/")[2] != kind, name))


def _measured(config: str, members: list[Member], metric: str, counted: set[Status]) -> RankedConfig:
    """Return means over those of a config's members whose value of the metric is finite."""
    done = [member for member in members if member.status in counted and member.metrics]
    finite, not_finite = [], []
    for member in done:
        is_finite = math.isfinite(member.metrics.get(metric, math.nan))
        (finite if is_finite else not_finite).append(member)
    values = [member.metrics[metric] for member in finite]
    names = sorted({name for member in finite for name in member.metrics})
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    means = {name: _mean([m.metrics[name] for m in finite if name in m.metrics]) for name in names}
    return RankedConfig(
        config=config,
        hparams={name: value for name, value in members[0].hparams.items() if name not in REPLICATES},
        members=[member.number for member in members],
        finished=len(finite),
        not_finite=[member.number for member in not_finite],
        complete=len(finite) == len(members),
        mean=means.get(metric),
        standard_error=error,
        metrics=means,
    )


def _mean(values: list[float]) -> float:
    """Return a mean; where a value is not finite, no number: infinities may cancel."""
    return float(np.mean(values)) if np.isfinite(values).all() else math.nan


def with_finite_mean(ranked: Sequence[RankedConfig]) -> list[RankedConfig]:
    """Return those of the ranked configs that have a finite mean."""
    return [config for config in ranked if config.mean is not None]


def not_finite(ranked: Sequence[RankedConfig], metric: str) -> list[str]:
    """Name the members that finished without a finite value of the metric, if there are any."""
    numbers = sorted(number for config in ranked for number in config.not_finite)
    told = f"finished without a finite {metric}: their values are not ranked"
    return [f"{'members' if len(numbers) > 1 else 'member'} {ranges(numbers)} {told}"] if numbers else []
