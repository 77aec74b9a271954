"""The ranked metric as schedulers compare it: more is better, and what is not finite is the worst."""

import math
from typing import NamedTuple

from jaxloop.storage.store import Store

WORST = -math.inf  # of a member that diverged, or measured nothing finite


class Objective(NamedTuple):
    """A metric and its direction.

    sign: 1 where more is better, -1 where less is.
    """

    metric: str
    sign: float

    def value(self, measured: float) -> float:
        """Return a measured value such that more is better."""
        return self.sign * measured if math.isfinite(measured) else WORST


def objective(store: Store) -> Objective:
    """Return what a run ranks its members by."""
    return Objective(store.metric, 1.0 if store.mode == "max" else -1.0)
