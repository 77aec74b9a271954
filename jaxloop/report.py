"""Readers: they know a run's store, and whether somebody trains it."""

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from jaxloop import lock
from jaxloop.declared import REPLICATES
from jaxloop.records import Member, Status
from jaxloop.store import Store


def ranked(
    store: Store, metric: str | None = None, mode: str | None = None, *, so_far: bool = False
) -> list[dict[str, Any]]:
    """Configs, best first, by a metric's mean over their seeds and folds, with its standard error.

    A config is `complete` if all its members finished: the mean of those that survive would flatter it, so
    that incomplete ones come last.

    Args:
      metric: instead of the run's own.
      mode: "max" or "min", whether more or less is better; instead of the run's own.
      so_far: take members that still run as they are now.
    """
    metric, mode = str(metric or store.get("metric")), mode or store.get("mode")
    counted = {Status.FINISHED, Status.RUNNING} if so_far else {Status.FINISHED}
    configs: dict[str, list[Member]] = {}
    for member in store.members():
        configs.setdefault(member.config, []).append(member)
    rows = []
    for config, members in configs.items():
        done = [m for m in members if m.status in counted and metric in m.metrics]
        names = sorted({name for m in done for name in m.metrics})
        means = {name: float(np.mean([m.metrics[name] for m in done if name in m.metrics])) for name in names}
        values = [m.metrics[metric] for m in done]
        error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
        rows.append(
            {
                "config": config,
                "hparams": {k: v for k, v in members[0].hparams.items() if k not in REPLICATES},
                "members": [m.number for m in members],
                "finished": len(done),
                "complete": len(done) == len(members),
                "mean": means.get(metric),
                "standard_error": error,
                "metrics": means,
            }
        )
    sign = -1 if mode == "max" else 1
    rows = [row for row in rows if row["mean"] is not None]
    rows.sort(key=lambda row: (not row["complete"], sign * row["mean"], row["members"][0]))
    return rows


def status(store: Store) -> str:
    """created, running, interrupted or finished; a run that nobody trains any more was interrupted."""
    if (found := store.get("status")) != "running" or lock.is_held(store.path.parent):
        return found
    return "interrupted" if store.get("status") == "running" else store.get("status")  # it may have just ended


def member_json(member: Member) -> dict[str, Any]:
    return {**asdict(member), "status": str(member.status)}


def run_json(store: Store) -> dict[str, Any]:
    """A run as plain data."""
    counts = store.counts()
    return {
        "run": str(store.path.parent),
        "name": store.get("name"),
        "status": status(store),
        "members": sum(counts.values()),
        **counts,
        "metric": store.get("metric"),
        "notes": store.get("notes", []),
        "drift": store.get("drift", []),
    }
