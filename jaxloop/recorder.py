"""Writes what a turn measured: files first, then the one transaction of the store that makes them count."""

import shutil
import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from jaxloop import checkpoints, summaries
from jaxloop.store import Status, Store
from jaxloop.sweep import Sweep

# Between writes to TensorBoard's files: to write each turn took three times as long (benchmarks/LOG.md).
FLUSH_SECONDS = 5.0


@dataclass(frozen=True)
class Snapshot:
    """A population to resume from: its state as host arrays, and who sits in which of the M slots."""

    state: Any
    members: np.ndarray  # (M,) int32


@dataclass(frozen=True)
class Turn:
    """What one turn left to be written, while the devices run the next one.

    Attributes:
      admitted: members that started in it.
      members: (K,) int32 numbers of all that trained in it.
      steps: (K,) int64 steps that each has taken.
      metrics: by name, (K,) float32 values.
      leavers: those that ended in it, and how.
      finals: what the leavers end with, where it is kept.
      snapshot: where a checkpoint is due.
      settled: nobody of the program's members sits or waits any more, so that to resume needs no state.
    """

    number: int
    admitted: list[int]
    members: np.ndarray
    steps: np.ndarray
    metrics: dict[str, np.ndarray]
    leavers: dict[int, Status]
    finals: list[checkpoints.Finals]
    snapshot: Snapshot | None = None
    settled: bool = False


class Recorder:
    """The writer of one run's folder."""

    def __init__(self, run: Path, sweep: Sweep, store: Store):
        self.run, self.sweep, self.store = run, sweep, store
        self.configs = {member.number: member.config for member in store.members()}
        self.summaries: dict[int, summaries.MemberSummaries] = {}
        self.flushed_at = time.monotonic()

    def announce(self, metrics: list[str]) -> None:
        """Declares a program's metrics to the store and to TensorBoard, before its first turn."""
        self.store.add_metrics(metrics)
        examples = {name: value for hparams in self.sweep.members for name, value in hparams.items()}
        summaries.write_experiment(self.run / "members", examples, self.store.metric_names())

    def write(self, turn: Turn) -> None:
        """Commits a turn; it counts whole or not at all.

        Events wait for the next flush, at the latest that of a checkpoint: what a resumed run keeps is on disk.
        """
        finished = self._save_finals(turn)
        self._write_summaries(turn)
        if turn.snapshot or turn.settled or time.monotonic() - self.flushed_at >= FLUSH_SECONDS:
            self._flush()
        if turn.snapshot:
            snapshot = turn.snapshot
            checkpoints.save_population(self.checkpoints, turn.number, snapshot.state, snapshot.members)
        previous = self.store.get("checkpoint", {"turn": 0})["turn"]
        with self.store.transaction():
            self.store.admit(turn.admitted, turn.number)
            self.store.record(turn.number, turn.members.tolist(), turn.steps.tolist(), turn.metrics)
            self.store.retire(turn.number, turn.leavers, finished)
            if turn.snapshot or turn.settled:
                self.store.put(checkpoint={"turn": turn.number})
        if turn.snapshot or turn.settled:
            checkpoints.keep_only(self.checkpoints, {previous, turn.number} if turn.snapshot else ())

    def rewind(self, turn: int) -> None:
        """Forgets what came after a turn, in the store and in files."""
        self.store.rewind(turn)
        checkpoints.keep_only(self.checkpoints, range(turn + 1))
        for member in self.store.members():
            folder = self.member_folder(member.number)
            if member.status == Status.WAITING and folder.exists():
                shutil.rmtree(folder)
            elif member.status == Status.RUNNING:
                summaries.cut(folder, member.step)
        for folder in (self.run / "finished").glob("[0-9]*"):
            if int(folder.name[:8]) > turn:
                shutil.rmtree(folder)

    @property
    def checkpoints(self) -> Path:
        return self.run / "checkpoints"

    def member_folder(self, number: int) -> Path:
        return summaries.member_folder(self.run, number, self.sweep.members[number], self.sweep.varied)

    def _save_finals(self, turn: Turn) -> dict[int, str]:
        """Saves what the leavers end with; gives each one's folder, relative to the run's."""
        folders = {}
        for count, finals in enumerate(chain.from_iterable(finals.folders() for finals in turn.finals)):
            folder = f"finished/{turn.number:08d}-{count}"
            checkpoints.save_finals(self.run / folder, finals)
            folders |= dict.fromkeys(finals.members.tolist(), folder)
        return folders

    def _flush(self) -> None:
        """Writes what TensorBoard has not seen yet."""
        self.flushed_at = time.monotonic()
        for writer in self.summaries.values():
            writer.flush()

    def _write_summaries(self, turn: Turn) -> None:
        for number in turn.admitted:
            self.summaries[number] = self._open(number, announce=True)
        columns = {name: values.tolist() for name, values in turn.metrics.items()}
        for row, (number, step) in enumerate(zip(turn.members.tolist(), turn.steps.tolist(), strict=True)):
            if number not in self.summaries:  # admitted before this process resumed the run
                self.summaries[number] = self._open(number, announce=False)
            writer = self.summaries[number]
            measured = {name: column[row] for name, column in columns.items() if not np.isnan(column[row])}
            writer.scalars(step, measured)
            if number in turn.leavers:
                writer.end(success=turn.leavers[number] == Status.FINISHED)
                writer.flush()
                del self.summaries[number]

    def _open(self, number: int, *, announce: bool) -> summaries.MemberSummaries:
        return summaries.MemberSummaries(
            self.member_folder(number), self.sweep.members[number], self.configs[number], announce=announce
        )
