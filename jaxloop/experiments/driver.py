"""Runs the loop's protocol as a scheduler of its run: members join as the protocol asks for trainings."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jaxloop.errors import DamagedError, SweepError
from jaxloop.experiments import code_tries, space
from jaxloop.experiments.proposers import command
from jaxloop.experiments.proposers.base import Known, Proposal, Proposer, proposals
from jaxloop.experiments.proposers.evolution import Evolution
from jaxloop.experiments.proposers.grid import Grid
from jaxloop.experiments.proposers.random import Random
from jaxloop.experiments.proposers.sobol import Sobol
from jaxloop.experiments.proposers.tpe import Tpe
from jaxloop.experiments.protocol import research
from jaxloop.experiments.requests import (
    Ask,
    Budget,
    Clock,
    Hear,
    Hypothesis,
    LoopPlan,
    Request,
    Requests,
    Train,
    Trained,
)
from jaxloop.experiments.spending import Spending
from jaxloop.experiments.trainings import Trainings
from jaxloop.experiments.verdict import Criteria, Outcome
from jaxloop.storage.store import Store
from jaxloop.sweep.schema import LoopSection, VerdictSection
from jaxloop.sweep.sweep import Sweep
from jaxloop.training import processes
from jaxloop.training.scheduler import Decisions, Measured

WAITING = object()  # in place of an answer
MOST_ROUNDS = 10_000  # of a loop without a planned end
MOST_REFUSED = 20  # rejected proposals that are recorded of an answer
PROPOSERS: dict[str, Callable[[], Proposer]] = {
    "grid": Grid,
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
    searched = space.of(sweep)
    baseline = searched.config_of(searched.values(sweep.members[0]))
    return LoopPlan(
        baseline=baseline,
        criteria=Criteria(mode, verdict.smallest_effect),
        spending=Spending(
            verdict.alpha * (1 - loop.reserve),
            None if loop.is_open() else loop.rounds or None,
            verdict.looks,
            verdict.shares,
            loop.control,
        ),
        rounds=MOST_ROUNDS if loop.is_open() else loop.rounds,
        budget=Budget(**loop.budget.model_dump()),
        configs=loop.configs,
        promote=loop.promote,
        floor_seeds=loop.floor_seeds,
        audit_seeds=loop.audit_seeds,
        alpha_of_tries=verdict.alpha * (loop.reserve if loop.rounds else 1.0),
        screen_seeds=tuple(loop.screen_seeds),
        rungs=tuple(loop.rungs),
    )


class Driver:
    """A loop as the scheduler of its own run.

    Args:
      store: of the run, at its last checkpoint: what the loop has recorded there is not decided again.
    """

    def __init__(self, sweep: Sweep, store: Store) -> None:
        self.sweep, self.space, self.metric = sweep, space.of(sweep), store.metric
        self.mode, self.run = store.mode, store.path.parent
        self.loop = sweep.document.loop or LoopSection()
        if "command" in self.loop.shares() and processes.are_several():
            raise SweepError("a program cannot propose for several processes: its answers may differ")
        self.ledger = store.ledger()
        clocks = [record["seconds"] for record in self.ledger if record["kind"] == "clock"]
        self.before, self.started = max([store.seconds, *clocks]), time.monotonic()
        self.unreplayed = list(self.ledger)
        self.trainings = Trainings(sweep, store)
        self.plan = plan_of(sweep, store.mode)
        self.requests: Requests = research(self.plan)
        self.request: Request | None = next(self.requests)
        self.records: list[dict[str, Any]] = []
        self.begun: Train | None = None  # whose stage is in the ledger

    def decide(self, measured: Measured) -> Decisions:
        self.trainings.observe(measured)
        self.records = []
        while self.request is not None:
            answer = self._answer(self.request, measured)
            if answer is WAITING:
                break
            self.request = self._next(answer)
        return replace(self.trainings.decisions, records=self.records)

    def _next(self, answer: Any) -> Request | None:
        try:
            return self.requests.send(answer)
        except StopIteration:
            return None

    def _answer(self, request: Request, measured: Measured) -> Any:
        """Return the answer to a request; `WAITING` where members need to train first."""
        if isinstance(request, Train):
            return self._others(request) if request.task else self._trained(request, measured)
        if isinstance(request, Ask):
            return self._proposals(request)
        if isinstance(request, Clock):
            return self._seconds()
        if isinstance(request, Hear):
            heard = self._replay_next("hypothesis") if self.unreplayed else None
            return heard and Hypothesis(**{name: heard[name] for name in Hypothesis._fields if name in heard})
        return self._record(request.record)

    def _trained(self, request: Train, measured: Measured) -> Any:
        """Return what members gave; `WAITING` while they train, which join if need be."""
        if request is not self.begun:
            self.begun = request
            stage = {"stage": request.stage, "round": request.round, "seeds": request.seeds}
            self._record({"kind": "stage", **stage, "members": self.trainings.begin(request)})
        return self.trainings.answer(request, measured) or WAITING

    def _others(self, request: Train) -> Any:
        """Return what another task has measured; `WAITING` until it has."""
        if request is not self.begun:
            self.begun = request
            fields = {"stage": request.stage, "round": request.round, "seeds": request.seeds, "task": request.task}
            self._record({"kind": "stage", **fields, "config": request.configs[0]})
        if self.unreplayed:
            found = self._replay_next("values")["values"]
        else:
            found = code_tries.values(code_tries.folder(self.run, request.round), request.seeds, self.metric)
            if found is None:
                return WAITING
            self._append({"kind": "values", "task": request.task, "seeds": request.seeds, "values": found})
        return Trained(np.array([found]), np.full((1, len(found)), self.sweep.document.run.steps), [None])

    def _seconds(self) -> float:
        """Return how long the loop has been at work; recorded, since a resumed loop needs the same answer."""
        if self.unreplayed:
            return self._replay_next("clock")["seconds"]
        milliseconds = processes.leaders(round(1000 * (self.before + time.monotonic() - self.started)))
        self._append({"kind": "clock", "seconds": milliseconds / 1000})
        return milliseconds / 1000

    def _proposals(self, ask: Ask) -> list[Proposal]:
        """Return what was proposed, if that is recorded, or else ask the proposers, each for its share."""
        if self.unreplayed:
            while self.unreplayed[0]["kind"] == "refused":
                self._replay_next("refused")
            kind = self.unreplayed[0]["kind"]
            if kind == "end":  # of a loop from when a member that ended early cost all its steps
                return []
            return [Proposal(**each) for each in self._replay_next("proposals")["proposals"]]
        found: list[Proposal] = []
        left, shares = ask.wanted, self.loop.shares()
        for at, (name, share) in enumerate(shares.items()):
            count = left if at == len(shares) - 1 else min(left, round(ask.wanted * share))
            found += self._proposed(name, ask, found, count)
            left = ask.wanted - len(found)
        asked = [proposal.json() for proposal in found]
        self._append({"kind": "proposals", "round": ask.round, "proposals": asked})
        return found

    def _proposed(self, name: str, ask: Ask, others: Sequence[Proposal], count: int) -> list[Proposal]:
        """Return the proposals of one proposer, beside those of others in the same round."""
        if count < 1:
            return []
        if name == "command":
            found = self._commanded(ask, others, count)
            if found or self.loop.fallback == "end":
                return found
            name = "random"
        known = [*ask.known, *(Known(proposal.config, None) for proposal in others)]
        seed = self.loop.seed * 1_000_003 + ask.round
        proposer = PROPOSERS[name]()
        return proposals(name, proposer, self.space, known, ask.incumbent, count, seed, self.plan.baseline)

    def _commanded(self, ask: Ask, others: Sequence[Proposal], count: int) -> list[Proposal]:
        """Ask the user's program, again where it gives nothing to try; what cannot be used is recorded."""
        experiments = [record for record in self.ledger if record["kind"] == "experiment"]
        verdicts = {space.key(record["config"]): record["verdict"] for record in experiments}
        verdicts |= {space.key(proposal.config): "proposed in this round" for proposal in others}
        verdicts |= {space.key(self.plan.baseline): "baseline", space.key(ask.incumbent): "incumbent"}
        request = command.request(self.space, ask.incumbent, self.metric, self.mode, experiments)
        request |= {"round": ask.round, "count": count, "refused": []}
        for attempt in range(1 + self.loop.retries):
            answer = command.ask(
                self.loop.command, self.sweep.folder, request, self.space, verdicts, count, self.loop.timeout
            )
            if answer.refused:
                rejected = answer.refused[:MOST_REFUSED]
                self._append({"kind": "refused", "round": ask.round, "attempt": attempt, "why": rejected})
                request["refused"] = rejected
            if answer.proposals:
                return answer.proposals
        return []

    def _record(self, record: dict[str, Any]) -> None:
        if self.unreplayed:
            self._replay_next(record["kind"])
        else:
            self._append({**record, **self._crash(record)})

    def _crash(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the member of a crashed experiment that diverged first, and after which step."""
        if record.get("verdict") != Outcome.CRASH or not {"seeds", "config"} <= record.keys() or "task" in record:
            return {}
        found = self.trainings.first_divergence(record["config"], record["seeds"])
        return {"crashed": found} if found else {}

    def _append(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        self.ledger.append(record)

    def _replay_next(self, kind: str) -> dict[str, Any]:
        record = self.unreplayed.pop(0)
        if record["kind"] != kind:
            raise DamagedError(f"the ledger has a record of kind {record['kind']!r} where one of {kind!r} belongs")
        return record
