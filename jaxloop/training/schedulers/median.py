"""Median stopping (Golovin et al. 2017): a config stops if its best value is below what others have on average."""

import numpy as np

from jaxloop.storage.records import Status
from jaxloop.storage.store import Store
from jaxloop.sweep import identity
from jaxloop.sweep.sweep import Sweep
from jaxloop.training.scheduler import Decisions, Measured
from jaxloop.training.schedulers.objective import WORST, objective

GRACE = 0.2  # share of its steps that each config takes at least
OTHERS = 4  # configs that need to have come as far


class MedianStopping:
    """Compares a config's best value up to a step with the median of the others' running averages up to it.

    All values are means over the members of a config, at steps that all of them have reached; one that is done
    early keeps its last value.

    Args:
      store: of the run, at its last checkpoint; what its members have measured counts.
    """

    def __init__(self, sweep: Sweep, store: Store) -> None:
        self.objective = objective(store)
        self.configs: dict[str, list[int]] = {}
        for number, hparams in enumerate(sweep.members):
            self.configs.setdefault(identity.config(hparams), []).append(number)
        self.budgets = [hparams["steps"] for hparams in sweep.members]
        self.values: list[dict[int, float]] = [{} for _ in sweep.members]  # by step
        self.lost: set[int] = set()
        self.done: set[int] = set()  # before their last steps
        for member in store.members():
            points = store.points(member.number)
            self.values[member.number] = {
                step: self.objective.value(value)
                for (name, step), value in points.items()
                if name == self.objective.metric
            }
            if member.status in (Status.DIVERGED, Status.STOPPED):
                self.lost.add(member.number)
            elif member.status == Status.FINISHED and member.step < self.budgets[member.number]:
                self.done.add(member.number)
        self.judged = {config: max(self._means(config), default=0) for config in self.configs}  # up to which step

    def decide(self, measured: Measured) -> Decisions:
        for at, number in enumerate(measured.members.tolist()):
            value = self.objective.value(float(measured.metrics[self.objective.metric][at]))
            self.values[number].setdefault(int(measured.steps[at]), value)  # it may diverge in its next step
            if measured.diverged[at]:
                self.lost.add(number)
            elif not measured.is_active[at] and measured.steps[at] < self.budgets[number]:
                self.done.add(number)
        means = {config: self._means(config) for config in self.configs}
        present = set(measured.members[measured.is_active].tolist())
        stop: set[int] = set()
        for config, members in self.configs.items():
            step = max(means[config], default=0)
            if step > self.judged[config]:
                self.judged[config] = step
                if self._is_behind(config, step, means):
                    stop |= present.intersection(members)
        self.lost |= stop
        return Decisions(stop=stop, resume=measured.paused)

    def _is_behind(self, config: str, step: int, means: dict[str, dict[int, float]]) -> bool:
        if step < GRACE * max(self.budgets[number] for number in self.configs[config]):
            return False
        averages = [
            float(np.mean([value for at, value in theirs.items() if at <= step]))
            for other, theirs in means.items()
            if other != config and (step in theirs or self.done.issuperset(self.configs[other]))
        ]
        best = max(value for at, value in means[config].items() if at <= step)
        return len(averages) >= OTHERS and best < float(np.median(averages))

    def _means(self, config: str) -> dict[int, float]:
        """Return a config's means by step, ascending.

        At all later steps, a member that is lost counts as such, and one that is done keeps its last value.
        """
        members = self.configs[config]
        found = {}
        for step in sorted(set().union(*(self.values[number] for number in members))):
            row = [value for number in members if (value := self._value(number, step)) is not None]
            if len(row) == len(members):
                found[step] = float(np.mean(row))
        return found

    def _value(self, number: int, step: int) -> float | None:
        """Return what a member counts for at a step; None if it has not come as far."""
        values = self.values[number]
        if step in values:
            return values[step]
        if number in self.lost:
            return WORST
        return values[max(values)] if number in self.done and values and max(values) < step else None
