"""Population-based training (Jaderberg et al. 2017): copies of the best, a little changed, replace the worst."""

import random
from typing import Any

import numpy as np

from jaxloop.storage.store import Store
from jaxloop.sweep.axes import Axis, ends, interpolate
from jaxloop.sweep.hparams import is_tunable
from jaxloop.sweep.sweep import Sweep
from jaxloop.training.scheduler import Decisions, Join, Measured
from jaxloop.training.schedulers.objective import objective

SHARE = 0.2  # of members that are replaced at each chunk's end, and of those that are copied
FACTORS = (0.8, 1.2)  # by which an hparam is multiplied
MOST_DRAWS = 100  # for a copy that no other loser of the same step has become; then it goes on
RESAMPLED = 0.25  # the chance that it is drawn from its axis instead


class Pbt:
    """Replaces, at each chunk's end, the worst fifth of the members that have come equally far.

    Each of these stops, and a copy of one of the best fifth takes its place: a new member, whose parent and step
    are recorded. Of its hparams, those of axes that a program takes as arguments are changed at random. What is
    drawn follows from the sweep's seed, the step and the member that is replaced.
    """

    def __init__(self, sweep: Sweep, store: Store) -> None:
        self.objective = objective(store)
        self.seed, self.axes = sweep.document.population.seed, explored(sweep)

    def decide(self, measured: Measured) -> Decisions:
        stop: set[int] = set()
        join: list[Join] = []
        for step in sorted(set(measured.steps[measured.is_active].tolist())):
            alike = measured.is_active & (measured.steps == step)
            values = np.array(
                [self.objective.value(value) for value in measured.metrics[self.objective.metric][alike].tolist()]
            )
            members = measured.members[alike]
            members = members[np.lexsort((members, -values))].tolist()  # of equals, the first number: not the slot
            count = min(max(1, int(SHARE * len(members))), len(members) // 2)
            for loser in members[len(members) - count :]:
                draws = random.Random(f"{self.seed} {step} {loser}")
                for _ in range(MOST_DRAWS):
                    parent = draws.choice(members[:count])
                    copy = Join(parent, self._explored(measured.hparams[parent], draws), copy=True)
                    if copy not in join:  # else two members would be one
                        stop.add(loser)
                        join.append(copy)
                        break
        return Decisions(stop=stop, resume=measured.paused, join=join)

    def _explored(self, hparams: Any, draws: random.Random) -> dict[str, float]:
        """Return the changed hparams of a copy."""
        changed = {}
        for name, axis in self.axes.items():
            low, high = ends(axis)
            if draws.random() < RESAMPLED:
                value = interpolate(axis, draws.random(), keeps_integers=False)
            else:
                value = hparams[name] * draws.choice(FACTORS)
            changed[name] = float(min(max(value, low), high))
        return changed


def explored(sweep: Sweep) -> dict[str, Axis]:
    """Return the axes whose values a copy may change."""
    return {name: axis for name, axis in sweep.document.axes.items() if is_tunable(axis, sweep.declared[name])}
