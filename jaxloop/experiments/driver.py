"""Runs the loop's protocol as a scheduler of its run: members join as the protocol asks for trainings."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxloop.errors import DamagedError
from jaxloop.experiments import space
from jaxloop.experiments.proposers.base import Proposal, Proposer, proposals
from jaxloop.experiments.proposers.evolution import Evolution
from jaxloop.experiments.proposers.random import Random
from jaxloop.experiments.proposers.sobol import Sobol
from jaxloop.experiments.proposers.tpe import Tpe
from jaxloop.experiments.protocol import Ask, LoopPlan, Note, Requests, Train, research
from jaxloop.experiments.spending import Spending
from jaxloop.experiments.verdict import Criteria
from jaxloop.storage.records import ENDED, Status
from jaxloop.storage.store import Store
from jaxloop.sweep.schema import LoopSection, VerdictSection
from jaxloop.sweep.sweep import Sweep
from jaxloop.training.scheduler import Decisions, Join, Measured

PROPOSERS: dict[str, Callable[[], Proposer]] = {
    "random": Random,
    "sobol": Sobol,
    "evolution": Evolution,
    "tpe": Tpe,
}


def plan_of(sweep: Sweep, mode: str) -> LoopPlan:
    """Return the plan of a loop's sweep.

    Args:
      mode: "max" or "min", which values of the metric are better.
    """
    document = sweep.document
    loop, verdict = document.loop or LoopSection(), document.verdict or VerdictSection()
    baseline = {name: sweep.members[0][name] for name in document.axes}
    return LoopPlan(
        baseline=baseline,
        criteria=Criteria(mode, verdict.smallest_effect),
        spending=Spending(verdict.alpha, loop.rounds, verdict.looks, verdict.shares, loop.control),  # pyright: ignore
        rounds=loop.rounds,
        configs=loop.configs,
        promote=loop.promote,
        floor_seeds=loop.floor_seeds,
        audit_seeds=loop.audit_seeds,
        member_steps=document.run.steps,
    )


class Driver:
    """A loop as the scheduler of its own run.

    Args:
      store: of the run, at its last checkpoint: what the loop has recorded there is not decided again.
    """

    def __init__(self, sweep: Sweep, store: Store) -> None:
        self.sweep, self.space, self.metric = sweep, space.of(sweep), store.metric
        self.loop = sweep.document.loop or LoopSection()
        self.recorded = store.ledger()  # that the protocol has not been given yet
        self.values: dict[int, Mapping[str, float]] = {}
        for member in store.members():
            if member.status in ENDED:
                self.values[member.number] = member.metrics if member.status == Status.FINISHED else {}
        self.numbers: dict[tuple, int] = {}
        self.requests: Requests = research(plan_of(sweep, store.mode))
        self.request: Ask | Train | Note | None = next(self.requests)
        self.records: list[dict[str, Any]] = []
        self.begun: Train | None = None  # whose stage is in the ledger

    def decide(self, measured: Measured) -> Decisions:
        for at in np.flatnonzero(~measured.goes_on).tolist():
            metrics = {name: float(column[at]) for name, column in measured.metrics.items()}
            self.values[int(measured.members[at])] = {} if measured.diverged[at] else metrics
        for number in range(len(self.numbers), len(measured.hparams)):
            self.numbers.setdefault(space.key(measured.hparams[number]), number)
        self.records = []
        joins: list[Join] = []
        while self.request is not None and not joins:
            joins, answer, is_answered = self._answer(self.request, measured.hparams)
            if not is_answered:
                break
            self.request = self._next(answer)
        return Decisions(join=joins, resume=measured.paused, records=self.records)

    def _next(self, answer: Any) -> Ask | Train | Note | None:
        try:
            return self.requests.send(answer)
        except StopIteration:
            return None

    def _answer(self, request: Ask | Train | Note, hparams: Any) -> tuple[list[Join], Any, bool]:
        """Return members that need to join for a request; or its answer, if there is one already."""
        if isinstance(request, Ask):
            return [], self._proposals(request), True
        if isinstance(request, Note):
            self._record(request.record)
            return [], None, True
        wanted = [
            [self._hparams(hparams[0], config, seed) for seed in request.seeds] for config in request.configs
        ]
        new = {space.key(each): each for row in wanted for each in row if space.key(each) not in self.numbers}
        first_new = len(hparams)
        expected = self.numbers | {each: first_new + at for at, each in enumerate(new)}
        if request is not self.begun:
            self.begun = request
            members = [[expected[space.key(each)] for each in row] for row in wanted]
            stage = {"stage": request.stage, "round": request.round, "seeds": request.seeds, "members": members}
            self._record({"kind": "stage", **stage})
        if new:
            return [Join(0, each) for each in new.values()], None, False
        numbers = [[self.numbers[space.key(each)] for each in row] for row in wanted]
        if not all(number in self.values for row in numbers for number in row):
            return [], None, False
        metric = self.metric.replace("validation/", f"{request.split}/")
        return (
            [],
            np.array([[_finite(self.values[number].get(metric)) for number in row] for row in numbers]),
            True,
        )

    def _hparams(self, first: Mapping[str, Any], config: Mapping[str, Any], seed: int) -> dict[str, Any]:
        return {**first, **config, "seed": seed}

    def _proposals(self, ask: Ask) -> list[Proposal]:
        """Return what was proposed, if that is recorded, or else ask the proposer."""
        if self.recorded:
            record = self._recorded("proposals")
            return [Proposal(**each) for each in record["proposals"]]
        seed = self.loop.seed * 1_000_003 + ask.round
        proposer = PROPOSERS[self.loop.proposer]()
        found = proposals(
            self.loop.proposer, proposer, self.space, ask.known, ask.incumbent, self.loop.configs, seed
        )
        self.records.append(
            {"kind": "proposals", "round": ask.round, "proposals": [each.json() for each in found]}
        )
        return found

    def _record(self, record: dict[str, Any]) -> None:
        if self.recorded:
            self._recorded(record["kind"])
        else:
            self.records.append(record)

    def _recorded(self, kind: str) -> dict[str, Any]:
        record = self.recorded.pop(0)
        if record["kind"] != kind:
            raise DamagedError(f"the ledger has a record of kind {record['kind']!r} where one of {kind!r} belongs")
        return record


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else math.nan
