"""Writes what turns measured: a checkpoint's files first, then the one transaction that makes them count."""

import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from jaxloop.storage import aggregates, checkpoints, hparams_tab, run_folder, tensorboard
from jaxloop.storage.records import Member, NewMember, Status
from jaxloop.storage.store import Store
from jaxloop.sweep.sweep import Sweep
from jaxloop.training import processes
from jaxloop.training.turn import Turn

# Between writes to TensorBoard's files: to write each turn took three times as long (benchmarks/LOG.md).
FLUSH_SECONDS = 5.0
# Between transactions of the store: on a GPU, one for each turn of 20 ms took half of it.
COMMIT_SECONDS = 0.2


class Recorder:
    """The writer of one run's folder."""

    def __init__(self, run: Path, sweep: Sweep, store: Store) -> None:
        self.run, self.sweep, self.store = run, sweep, store
        self.members: dict[int, Member | NewMember] = {member.number: member for member in store.members()}
        self.summaries: dict[int, tensorboard.MemberSummaries] = {}
        self.uncommitted: list[Turn] = []
        self.flushed_at = self.committed_at = time.monotonic()
        self.aggregates = aggregates.Aggregates(run_folder.summary(run))

    def announce(self, metrics: list[str]) -> None:
        """Declare a program's metrics to the store and to TensorBoard, before its first turn."""
        if processes.leads():
            self.store.add_metrics(metrics)
            hparams_tab.write(run_folder.members(self.run), self.sweep.members, self.store)

    def write(self, turn: Turn) -> None:
        """Record a turn; it counts whole or not at all.

        Events wait for the next flush and short turns for the next commit, at the latest those of a checkpoint:
        what a resumed run keeps is on disk.
        """
        for folder, finals in turn.finals:
            checkpoints.save_finals(self.run / folder, finals)
        if turn.states:
            checkpoints.save_states(run_folder.state(self.run, turn.number, processes.index()), turn.states)
        self._write_summaries(turn)
        self.members |= {new.number: new for new in turn.new_members}
        if turn.parts is not None or time.monotonic() - self.flushed_at >= FLUSH_SECONDS:
            self._flush()
        if turn.snapshot:
            checkpoints.save_population(self.run, turn.number, processes.index(), turn.snapshot)
        processes.barrier(f"turn {turn.number}")
        if processes.leads():
            self.uncommitted.append(turn)
            if turn.parts is not None or time.monotonic() - self.committed_at >= COMMIT_SECONDS:
                self._commit(turn)

    def _commit(self, turn: Turn) -> None:
        """Commit what all processes wrote up to a turn at once; then drop the checkpoint before the last."""
        previous = self.store.checkpoint
        with self.store.transaction():
            for each in self.uncommitted:
                self.store.admit(each.admitted, each.number)
                self.store.record(each.number, each.members.tolist(), each.steps.tolist(), each.metrics)
                self.store.record_arrays(each.number, each.measured_arrays())
                self.store.pause(each.number, each.paused, each.going_on)
                self.store.retire(each.number, each.leavers, each.folders)
                self.store.join(each.number, each.new_members, each.size_classes)
                self.store.append(each.number, each.records)
            if turn.parts is not None:
                self.store.upgrade()  # of an earlier format
                checkpoint = {"turn": turn.number, "parts": turn.parts}
                if turn.parts:  # else none is needed, and none is kept
                    checkpoint["previous"] = {"turn": previous["turn"], "parts": previous["parts"]}
                self.store.put(checkpoint=checkpoint, **turn.totals)
            self.store.put(since_checkpoint=turn.totals)
        self.uncommitted, self.committed_at = [], time.monotonic()
        if turn.parts is not None:
            checkpoints.keep_only(self.run, {previous["turn"], turn.number} if turn.parts else ())
            if self.store.trains:  # else `end` is about to write them
                self.aggregates.refresh(self.store)

    def end(self) -> None:
        """Write what TensorBoard shows of all members together; on a full disk only that is lost."""
        with suppress(OSError):
            hparams_tab.write(run_folder.members(self.run), self.sweep.members, self.store)
            self.aggregates.write(self.store)

    def _flush(self) -> None:
        """Write what TensorBoard has not seen yet."""
        self.flushed_at = time.monotonic()
        for writer in self.summaries.values():
            writer.flush()

    def _write_summaries(self, turn: Turn) -> None:
        rows = np.flatnonzero(turn.own)
        metrics = {name: values[rows] for name, values in turn.metrics.items()}
        records = tensorboard.scalar_records(turn.steps[rows], metrics)
        for number, record in zip(turn.members[rows].tolist(), records, strict=True):
            if number not in self.summaries:  # it starts, or was admitted before this process resumed the run
                self.summaries[number] = self._open(number)
            self.summaries[number].append(record)
        mine = set(turn.members[rows].tolist())
        for number, step, name, array in turn.measured_arrays():
            if number in mine:
                self.summaries[number].append_arrays(step, {name: array})
        for number in turn.paused:
            self._close(number)
        for number, status in turn.leavers.items():
            if number not in self.summaries and number not in turn.members and processes.leads():  # was paused
                self.summaries[number] = self._open(number)
            if number in self.summaries:
                self.summaries[number].end(success=status != Status.DIVERGED)
                self._close(number)

    def _close(self, number: int) -> None:
        """Write what a member of this process has left to show."""
        if writer := self.summaries.pop(number, None):
            writer.flush()

    def _open(self, number: int) -> tensorboard.MemberSummaries:
        member = self.members[number]
        folder = run_folder.member(self.run, member.folder)
        group = tensorboard.group_name(member.hparams, self.store.varied, member.config)
        return tensorboard.MemberSummaries(folder, member.hparams, group)
