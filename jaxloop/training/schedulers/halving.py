"""Successive halving (Jamieson and Talwalkar 2016): all configs take a few steps, the best third more, and so on.

Members pause at a rung until all of the rung are there, so that their slots go to others; those who are promoted
go on with what they have.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from jaxloop.storage.records import ENDED, Status
from jaxloop.storage.store import Store
from jaxloop.sweep import identity
from jaxloop.sweep.sweep import Sweep
from jaxloop.training.scheduler import Decisions, Measured

ETA = 3  # of so many configs at a rung, one is promoted
LOST = -math.inf  # the value of a member that diverged, or measured nothing finite


class Halving:
    """Decides at each rung which configs, as the means of their members, go on.

    Args:
      store: of the run, at its last checkpoint; what its members have measured counts.
    """

    def __init__(self, sweep: Sweep, store: Store) -> None:
        self.every, self.metric = sweep.document.run.evaluate_every, store.metric
        self.sign = 1.0 if store.mode == "max" else -1.0
        self.configs: dict[str, list[int]] = {}
        for number, hparams in enumerate(sweep.members):
            self.configs.setdefault(identity.config(hparams), []).append(number)
        self.rungs = rungs([hparams["steps"] for hparams in sweep.members], len(self.configs), self.every)
        self.values: dict[tuple[int, int], float] = {}  # by rung and member
        self.ended: set[int] = set()
        for member in store.members():
            points = store.points(member.number)
            for rung, steps in enumerate(self.rungs):
                value = points.get((self.metric, steps[member.number]))
                if value is not None:
                    self.values[rung, member.number] = self._signed(value)
            if member.status in (Status.DIVERGED, Status.STOPPED):
                self._lose(member.number)
            if member.status in ENDED:
                self.ended.add(member.number)

    def decide(self, measured: Measured) -> Decisions:
        for at, number in enumerate(measured.members.tolist()):
            for rung, steps in enumerate(self.rungs):
                if measured.steps[at] == steps[number]:
                    self.values[rung, number] = self._signed(float(measured.metrics[self.metric][at]))
            if measured.diverged[at]:
                self._lose(number)
            if not measured.goes_on[at]:
                self.ended.add(number)
        waits_at, losers = self._standing()
        present = set(measured.members[measured.goes_on].tolist()) | set(measured.paused)
        at_rung = {
            number
            for number, steps in zip(measured.members.tolist(), measured.steps.tolist(), strict=True)
            if number in waits_at and steps == self.rungs[waits_at[number]][number]
        }
        stop = losers & present - self.ended
        self.ended |= stop
        paused = set(measured.paused)
        return Decisions(
            stop=stop,
            pause=(at_rung & present) - paused - stop,
            resume=sorted(paused - stop - waits_at.keys()),
        )

    def _standing(self) -> tuple[dict[int, int], set[int]]:
        """Return the members that wait at a rung until it is decided, by rung, and those that are not promoted."""
        waits_at: dict[int, int] = {}
        losers: set[int] = set()
        promoted = list(self.configs)
        for rung in range(len(self.rungs)):
            members = [number for config in promoted for number in self.configs[config]]
            if not all((rung, number) in self.values for number in members):
                waits_at = {number: rung for number in members if (rung, number) in self.values}
                break
            best = sorted(promoted, key=lambda config: -self._mean(rung, config))[: math.ceil(len(promoted) / ETA)]
            losers |= {number for config in promoted if config not in best for number in self.configs[config]}
            promoted = [config for config in promoted if config in best]
        return waits_at, losers

    def _mean(self, rung: int, config: str) -> float:
        return float(np.mean([self.values[rung, number] for number in self.configs[config]]))

    def _signed(self, value: float) -> float:
        return self.sign * value if math.isfinite(value) else LOST

    def _lose(self, number: int) -> None:
        """Let a member that has ended early lose at all rungs that it has not reached."""
        for rung in range(len(self.rungs)):
            self.values.setdefault((rung, number), LOST)


def rungs(budgets: Sequence[int], configs: int, every: int) -> list[Mapping[int, int]]:
    """Return the steps of each rung, by member: a share of its budget, at a chunk's end.

    Args:
      budgets: steps of each member.
      configs: how many there are.
      every: steps of a chunk.
    """
    found: list[Mapping[int, int]] = []
    count = int(math.log(max(configs, 1), ETA) + 1e-9)
    for rung in range(count):
        share = ETA ** (rung - count)
        steps = {
            number: max(every, round(budget * share / every) * every) for number, budget in enumerate(budgets)
        }
        grows = not found or any(steps[number] > found[-1][number] for number in steps)
        if grows and all(steps[number] < budget for number, budget in enumerate(budgets)):
            found.append(steps)
    return found
