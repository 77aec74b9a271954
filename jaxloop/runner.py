"""The host's loop: admit, advance, retire, until no member waits. The only place with effects in order."""

import json
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import filelock
import jax
import numpy as np

from jaxloop import checkpoints, devices, planner, provenance, report, retired, tune
from jaxloop.bucket import Bucket
from jaxloop.checks import check
from jaxloop.compiled import CompiledProgram, compiled, narrowest_width, shared
from jaxloop.declared import REPLICATES
from jaxloop.errors import LockedError, SweepError, is_out_of_device_memory
from jaxloop.finals import ended_with
from jaxloop.interrupt import Interrupt
from jaxloop.progress import Observer, Progress
from jaxloop.recorder import Recorder, Snapshot, Turn
from jaxloop.slots import Slots
from jaxloop.store import LOCK, Status, Store, exists
from jaxloop.sweep import Sweep, digest
from jaxloop.task import Task
from jaxloop.tasks.load import code_hash

BEST_TOLD = 8  # configs in a run's summary


def create(sweep: Sweep, task: Task, run: Path) -> None:
    """Makes a run's folder with all its members waiting.

    Raises:
      SweepError: the folder is taken, or the sweep asks of the task what it has not.
    """
    metric, mode = check(sweep, task)
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        hint = f"`jaxloop resume {run}` goes on with it; else " if exists(run) else ""
        raise SweepError(f"{run}: exists already; {hint}choose another folder with --out")
    run.mkdir(parents=True, exist_ok=True)
    (run / "sweep.toml").write_text(sweep.toml())
    document = sweep.document
    code, data = code_hash(document.run.task, sweep.folder), task.data.fingerprint()
    facts = {"name": run.name, "folder": str(sweep.folder), "code": code, "data": data}
    (run / "run.json").write_text(json.dumps({**facts, **provenance.collect(sweep.folder)}, indent=1))
    identity = [document.run.task, code, data, document.run.evaluate_every]
    with Store(run, create=True) as store:
        store.add_members(
            (
                digest([hparams, *identity]),
                digest({k: v for k, v in hparams.items() if k not in REPLICATES}),
                hparams,
            )
            for hparams in sweep.members
        )
        store.put(**facts, varied=sweep.varied, metric=metric, mode=mode, status="created")


def train(run: Path, sweep: Sweep, task: Task, observe: Observer = lambda progress: None) -> dict[str, Any]:
    """Trains every member that has not ended, from the last checkpoint on.

    Returns:
      The summary that `population --json` prints; `signal` is set where a signal ended it early.

    Raises:
      LockedError: another process trains this run.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(filelock.FileLock(run / LOCK, timeout=0))
        except filelock.Timeout:
            raise LockedError(f"{run}: locked by a running jaxloop; wait for it, or stop it") from None
        store = stack.enter_context(Store(run))
        interrupt = stack.enter_context(Interrupt().listening())
        return _Training(run, sweep, task, store, observe, interrupt).train()


class _Training:
    """One process's share of a run: from its last checkpoint to its end, or to a signal."""

    def __init__(self, run, sweep: Sweep, task: Task, store: Store, observe: Observer, interrupt: Interrupt):
        self.run, self.sweep, self.task, self.store = run, sweep, task, store
        self.observe, self.interrupt = observe, interrupt
        self.recorder = Recorder(run, sweep, store)
        self.mesh = devices.member_mesh(store.get("devices"))
        if (numbers := store.get("size_classes")) is None:
            numbers = planner.numbers(planner.buckets(sweep, task))
            store.put(size_classes=numbers)
        self.buckets = planner.recorded(sweep, numbers)
        self.turn = self.earlier_member_steps = self.member_steps = self.remaining_member_steps = 0
        self.seconds = self.compile_seconds = 0.0
        self.notes: list[str] = []
        self.saved_turn, self.saved_at = 0, time.monotonic()

    def train(self) -> dict[str, Any]:
        checkpoint = self.store.get("checkpoint", {"turn": 0})
        self.turn = self.saved_turn = checkpoint["turn"]
        if self.store.get("status") != "created":
            self.recorder.rewind(self.turn)
        self.store.put(status="running", devices=self.mesh.size)
        statuses = {}
        for member in self.store.members():
            statuses[member.number] = member.status
            self.earlier_member_steps += member.step
            if member.status in (Status.WAITING, Status.RUNNING):
                self.remaining_member_steps += member.hparams["steps"] - member.step
        for index, bucket in enumerate(self.buckets):
            waiting = [n for n in bucket.numbers if statuses[n] == Status.WAITING]
            running = any(statuses[n] == Status.RUNNING for n in bucket.numbers)
            if (waiting or running) and not self.interrupt.signal:
                self._train_bucket(index, bucket, waiting, restore=self.turn if running else None)
        return self._summary()

    def _train_bucket(self, index: int, bucket: Bucket, waiting: list[int], restore: int | None) -> None:
        """Trains a bucket's members; where its first turn finds too little device memory, with half the slots."""
        data = shared(self.task, bucket, self.mesh)  # on their way while the program compiles
        while True:
            program, before = self._compile(index, bucket), self.turn
            try:
                return self._stream(index, program, data, waiting, restore)
            except Exception as error:
                begun = restore is not None or self.turn > before
                chosen = self.sweep.document.population.capacity != "auto"
                if begun or chosen or not is_out_of_device_memory(error):
                    raise
                narrowest = narrowest_width(self.sweep)
                smaller = devices.shrunk(program.capacity, program.width, narrowest, self.mesh.size, 0.5)
                if smaller is None:
                    raise
            # outside of `except`: its traceback would keep alive what did not fit
            capacity, width = smaller
            self.store.put(**{f"layout/{index}": {"capacity": capacity, "width": width}})  # for `_compile`
            self.notes.append(
                f"{program.capacity} slots did not fit in the devices' memory: going on with {capacity}"
            )
            del program

    def _compile(self, index: int, bucket: Bucket) -> CompiledProgram:
        layout = self.store.get(f"layout/{index}", {})  # a resumed run keeps its capacity and width
        tuned = partial(tune.width, self.sweep, self.task, bucket, self.mesh)
        program = compiled(self.sweep, self.task, bucket, self.mesh, **layout, tuned=tuned)
        self.compile_seconds += program.compile_seconds
        layout = {"capacity": program.capacity, "width": program.width}
        self.store.put(**layout, **{f"layout/{index}": layout})
        self.recorder.announce(program.metrics)
        return program

    def _stream(
        self, index: int, program: CompiledProgram, data: Any, waiting: list[int], restore: int | None
    ) -> None:
        """Trains a bucket's members: those in the slots of a checkpoint, and those that wait."""
        slots = Slots(program.bucket, self.sweep.members, program.capacity, program.width, waiting, self.mesh.size)
        state = program.empty()
        if restore is not None:
            saved, members = checkpoints.restore_population(self.recorder.checkpoints, restore, program.state)
            slots.restore(members, saved.step)
            state = program.place(saved)
        hparams = program.place(slots.columns)
        nobody = program.place(np.zeros(program.capacity, bool))
        pending: Turn | None = None
        stopping = False
        started, before = time.perf_counter(), self.seconds
        while not stopping:
            newly = slots.admit()
            if not len(slots.seated):
                break
            fresh = nobody
            if newly.any():
                fresh, hparams = program.place(newly), program.place(slots.columns)
            state, record = program.advance(hparams, state, fresh, data)
            try:
                if pending:
                    self._write(pending, index)
            finally:  # a failed write must not end the process while its devices compute: that crashes
                record = jax.device_get(record)
            pending = self._turn(program, slots, slots.members[newly].tolist(), state, record)
            stopping = self.interrupt.signal is not None
            if not slots.waiting and not len(slots.seated):
                pending = replace(pending, settled=True)
            elif stopping or self._due():
                pending = replace(pending, snapshot=self._snapshot(slots, state))
            self.seconds = before + time.perf_counter() - started
        if pending:
            self._write(pending, index)
        self.seconds = before + time.perf_counter() - started

    def _turn(self, program: CompiledProgram, slots: Slots, admitted: list[int], state, record) -> Turn:
        """Reads a finished turn: who has a new point, who leaves; frees the leavers' slots."""
        self.turn += 1
        seated = slots.seated
        members, steps = slots.members[seated], record["step"][seated].astype(np.int64)
        before = slots.steps[seated]
        taken = int((steps - before).sum())
        slots.steps[seated] = steps
        diverged = record["diverged"][seated]
        budgets = np.array([self.sweep.members[number]["steps"] for number in members])
        self.member_steps += taken
        self.remaining_member_steps -= taken + int((budgets - steps)[diverged].sum())

        stood = (steps == before) & (steps > 0)  # diverged at once: its point is recorded already
        leaving = np.flatnonzero(diverged | (steps >= budgets))
        finals = []
        if len(leaving) and self.sweep.document.checkpoint.keep != "none":
            finals = ended_with(self.sweep, self.task, program, state, seated[leaving], members[leaving])
        slots.free(seated[leaving])
        return Turn(
            number=self.turn,
            admitted=admitted,
            members=members,
            steps=steps,
            metrics={
                name: np.where(stood & name.startswith("validation/"), np.nan, record[name][seated])
                for name in program.metrics
            },
            leavers={int(members[i]): Status.DIVERGED if diverged[i] else Status.FINISHED for i in leaving},
            finals=finals,
        )

    def _due(self) -> bool:
        """Whether the interval between checkpoints is over."""
        settings = self.sweep.document.checkpoint
        if (seconds := settings.seconds()) is not None:
            return time.monotonic() - self.saved_at >= seconds
        return (self.turn - self.saved_turn) * self.sweep.document.run.evaluate_every >= int(settings.every)

    def _snapshot(self, slots: Slots, state: Any) -> Snapshot:
        self.saved_at, self.saved_turn = time.monotonic(), self.turn
        return Snapshot(jax.tree.map(_copied, jax.device_get(state)), slots.members.copy())

    def _write(self, turn: Turn, index: int) -> None:
        self.recorder.write(turn)
        self.observe(self._progress(index + 1))

    def _progress(self, program: int) -> Progress:
        return Progress(
            store=self.store,
            earlier_member_steps=self.earlier_member_steps,
            member_steps=self.member_steps,
            remaining_member_steps=self.remaining_member_steps,
            seconds=self.seconds,
            program=program,
            programs=len(self.buckets),
            notes=self.notes,
        )

    def _summary(self) -> dict[str, Any]:
        """Closes the run's books and gives what `population --json` prints."""
        ranked = report.ranked(self.store)
        if not self.interrupt.signal:
            retired.keep(self.run, self.sweep, self.task, self.store, ranked)
        seconds = self.store.get("seconds", 0.0) + self.seconds
        member_steps = self.store.get("member_steps", 0) + self.member_steps
        status = "interrupted" if self.interrupt.signal else "finished"
        self.store.put(status=status, seconds=seconds, member_steps=member_steps)
        counts = self.store.counts()
        summary = {
            "run": str(self.run),
            "status": status,
            "members": sum(counts.values()),
            "finished": counts[Status.FINISHED],
            "diverged": counts[Status.DIVERGED],
            "programs": len(self.buckets),
            "capacity": self.store.get("capacity"),
            "width": self.store.get("width"),
            "devices": self.mesh.size,
            "metric": self.store.get("metric"),
            "notes": self.notes,
            "share_done": self._progress(len(self.buckets)).share_done,
            "compile_seconds": round(self.compile_seconds, 3),
            "seconds": round(seconds, 3),
            "member_steps_per_second": round(member_steps / seconds, 1) if seconds else 0.0,
            "best": ranked[:BEST_TOLD],
        }
        path = self.run / "run.json"
        timings = {name: value for name, value in summary.items() if name != "best"}
        path.write_text(json.dumps({**json.loads(path.read_text()), **timings}, indent=1))
        return {**summary, "signal": self.interrupt.signal}


def _copied(leaf: np.ndarray) -> np.ndarray:
    """An array in memory of its own: a view of a CPU device's is written over by the next turn."""
    return leaf if leaf.flags.owndata else leaf.copy()
