"""What a page shows of a run, as plain data: the store's own numbers, in the order in which they are shown."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from jaxloop.formatting import in_order, shell_quoted, value
from jaxloop.storage.ranking import RankedConfig, metrics_in_order, not_finite, ranked
from jaxloop.storage.records import Member
from jaxloop.storage.staircase import staircase
from jaxloop.storage.state import state
from jaxloop.storage.store import Store
from jaxloop.sweep import sweep
from jaxloop.training import provenance

MOST_VALUES = 1_000_000  # of all curves of a run that a page holds: 4 bytes each, a third more as base64
FEW = 16  # values of an axis that are shown as they are, not on a scale
BINS = 12  # of an axis with more


def results(store: Store) -> dict[str, Any]:
    """Return what a page shows of a run: its standing, axes, configs, members, curves, ledger and provenance."""
    with store.read_transaction():
        return _results(store)


def _results(store: Store) -> dict[str, Any]:
    found, members, ledger = state(store), store.members(), store.ledger()
    trains = store.trains
    configs = ranked(store, so_far=trains, every=True)
    names = store.axes
    metrics = metrics_in_order(store)
    steps = store.steps()
    return {
        "name": found.name,
        "path": found.run,
        "status": found.status,
        "says": found.in_words(),
        "so_far": int(steps[-1]) if trains and len(steps) else None,
        "task": store.task(),
        "metric": found.metric,
        "mode": store.mode,
        "counts": found.counts_in_words(),
        "notes": [*found.notes, *not_finite(configs, found.metric), *_drifted(found.drift)],
        "axes": _axes(store, names, configs),
        "metrics": metrics,
        "configs": [_row(config, names, metrics) for config in configs],
        "members": {
            "config": _config_of(configs, len(members)),
            "status": [str(member.status) for member in members],
            "step": [member.step for member in members],
            "parent": [member.parent for member in members],
            "parent_step": [member.parent_step for member in members],
        },
        "curves": _curves(store, metrics, len(members)),
        "ledger": [record for record in ledger if record["kind"] not in ("stage", "proposals")],
        "staircase": [asdict(step) for step in staircase(ledger)],
        "facts": _facts(store, members),
        "reproduce": f"jaxloop fork {shell_quoted(found.run)}",
        "sweep": store.sweep,
        "command": "loop" if store.is_loop else "population",
    }


def _drifted(drift: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"from turn {each['turn']} on trained after a change: {'; '.join(each['changes'])}" for each in drift]


def _row(config: RankedConfig, names: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "values": [config.hparams.get(name) for name in names],
        "mean": config.mean,
        "error": config.standard_error,
        "finite": config.finished,
        "members": config.members,
        "metrics": [_finite(config.metrics.get(name)) for name in metrics],
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _axes(store: Store, names: Sequence[str], configs: Sequence[RankedConfig]) -> list[dict[str, Any]]:
    """Return each axis: its name, whether it holds numbers, whether they lie on a log scale, its few values.

    `cells` are the labels of a heatmap's cells along it, and `cell_of` the place among them of each config; None
    where a config has no such hparam.
    """
    declared = sweep.parse(store.sweep, source=str(store.path.parent)).document.all_axes()
    found = []
    for name in names:
        values = {config.hparams[name] for config in configs if config.hparams.get(name) is not None}
        is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        ordered = in_order(values)
        spread = is_number and bool(values) and ordered[0] > 0
        axis = declared.get(name)
        is_log = spread and (bool(axis and axis.log) or ordered[-1] / ordered[0] >= 50)
        few = ordered if len(ordered) <= FEW or not is_number else None
        labels, cell_of = _cells([config.hparams.get(name) for config in configs], few, is_log=is_log)
        found.append(
            {
                "name": name,
                "is_number": is_number,
                "is_log": is_log,
                "values": few,
                "cells": labels,
                "cell_of": cell_of,
            }
        )
    return found


def _cells(values: Sequence[Any], few: list[Any] | None, *, is_log: bool) -> tuple[list[str], list[int | None]]:
    """Return the cells of an axis, and each value's place among them: its few values, or equal bins of many."""
    if few is not None:
        return [value(each) for each in few], [None if each is None else few.index(each) for each in values]
    known = np.array([each for each in values if each is not None], float)
    scaled, back = (np.log(known), np.exp) if is_log else (known, np.asarray)
    edges = np.linspace(scaled.min(), scaled.max(), BINS + 1)
    bins = iter(np.clip(np.searchsorted(edges, scaled, "right") - 1, 0, BINS - 1).tolist())
    centres = back((edges[:-1] + edges[1:]) / 2).tolist()
    if all(isinstance(each, int) for each in values if each is not None):
        centres = list(map(round, centres))
    return [value(each) for each in centres], [None if each is None else next(bins) for each in values]


def _config_of(configs: Sequence[RankedConfig], count: int) -> list[int]:
    """Return the place in the ranking of each member's config, by the member's number."""
    places = [0] * count
    for place, config in enumerate(configs):
        for number in config.members:
            places[number] = place
    return places


def _curves(store: Store, metrics: Sequence[str], members: int) -> dict[str, Any]:
    """Return the curves of each metric that has more than one point; of long ones every second point, or fewer."""
    read = {name: store.curves(name) for name in metrics}
    several = {name: each for name, each in read.items() if (np.isfinite(each[1]).sum(1) > 1).any()}
    found = {}
    for name, (steps, values) in several.items():
        measured = np.isfinite(values).any(0)
        steps, values = steps[measured], values[:, measured]
        every = max(1, math.ceil(len(steps) * members * len(several) / MOST_VALUES))
        kept = np.unique(np.r_[np.arange(0, len(steps), every), len(steps) - 1])
        found[name] = {
            "steps": steps[kept].tolist(),
            "every": every,
            "is_evaluation_step": store.is_evaluation_step(steps)[kept].tolist(),  # all members were measured
            "values": base64.b64encode(values[:, kept].astype("<f4").tobytes()).decode(),
        }
    return found


def _facts(store: Store, members: Sequence[Member]) -> list[tuple[str, str]]:
    """Return what a run has cost and where its numbers come from, in words, by label."""
    told = provenance.read(store.path.parent)
    totals = store.totals()
    seconds, member_steps = totals["seconds"], totals["member_steps"]
    versions = told.get("versions") or {}
    commit = told.get("git_commit")
    facts = {
        "members": f"{len(members):,}",
        "member-steps": f"{member_steps:,.0f}",
        "seconds of training": f"{seconds:,.1f}",
        "member-steps per second": f"{member_steps / seconds:,.0f}" if seconds else None,
        "share of the peak": _share_of_peak(store),
        "seconds of compiling": told.get("compile_seconds"),
        "programs": told.get("programs"),
        "devices": told.get("devices") if isinstance(told.get("devices"), int) else None,
        "processor": told.get("processor"),
        "device": told.get("device_kind"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version) or None,
        "git commit": commit and commit + (" with uncommitted changes" if told.get("git_diff") else ""),
        "code and data": ", ".join(f"{name} {store.origins[-1][name]}" for name in ("code", "data")),
        "forked from": store.forked_from,
    }
    return [(label, str(value)) for label, value in facts.items() if value is not None]


def _share_of_peak(store: Store) -> str | None:
    """Return the share of its machine's peak that a run which has ended reached, in words."""
    if (found := store.share_of_peak) is None:
        return None
    return f"{found['share']:.0%} of {found['peak'] / 1e9:,.0f} GFLOP/s, the fastest matrix product measured"
