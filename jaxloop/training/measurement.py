"""Reads a turn's record for the seated members, without the points that are recorded already."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxloop.core.slots import Slots
from jaxloop.training.scheduler import Measured

AT_STEPS = ("train/", "test/")  # metrics that only members which took a step, or ended, have


def measured(
    record: Mapping[str, np.ndarray],
    slots: Slots,
    names: Iterable[str],
    hparams: Sequence[Mapping[str, Any]],
    paused: Collection[int],
) -> Measured:
    """Return what a turn measured of those who sit, before their steps are set.

    Args:
      record: as `population.streamed` describes it, of all slots.
      names: of the metrics that are numbers.
      hparams: of all members.
      paused: numbers of those out of their slots.
    """
    seated = slots.seated
    members, steps = slots.members[seated], record["step"][seated].astype(np.int64)
    diverged, done = record["diverged"][seated], record["done"][seated]
    # those that diverged at once have this point recorded already
    stood = (steps == slots.steps[seated]) & (steps > 0)
    metrics = {
        name: np.where(stood & (not name.startswith(AT_STEPS)), np.nan, record[name][seated]) for name in names
    }
    budgets = np.array([hparams[member]["steps"] for member in members])
    is_active = ~diverged & ~done & (steps < budgets)
    return Measured(members, steps, metrics, diverged, is_active, sorted(paused), hparams)


def arrays(
    record: Mapping[str, np.ndarray], seated: np.ndarray, stood: np.ndarray, names: Iterable[str]
) -> dict[str, np.ndarray]:
    """Return the measured arrays of those who sit; NaN where a member that stood has them recorded already.

    Args:
      seated: (K,) slots.
      stood: (K,) bool.
      names: of the metrics that are arrays.
    """
    found = {}
    for name in names:
        values = record[name][seated]
        if stood.any() and not name.startswith(AT_STEPS):
            values = np.where(stood.reshape(-1, *[1] * (values.ndim - 1)), np.nan, values)
        found[name] = values
    return found
