"""The host's loop: admit, advance, retire, until no member waits. The one place where effects have an order."""

import gc
import math
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxloop.core import size_classes
from jaxloop.core.program import CompiledProgram, shared
from jaxloop.core.task import Task
from jaxloop.errors import is_out_of_device_memory
from jaxloop.storage import checkpoints, lock, ranking
from jaxloop.storage.facts import Shards
from jaxloop.storage.records import ENDED, NewMember
from jaxloop.storage.seal import refuse_links
from jaxloop.storage.snapshot import check_members
from jaxloop.storage.store import Store
from jaxloop.sweep.sweep import Sweep, digest
from jaxloop.training import diagnosis, drift, extension, joins, peak, placement, processes, provenance, retention
from jaxloop.training.checkpoint_policy import CheckpointPolicy, Due
from jaxloop.training.failures import failures_told
from jaxloop.training.preparation import prepared
from jaxloop.training.programs import Next, Programs
from jaxloop.training.progress import Observer, Progress, tell_phase
from jaxloop.training.recorder import Recorder
from jaxloop.training.scheduler import Measured, RunToBudget, Scheduler, SchedulerOf, decide
from jaxloop.training.signals import Interrupt
from jaxloop.training.stream import Stream
from jaxloop.training.summary import Summary, summarized
from jaxloop.training.turn import Turn

# Seconds below which the next turn is dispatched before this one is read, so that a GPU does not wait.
SHORT_TURN = 0.5


def train(
    run: Path,
    sweep: Sweep,
    task: Task,
    observe: Observer = lambda progress: None,
    *,
    allow_drift: bool = False,
    scheduler: SchedulerOf | None = None,
) -> Summary:
    """Train every member that has not ended, from the last checkpoint on.

    Args:
      sweep: in the order of the run's members (`growth.aligned`); new ones behind them join the run.
      allow_drift: continue even if code, data or libraries have changed since the run was last started.
      scheduler: makes a scheduler from the run's store; by default all members take all their steps.

    Raises:
      LockedError: another process trains this run.
      DamagedError: the run's folder, or what has changed since it began, does not let it go on.
      ResourceError: its folder cannot be written any more.
    """
    with ExitStack() as stack:
        interrupt = stack.enter_context(Interrupt().listening())
        tell_phase(observe, "checking code and data")
        origin = drift.origin(sweep, task)
        processes.agree(digest([sweep.toml(), origin]))
        notes: list[str] = []
        if processes.leads():
            refuse_links(run)
            checkpoints.refuse_patterns(run)
            stack.enter_context(lock.held(run))
            stack.enter_context(failures_told(run))
            store = stack.enter_context(Store(run))
            notes = prepared(run, sweep, task, store, origin, allow_drift=allow_drift)
            processes.broadcast(store.content() if processes.are_several() else b"")
        else:  # SQLite's file is for one host
            stack.enter_context(failures_told(run))
            store = stack.enter_context(Store(run, content=processes.broadcast(b"")))
        # those that had joined after the checkpoint are gone, and may join again
        growing = replace(sweep, members=sweep.members[: sum(store.counts().values())])
        decides = scheduler(store) if scheduler else RunToBudget()
        opened = _Opened(growing, task, store, origin, notes)
        return _Training(opened, decides, observe, interrupt).train()


@dataclass(frozen=True)
class _Opened:
    """A run that is open to be trained.

    Attributes:
      sweep: whose list of members grows as members join.
      origin: as `drift.origin` gives it.
      notes: what the user should know of it.
    """

    sweep: Sweep
    task: Task
    store: Store
    origin: dict[str, str]
    notes: list[str]


class _Training:
    """One process's share of a run: from its last checkpoint to its end, or to a signal."""

    def __init__(self, opened: _Opened, scheduler: Scheduler, observe: Observer, interrupt: Interrupt) -> None:
        self.run, self.sweep, self.task = opened.store.path.parent, opened.sweep, opened.task
        self.store, self.origin, self.notes = opened.store, opened.origin, opened.notes
        self.scheduler, self.observe, self.interrupt = scheduler, observe, interrupt
        self.signal: int | None = None  # of any process
        self.recorder = Recorder(self.run, self.sweep, self.store)
        self.mesh, unused = placement.mesh(self.store)
        self.notes += unused
        self.programs = Programs(self.sweep, self.task, self.store, self.mesh)
        self.turn = self.earlier_member_steps = self.member_steps = self.remaining_member_steps = 0
        self.seconds = 0.0
        # by earlier processes
        self.before = {"seconds": self.store.seconds, "member_steps": self.store.member_steps}
        self.checkpoint: Shards = self.store.checkpoint
        self.checkpoint_policy = CheckpointPolicy(self.sweep.document, self.checkpoint["turn"])

    def train(self) -> Summary:
        self.notes += placement.moved(self.store, self.mesh)
        if processes.leads():
            self.store.put(status="running", share_of_peak=None, **placement.facts(self.store, self.mesh))
            self._note()
        self.turn = self.checkpoint["turn"]
        for member in self.store.members():
            self.earlier_member_steps += member.step
            if member.status not in ENDED:
                self.remaining_member_steps += member.hparams["steps"] - member.step
        if not self.remaining_member_steps:
            self._begin_again()
        idle: set[int] = set()  # programs all of whose members stay paused
        while not self.signal and (found := self.programs.next(idle)):
            before = self.turn
            self._train_program(found)
            idle = idle | {found.program} if self.turn == before else set()
        return self._summary()

    def _begin_again(self) -> None:
        """Ask the scheduler of a run in which nobody is left to train whether members join."""
        decisions = decide(self.scheduler, Measured(hparams=self.sweep.members))
        new = self._placed(
            [joins.place_member(self.sweep, self.programs.buckets, join) for join in decisions.join]
        )
        if processes.leads():
            with self.store.transaction():
                self.store.join(self.turn, new, size_classes.numbers(self.programs.buckets))
                self.store.append(self.turn, decisions.records)
        self.recorder.members |= {each.number: each for each in new}

    def _note(self) -> None:
        """Record what the user should know, each thing once."""
        self.store.put(notes=list(dict.fromkeys([*self.store.notes, *self.notes])))

    def _train_program(self, found: Next) -> None:
        """Train a program's members; halve its slots and try again if the first turn runs out of device memory."""
        data = shared(self.task, self.programs.buckets[found.program], self.mesh)  # on their way while it compiles
        while True:
            if not self.programs.is_compiled(found.program):
                of = f"{found.program + 1} of {len(self.programs.buckets)}"
                expected = self.programs.expected_compile_time(found.program)
                tell_phase(self.observe, f"compiling program {of} ({expected})")
            program, before = self.programs.compile(found.program), self.turn
            self.recorder.announce(program.metrics)
            if not self.member_steps:
                tell_phase(self.observe, "training the first turn")
            try:
                return self._stream(found, program, data)
            except Exception as error:
                if self.turn > before or not is_out_of_device_memory(error):
                    raise
                if (capacity := self.programs.halve(found.program)) is None:
                    raise
            # outside of `except`: its traceback would keep alive what did not fit
            self.notes.append(
                f"{program.capacity} slots did not fit in the devices' memory: going on with {capacity}"
            )
            self._note()
            del program
            gc.collect()

    def _stream(self, found: Next, program: CompiledProgram, data: Any) -> None:
        """Train a program's members: those that have begun, and those that wait."""
        index, members = found
        resumed = None
        if members.begun:
            like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), program.state)
            resumed = extension.restored(self.run, self.checkpoint, members.begun, like)
            check_members(resumed, members.begun, f"{self.run}: turn {self.checkpoint['turn']}")
        stream = Stream(self.sweep, self.task, program, data, members, resumed, self.scheduler)
        with closing(stream.flight):
            self._turns(stream, index)
        self.programs.keep(index, stream.flight.feed.program)

    def _turns(self, stream: Stream, index: int) -> None:
        """Run a program's turns until its slots are empty, or a signal comes."""
        pending: Turn | None = None
        started, before, seconds = time.perf_counter(), self.seconds, math.inf

        def count_seconds() -> None:
            self.seconds = before + time.perf_counter() - started

        while not self.signal and stream.begin():
            begun = time.monotonic()
            is_far = self.checkpoint_policy.is_far(self.turn + 1, seconds)
            if seconds < SHORT_TURN and is_far and not self.interrupt.signal:
                stream.run_ahead()
            try:
                if pending:
                    self._write(pending, index)
            finally:  # a failed write must not end the process while its devices compute: that crashes
                stream.flight.wait()
            self.turn += 1
            pending = self._with_new_members(stream.turn(self.turn))
            self.member_steps += pending.taken
            self.remaining_member_steps -= pending.taken + pending.given_up
            count_seconds()
            pending = replace(pending, totals=self._totals())
            seconds = time.monotonic() - begun
            if stream.flight.is_ahead and not pending.settled:
                continue
            self.signal, due = self._votes(seconds)
            at_once = self.signal or pending.settled or due == Due.AT_ONCE
            if at_once or due == Due.BESIDE:
                self.checkpoint_policy.taken(self.turn)
                pending = replace(pending, parts=stream.parts(), snapshot=stream.snapshot())
                self.checkpoint = {"turn": self.turn, "parts": stream.parts()}
            if at_once:
                self._write(pending, index)
                pending = None
            count_seconds()

    def _with_new_members(self, turn: Turn) -> Turn:
        """Return a turn with what is to be recorded of members that join; those without a program get one."""
        if not turn.joined:
            return turn
        new = self._placed(turn.joined)
        return replace(turn, new_members=new, size_classes=size_classes.numbers(self.programs.buckets))

    def _placed(self, joined: list[joins.Joined]) -> list[NewMember]:
        """Count members that join, give a program to those without one; return all as the store records them."""
        self.programs.place(each.number for each in joined if not each.is_placed)
        for each in joined:
            self.remaining_member_steps += self.sweep.members[each.number]["steps"] - each.step
        return list(joins.new_members(self.sweep, self.origin, joined, self.recorder.members))

    def _votes(self, turn_seconds: float) -> tuple[int | None, Due]:
        """Return a signal that any process received, and whether process 0 finds a checkpoint due."""
        mine = [self.interrupt.received() or 0, self.checkpoint_policy.due(self.turn, turn_seconds)]
        votes = processes.gathered(np.array([mine], np.int32))
        return int(votes[:, 0].max()) or None, Due(votes[0, 1])

    def _write(self, turn: Turn, index: int) -> None:
        self.recorder.write(turn)
        if processes.leads():
            self.observe(self._progress(index + 1))

    def _progress(self, program: int) -> Progress:
        return Progress(
            store=self.store,
            earlier_member_steps=self.earlier_member_steps,
            member_steps=self.member_steps,
            remaining_member_steps=self.remaining_member_steps,
            seconds=self.seconds,
            program=program,
            programs=len(self.programs.buckets),
            notes=self.notes,
        )

    def _totals(self) -> dict[str, float]:
        """Return the training that the run has taken so far; what a killed process lost counts once."""
        here = {"seconds": self.seconds, "member_steps": self.member_steps}
        return {name: had + here[name] for name, had in self.before.items()}

    def _summary(self) -> Summary:
        """Finish the run's records."""
        if not self.remaining_member_steps:
            self.signal = None  # it came when nothing was left to interrupt
        ranked = ranking.ranked(self.store)
        if processes.leads() and not self.signal:
            self.notes += ranking.not_finite(ranked, self.store.metric)
            self.notes += diagnosis.notes(self.sweep, self.task, self.store)
            extension.drop_superseded(self.run, self.store)
            self.notes += retention.keep(self.run, self.sweep, self.task, self.store, ranked)
            self._note()
        totals, programs = self._totals(), len(self.programs.buckets)
        share = None if self.signal else peak.share(self.programs, totals["seconds"])
        summary = summarized(
            self.store,
            ranked,
            totals,
            run=str(self.run),
            programs=programs,
            devices=self.mesh.size * processes.count(),
            processes=processes.count(),
            notes=self.notes,
            share_done=self._progress(programs).share_done,
            compile_seconds=round(self.programs.compile_seconds, 3),
            share_of_peak=share and share["share"],
            signal=self.signal,
        )
        if processes.leads():
            taken = {**totals, "compile_seconds": summary.compile_seconds}
            self.store.put(status=summary.status, share_of_peak=share, since_checkpoint=None, **taken)
            self.recorder.end()
            provenance.add(self.run, {**summary.facts(), "notes": self.store.notes})
        processes.barrier("ended")
        return summary
