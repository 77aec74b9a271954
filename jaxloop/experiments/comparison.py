"""Two runs compared config by config, on the seeds that both have trained: what changed, and by how much."""

import math
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jaxloop.errors import NotFoundError, SweepError
from jaxloop.experiments.verdict import Criteria, Outcome, judge
from jaxloop.storage.ranking import direction_of, require_metric
from jaxloop.storage.records import Member, Status
from jaxloop.storage.store import Store
from jaxloop.sweep.catalog import REPLICATES
from jaxloop.sweep.suggest import nearest
from jaxloop.training import provenance

MACHINE = ("processor", "device_kind", "git_commit")  # of `run.json`, beside the store's fingerprints
ALPHA = 0.05  # chance that any of the intervals misses its effect

Key = tuple[tuple[str, str], ...]  # a config's values, by hparam
Replicate = tuple[Any, ...]  # a member's seed and fold


@dataclass(frozen=True)
class Difference:
    """A config in two runs.

    Attributes:
      hparams: the values that distinguish it.
      members: of the first run and of the second, in the order of their seeds.
      seeds: how many both have trained.
      first, second: means of the metric over those of these seeds that have a finite value.
      lost: how many of them have none, in either run: they diverged. They count as the worst value seen.
      effect: of the second over the first; more than 0 is better, whatever the mode.
      low, high: ends of its interval; NaN for a single seed.
      verdict: of the second on the first; None for a single seed.
    """

    hparams: dict[str, Any]
    members: tuple[list[int], list[int]]
    seeds: int
    first: float
    second: float
    lost: tuple[int, int]
    effect: float
    low: float
    high: float
    verdict: Outcome | None

    def said(self) -> str:
        """Return the verdict in words, with the members that diverged."""
        found = {None: "one seed", Outcome.DEAD: "equal to the bit"}.get(self.verdict, str(self.verdict))
        runs = zip(self.lost, ("first", "second"), strict=True)
        return "; ".join([found, *(f"{count} diverged in the {run}" for count, run in runs if count)])


@dataclass(frozen=True)
class Comparison:
    """Two runs compared.

    Attributes:
      runs: their folders.
      metric, mode: that they are compared by, and which of its values are better.
      differences: by config, the one with the best mean in either run first.
      only: how many configs only the first has, and only the second, of members that have finished or diverged.
      unfinished: how many members of either run have not, and are left out.
      caution: why effects may say little of the hparams, in a sentence; "" where nothing does.
      hparams: that have one value in each run, and another in the other.
      provenance: what else differs: code, data, versions, machine, by name.
      level: of each one-sided test, alpha shared by all of them.
    """

    runs: tuple[str, str]
    metric: str
    mode: str
    differences: list[Difference]
    only: tuple[int, int]
    unfinished: tuple[int, int]
    caution: str
    hparams: dict[str, tuple[Any, Any]]
    provenance: dict[str, tuple[Any, Any]]
    level: float

    def json(self) -> dict[str, Any]:
        return asdict(self)


def compare(first: Store, second: Store, metric: str | None = None, mode: str | None = None) -> Comparison:
    """Compare the configs that two runs share, paired by seed and fold.

    A config is recognized by the hparams that vary in either run; the others may differ, and are named. Each
    interval holds with all others at once (Bonferroni).

    Args:
      metric: by default the first run's own.
      mode: "max" or "min"; by default the first run's.

    Raises:
      NotFoundError: a run has no such metric; the message names those that both have.
      SweepError: several of a run's configs look alike to the other, or the mode cannot be inferred.
    """
    metric = str(metric or first.metric)
    both = sorted(set(first.metric_names()) & set(second.metric_names()))
    for store in (first, second):
        try:
            require_metric(store, metric)
        except NotFoundError as error:
            rule = str(error).partition(";")[0]  # without what is like it in this run alone
            near = nearest(metric, both) or f"; both runs have {', '.join(both) or 'none in common'}"
            raise NotFoundError(f"{rule}{near}") from None
    mode = direction_of(first, metric, mode)
    names = [name for name in dict.fromkeys([*first.varied, *second.varied]) if name not in REPLICATES]
    ours, theirs = (_by_config(store, names) for store in (first, second))
    shared = [key for key in ours if key in theirs]
    pairs = {key: sorted(ours[key].keys() & theirs[key].keys(), key=str) for key in shared}
    tests = sum(len(pairs[key]) > 1 for key in shared)
    criteria, level = Criteria(mode), ALPHA / 2 / max(1, tests)
    found = [
        _difference(
            [[side[key][one] for one in pairs[key]] for side in (ours, theirs)], names, metric, criteria, level
        )
        for key in shared
        if pairs[key]
    ]
    return Comparison(
        runs=(str(first.path.parent), str(second.path.parent)),
        metric=metric,
        mode=mode,
        differences=sorted(found, key=lambda each: _rank(each, criteria.sign), reverse=True),
        only=(len(ours) - len(shared), len(theirs) - len(shared)),
        unfinished=(_unfinished(first), _unfinished(second)),
        caution=_caution(first.task(), second.task()),
        hparams=_constants(ours, theirs, names),
        provenance=_provenance(first, second),
        level=level,
    )


def _rank(each: Difference, sign: float) -> float:
    return max((sign * mean for mean in (each.first, each.second) if math.isfinite(mean)), default=-math.inf)


def _by_config(store: Store, names: Sequence[str]) -> dict[Key, dict[Replicate, Member]]:
    """Return a run's members that have finished or diverged, by the hparams that vary, and by seed and fold."""
    found: dict[Key, dict[Replicate, Member]] = defaultdict(dict)
    for member in store.members():
        if member.status not in (Status.FINISHED, Status.DIVERGED):  # what was stopped has no result
            continue
        key = tuple((name, repr(member.hparams[name])) for name in names if name in member.hparams)
        replicate = tuple(member.hparams.get(name) for name in REPLICATES)
        if replicate in found[key]:
            told = ", ".join(f"{name}={value}" for name, value in key) or "the same values"
            raise SweepError(
                f"{store.path.parent}: members {found[key][replicate].number} and {member.number} both "
                f"have {told} and the same seed, and cannot be told apart"
            )
        found[key][replicate] = member
    return dict(found)


def _unfinished(store: Store) -> int:
    return sum(member.status not in (Status.FINISHED, Status.DIVERGED) for member in store.members())


def _difference(
    sides: list[list[Member]], names: Sequence[str], metric: str, criteria: Criteria, level: float
) -> Difference:
    """Judge the second run's members of a config against the first's.

    Args:
      sides: the members of either run, in the order of the seeds that both have.
      names: of the hparams that vary.
    """
    ours, theirs = ([member.result(metric) for member in side] for side in sides)
    means = [_mean_of_finite(values) for values in (ours, theirs)]
    hparams = {name: sides[0][0].hparams[name] for name in names if name in sides[0][0].hparams}
    numbers = [[member.number for member in side] for side in sides]
    if len(ours) < 2:
        effect, low, high, outcome = criteria.sign * (means[1] - means[0]), math.nan, math.nan, None
    else:
        verdict = judge(theirs, ours, criteria, level=level, is_last=True)
        effect, low, high, outcome = verdict.effect, verdict.low, verdict.high, verdict.outcome
    lost = [sum(not math.isfinite(value) for value in values) for values in (ours, theirs)]
    return Difference(
        hparams=hparams,
        members=(numbers[0], numbers[1]),
        seeds=len(ours),
        first=means[0],
        second=means[1],
        lost=(lost[0], lost[1]),
        effect=effect,
        low=low,
        high=high,
        verdict=outcome,
    )


def _mean_of_finite(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _caution(first: str, second: str) -> str:
    """Warn if two runs train different tasks; two of a user's may be versions of one."""
    if first == second or (":" in first and ":" in second):
        return ""
    return f"the runs train different tasks, {first} and {second}: effects include the difference between these"


def _provenance(first: Store, second: Store) -> dict[str, tuple[Any, Any]]:
    """Return the task, the options of its data, fingerprints, versions and machines in which two runs differ."""
    sides, are_alike = [], not _caution(first.task(), second.task())
    for store in (first, second):
        told = provenance.read(store.path.parent)
        data = tomllib.loads(store.sweep).get("data", {}) if are_alike else {}
        options = {"task": store.task(), **{f"data.{name}": value for name, value in data.items()}}
        sides.append({**options, **store.origins[-1], **{name: told.get(name) for name in MACHINE}})
    return {
        name: (sides[0].get(name), sides[1].get(name))
        for name in dict.fromkeys([*sides[0], *sides[1]])
        if sides[0].get(name) != sides[1].get(name)
    }


def _constants(
    ours: Mapping[Key, Mapping[Replicate, Member]],
    theirs: Mapping[Key, Mapping[Replicate, Member]],
    names: Sequence[str],
) -> dict[str, tuple[Any, Any]]:
    """Return the hparams that do not vary, where the two runs have other values of them."""
    sides = [next((one for each in side.values() for one in each.values()), None) for side in (ours, theirs)]
    if sides[0] is None or sides[1] is None:
        return {}
    first, second = (member.hparams for member in sides if member)
    left_out = {*names, *REPLICATES}
    return {
        name: (first.get(name), second.get(name))
        for name in dict.fromkeys([*first, *second])
        if name not in left_out and first.get(name) != second.get(name)
    }
