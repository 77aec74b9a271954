"""Readers: they know a run's store, and whether somebody trains it."""

import math
import time
from dataclasses import asdict
from typing import Any

import numpy as np

from jaxloop.formatting import ranges
from jaxloop.storage import lock
from jaxloop.storage.records import Member, Status
from jaxloop.storage.store import Store
from jaxloop.sweep.catalog import REPLICATES


def ranked(
    store: Store, metric: str | None = None, mode: str | None = None, *, so_far: bool = False
) -> list[dict[str, Any]]:
    """Configs, best first, by a metric's mean over their seeds and folds, with its standard error.

    A config is `complete` if all its members finished with a finite value: the mean of those that survive would
    flatter it, so incomplete ones come after all complete ones. Those without a finite value come last, their mean
    is None.

    Args:
      metric: instead of the run's own.
      mode: "max" or "min", whether more or less is better; instead of the run's own.
      so_far: take members that still run, or were stopped or paused, as they are now.
    """
    metric, mode = str(metric or store.metric), mode or store.mode
    counted = {Status.FINISHED, Status.RUNNING, Status.PAUSED, Status.STOPPED} if so_far else {Status.FINISHED}
    configs: dict[str, list[Member]] = {}
    for member in store.members():
        configs.setdefault(member.config, []).append(member)
    rows = [_row(config, members, metric, counted) for config, members in configs.items()]
    rows = [row for row in rows if row["finished"] or row["not_finite"]]
    sign = -1 if mode == "max" else 1

    def order(row: dict[str, Any]) -> tuple:
        unranked = row["mean"] is None
        return unranked, not row["complete"], 0.0 if unranked else sign * row["mean"], row["members"][0]

    return sorted(rows, key=order)


def _row(config: str, members: list[Member], metric: str, counted: set[Status]) -> dict[str, Any]:
    """Return one config: means over those of its members whose value of the metric is finite."""
    done = [member for member in members if member.status in counted and member.metrics]
    finite, not_finite = [], []
    for member in done:
        is_finite = math.isfinite(member.metrics.get(metric, math.nan))
        (finite if is_finite else not_finite).append(member)
    values = [member.metrics[metric] for member in finite]
    names = sorted({name for member in finite for name in member.metrics})
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    means = {name: _mean([m.metrics[name] for m in finite if name in m.metrics]) for name in names}
    return {
        "config": config,
        "hparams": {name: value for name, value in members[0].hparams.items() if name not in REPLICATES},
        "members": [member.number for member in members],
        "finished": len(finite),
        "not_finite": [member.number for member in not_finite],
        "complete": len(finite) == len(members),
        "mean": means.get(metric),
        "standard_error": error,
        "metrics": means,
    }


def _mean(values: list[float]) -> float:
    """Return a mean; where a value is not finite, no number: infinities may cancel."""
    return float(np.mean(values)) if np.isfinite(values).all() else math.nan


def with_finite_mean(ranked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those of the ranked configs that have a finite mean."""
    return [row for row in ranked if row["mean"] is not None]


def not_finite(ranked: list[dict[str, Any]], metric: str) -> list[str]:
    """Name the members that finished without a finite value of the metric, if there are any."""
    numbers = sorted(number for row in ranked for number in row["not_finite"])
    told = f"finished without a finite {metric}: their values are not ranked"
    return [f"{'members' if len(numbers) > 1 else 'member'} {ranges(numbers)} {told}"] if numbers else []


def status(store: Store) -> str:
    """Return a run's status: created, running, interrupted or finished.

    A run marked running whose process is gone was interrupted; for one that another host began to train, this
    cannot be determined.
    """
    run = store.path.parent
    if (found := store.status) != "running" or lock.is_held(run):
        return found
    if host := lock.other_host(run):
        return f"running on {host} as of {_last_written(store)} (cannot be told from here)"
    return "interrupted" if store.status == "running" else store.status  # it may have just ended


def _last_written(store: Store) -> str:
    """When the store was last written to, in local time."""
    files = (store.path, store.path.with_name(f"{store.path.name}-wal"))
    latest = max(file.stat().st_mtime for file in files if file.exists())
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(latest))


def member_json(member: Member) -> dict[str, Any]:
    return {**asdict(member), "status": str(member.status)}


def run_json(store: Store) -> dict[str, Any]:
    """Return a run as plain data."""
    counts = store.counts()
    return {
        "run": str(store.path.parent),
        "name": store.name,
        "status": status(store),
        "members": sum(counts.values()),
        **counts,
        "metric": store.metric,
        "notes": store.notes,
        "drift": store.drift,
    }
