"""The host's loop: admit, advance, retire, until no member waits. The only place with effects in order."""

import json
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
import jax
import numpy as np

from jaxloop import bucket as buckets_
from jaxloop import checkpoints, devices, provenance, report, summaries
from jaxloop.errors import LockedError, NotFoundError, SweepError
from jaxloop.store import Status, Store, exists
from jaxloop.sweep import Sweep, digest
from jaxloop.task import Task
from jaxloop.tasks.load import code_hash

BEST_FOLDERS = 8  # configs whose members get a checkpoint folder of their own


@dataclass
class Progress:
    """What an observer sees at each turn's end."""

    store: Store
    name: str
    turn: int
    members: int
    counts: dict[str, int]
    member_steps: int
    total_steps: int
    seconds: float
    compile_seconds: float
    program: int
    programs: int

    @property
    def member_steps_per_second(self) -> float:
        return self.member_steps / self.seconds if self.seconds > 0 else 0.0


Observer = Callable[[Progress], None]


@dataclass
class Turn:
    """What one turn left to be written, while the next one runs."""

    number: int
    admitted: list[int]
    members: np.ndarray  # (K,) numbers with a new point
    steps: np.ndarray  # (K,)
    metrics: dict[str, np.ndarray]  # (K,) each
    leavers: list[tuple[int, Status]]
    params: dict[int, Any]  # of the leavers
    state: Any = None  # host copy, where a checkpoint is due
    slots: np.ndarray | None = None
    program: int = 0


@dataclass
class Interrupt:
    """Set by SIGINT or SIGTERM: finish the turn, save, stop. A second signal ends the process at once."""

    signal: int | None = None
    previous: dict[int, Any] = field(default_factory=dict)

    @contextmanager
    def listening(self) -> Iterator["Interrupt"]:
        def handle(number, _frame):
            self.signal = number
            signal.signal(number, signal.SIG_DFL)

        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self.previous[number] = signal.signal(number, handle)
        except ValueError:  # not in the main thread: signals are not ours
            pass
        try:
            yield self
        finally:
            for number, handler in self.previous.items():
                signal.signal(number, handler)


def create(sweep: Sweep, task: Task, run: Path) -> None:
    """Makes a run's folder with all its members waiting.

    Raises:
      SweepError: the folder is taken.
    """
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        hint = f"`jaxloop resume {run}` goes on with it, or" if exists(run) else "it is not empty;"
        raise SweepError(f"--out {run}: exists already; {hint} choose another folder")
    run.mkdir(parents=True, exist_ok=True)
    (run / "sweep.toml").write_text(sweep.toml())
    code = code_hash(sweep.document.run.task, sweep.folder)
    data = task.data.fingerprint()
    facts = {"name": run.name, "folder": str(sweep.folder), "code": code, "data": data}
    (run / "run.json").write_text(json.dumps({**facts, **provenance.collect(sweep.folder)}, indent=1))
    identity = [sweep.document.run.task, code, data, sweep.document.run.evaluate_every]
    with Store(run, create=True) as store:
        store.add_members(
            (digest([hparams, *identity]), digest({k: v for k, v in hparams.items() if k != "seed"}), hparams)
            for hparams in sweep.members
        )
        store.put(
            **facts,
            status="created",
            metric=sweep.document.evaluate.metric,
            mode=sweep.document.evaluate.mode,
        )
        store.put(varied=sweep.varied)


def train(run: Path, sweep: Sweep, task: Task, observe: Observer = lambda progress: None) -> dict[str, Any]:
    """Trains every member that has not ended, from the last checkpoint on.

    Returns:
      The summary that `population --json` prints; `signal` is set where a signal ended it early.

    Raises:
      LockedError: another process trains this run.
    """
    try:
        lock = filelock.FileLock(run / ".lock", timeout=0)
        lock.acquire()
    except filelock.Timeout:
        raise LockedError(f"{run}: locked by a running jaxloop; wait for it, or stop it") from None
    with lock, Store(run) as store, Interrupt().listening() as interrupt:
        return _Runner(run, sweep, task, store, observe, interrupt).train()


class _Runner:
    def __init__(self, run, sweep: Sweep, task: Task, store: Store, observe: Observer, interrupt: Interrupt):
        self.run, self.sweep, self.task, self.store = run, sweep, task, store
        self.observe, self.interrupt = observe, interrupt
        self.mesh = devices.member_mesh()
        self.buckets = buckets_.buckets(sweep)
        self.config = {m.number: m.config for m in store.members()}
        self.total_steps = sum(hparams["steps"] for hparams in sweep.members)
        self.writers: dict[int, summaries.MemberSummaries] = {}
        self.machines: list[buckets_.Machine] = []
        self.seconds = self.member_steps = 0
        self.turn = 0
        self.saved_at = time.monotonic()
        self.saved_turn = 0

    # from the last checkpoint to the end

    def train(self) -> dict[str, Any]:
        checkpoint = self.store.get("checkpoint") or {"turn": 0, "program": 0}
        resumed = self.store.get("status") != "created"
        self.turn = self.saved_turn = checkpoint["turn"]
        if resumed:
            self._rewind(checkpoint["turn"])
        self.store.put(status="running")
        statuses = {m.number: m.status for m in self.store.members()}
        for program, bucket in enumerate(self.buckets):
            waiting = deque(n for n in bucket.numbers if statuses[n] == Status.WAITING)
            if not waiting and all(statuses[n] != Status.RUNNING for n in bucket.numbers):
                continue
            machine = buckets_.compiled(self.sweep, self.task, bucket, self.mesh)
            self.machines.append(machine)
            self._announce(machine, resumed)
            restore = checkpoint["turn"] if any(statuses[n] == Status.RUNNING for n in bucket.numbers) else None
            self._stream(program, machine, waiting, restore)
            if self.interrupt.signal:
                break
        return self._summary()

    def _rewind(self, turn: int) -> None:
        self.store.rewind(turn)
        for member in self.store.members():
            folder = self._folder(member.number)
            if member.status in (Status.RUNNING, Status.WAITING) and folder.exists():
                summaries.cut(folder, member.step)
                if member.status == Status.WAITING:
                    shutil.rmtree(folder)
        for folder in (self.run / "finished").glob("[0-9]*"):
            if (folder.name.isdigit() and int(folder.name) > turn) or not folder.name.isdigit():
                shutil.rmtree(folder)

    def _announce(self, machine: buckets_.Machine, resumed: bool) -> None:
        self.store.add_metrics(machine.metrics)
        facts = {"capacity": machine.capacity, "width": machine.width, "devices": machine.mesh.size}
        self.store.put(**facts)
        if not resumed and len(self.machines) == 1:
            members = self.sweep.members
            values = {name: [m[name] for m in members if name in m] for name in members[0]}
            summaries.write_experiment(self.run / "members", values, machine.metrics)

    # one bucket

    def _stream(self, program: int, machine: buckets_.Machine, waiting: deque[int], restore: int | None) -> None:
        state, slots = machine.empty(), np.full(machine.capacity, -1, np.int32)
        if restore is not None:
            folder = self.run / "checkpoints"
            restored, slots = checkpoints.restore_population(folder, restore, machine.shapes)
            state, slots = machine.place(restored), slots.copy()
        members = self.sweep.members
        seated = [members[n] if n >= 0 else None for n in slots]
        first = members[machine.bucket.numbers[0]]
        columns = machine.slots([m or {**first, "steps": 0} for m in seated])
        data = machine.share(self.task)
        hparams, none_fresh = machine.place(columns), machine.place(np.zeros(machine.capacity, bool))
        steps = np.zeros(machine.capacity, np.int64)
        if restore is not None:
            steps[:] = np.asarray(jax.device_get(state.step))
        pending: Turn | None = None

        while True:
            free = np.flatnonzero(slots < 0)[: len(waiting)]
            admitted = [waiting.popleft() for _ in free]
            fresh = none_fresh
            if admitted:
                slots[free] = admitted
                steps[free] = 0
                for slot, number in zip(free, admitted, strict=True):
                    for name, column in columns.items():
                        column[slot] = members[number][name]
                mask = np.zeros(machine.capacity, bool)
                mask[free] = True
                # copies: a CPU device may read the host's memory in place
                fresh, hparams = machine.place((mask, {name: c.copy() for name, c in columns.items()}))
            if (slots < 0).all():
                break
            self.turn += 1
            started = time.perf_counter()
            state, record = machine.advance(hparams, state, fresh, data)
            if pending:
                self._write(pending, machine)
            record = jax.device_get(record)
            self.seconds += time.perf_counter() - started
            pending = self._turn(program, machine, slots, steps, admitted, state, record, not waiting)
            if self.interrupt.signal:
                break
        if pending:
            self._write(pending, machine)

    def _turn(self, program, machine, slots, steps, admitted, state, record, last) -> Turn:
        """Reads a finished turn: who has a new point, who leaves; frees the leavers' slots."""
        seated = np.flatnonzero(slots >= 0)
        numbers = slots[seated].copy()
        after = record["step"][seated].astype(np.int64)
        diverged = record["diverged"][seated]
        budget = np.array([self.sweep.members[n]["steps"] for n in numbers])
        self.member_steps += int((after - steps[seated]).sum())
        steps[seated] = after
        leaving = diverged | (after >= budget)
        leavers = [
            (int(n), Status.DIVERGED if sick else Status.FINISHED)
            for n, sick in zip(numbers[leaving], diverged[leaving], strict=True)
        ]
        params = {}
        if leavers and self.sweep.document.checkpoint.keep != "none":
            flat = jax.device_get(state.params)
            params = {
                int(n): machine.unravel(flat[slot])
                for n, slot in zip(numbers[leaving], seated[leaving], strict=True)
            }
        slots[seated[leaving]] = -1
        turn = Turn(
            self.turn,
            admitted,
            numbers,
            after,
            {name: record[name][seated] for name in machine.metrics},
            leavers,
            params,
            program=program,
        )
        ends = last and (slots < 0).all()
        if ends or self.interrupt.signal or self._due():
            # a copy: the next turn writes into the state's memory
            turn.state, turn.slots = jax.tree.map(np.array, jax.device_get(state)), slots.copy()
            self.saved_at, self.saved_turn = time.monotonic(), self.turn
        return turn

    def _due(self) -> bool:
        settings = self.sweep.document.checkpoint
        if (seconds := settings.seconds()) is not None:
            return time.monotonic() - self.saved_at >= seconds
        return (self.turn - self.saved_turn) * self.sweep.document.run.evaluate_every >= int(settings.every)

    # writing, while the devices run the next turn

    def _write(self, turn: Turn, machine: buckets_.Machine) -> None:
        """Commits a turn: files first, then the one transaction that makes them count."""
        finished = None
        if turn.params:
            finished = f"finished/{turn.number:08d}"
            checkpoints.save_members(self.run / finished, turn.params)
        self._summaries(turn)
        if turn.state is not None:
            assert turn.slots is not None
            checkpoints.save_population(self.run / "checkpoints", turn.number, turn.state, turn.slots)
        with self.store.transaction():
            self.store.admit(turn.admitted, turn.number)
            self.store.record(turn.number, turn.members.tolist(), turn.steps.tolist(), turn.metrics)
            self.store.retire(turn.number, turn.leavers, finished)
            if turn.state is not None:
                self.store.put(checkpoint={"turn": turn.number, "program": turn.program})
        if turn.state is not None:
            checkpoints.prune(self.run / "checkpoints")
        self.observe(
            Progress(
                self.store,
                self.run.name,
                turn.number,
                len(self.sweep.members),
                self.store.counts(),
                self.member_steps,
                self.total_steps,
                self.seconds,
                sum(m.compile_seconds for m in self.machines),
                turn.program + 1,
                len(self.buckets),
            )
        )

    def _summaries(self, turn: Turn) -> None:
        for number in turn.admitted:
            self.writers[number] = self._writer(number, announce=True)
        columns = {name: values.tolist() for name, values in turn.metrics.items()}
        leavers = dict(turn.leavers)
        for row, (number, step) in enumerate(zip(turn.members.tolist(), turn.steps.tolist(), strict=True)):
            writer = self.writers.get(number) or self._writer(number, announce=False)
            self.writers[number] = writer
            values = {name: column[row] for name, column in columns.items() if column[row] == column[row]}
            writer.scalars(step, values)
            if number in leavers:
                writer.end(success=leavers[number] == Status.FINISHED)
                del self.writers[number]
            writer.flush()

    def _writer(self, number: int, *, announce: bool) -> summaries.MemberSummaries:
        hparams = self.sweep.members[number]
        return summaries.MemberSummaries(self._folder(number), hparams, self.config[number], announce=announce)

    def _folder(self, number: int) -> Path:
        name = summaries.member_folder(number, self.sweep.members[number], self.sweep.varied)
        return self.run / "members" / name

    # the end

    def _summary(self) -> dict[str, Any]:
        counts, document = self.store.counts(), self.sweep.document
        status = "interrupted" if self.interrupt.signal else "finished"
        best = report.ranked(self.store, document.evaluate.metric, document.evaluate.mode, BEST_FOLDERS)
        if status == "finished":
            self._keep(best)
        seconds = self.seconds + (self.store.get("seconds") or 0.0)
        compiling = sum(m.compile_seconds for m in self.machines)
        rate = self.member_steps / self.seconds if self.seconds else self.store.get("rate", 0.0)
        self.store.put(status=status, seconds=seconds, rate=rate)
        summary = {
            "run": str(self.run),
            "status": status,
            "members": sum(counts.values()),
            "finished": counts[Status.FINISHED],
            "diverged": counts[Status.DIVERGED],
            "programs": len(self.buckets),
            "capacity": self.store.get("capacity"),
            "width": self.store.get("width"),
            "devices": self.store.get("devices"),
            "compile_seconds": round(compiling, 3),
            "seconds": round(seconds, 3),
            "member_steps_per_second": round(rate, 1),
            "best": best,
        }
        path = self.run / "run.json"
        timings = {name: value for name, value in summary.items() if name != "best"}
        path.write_text(json.dumps({**json.loads(path.read_text()), **timings}, indent=1))
        return {**summary, "signal": self.interrupt.signal}

    def _keep(self, best: list[dict[str, Any]]) -> None:
        """Gives the best configs' members checkpoint folders of their own; drops what `keep` does not name."""
        keep = self.sweep.document.checkpoint.keep
        if keep == "none":
            return
        wanted = best[: int(keep.removeprefix("best:"))] if keep.startswith("best:") else best
        for number in (n for config in wanted for n in config["members"]):
            target = self._folder(number) / "checkpoint"
            if not target.exists():
                checkpoints.save_one(target, member_params(self.run, self.sweep, self.task, self.store, number))
        if keep.startswith("best:"):
            with self.store.transaction() as connection:
                connection.execute("update members set finished = null")
            shutil.rmtree(self.run / "finished", ignore_errors=True)


def member_params(run: Path, sweep: Sweep, task: Task, store: Store, number: int) -> Any:
    """A retired member's final parameters, as host arrays in the task's own structure.

    Raises:
      NotFoundError: the member has not ended, or its parameters were not kept.
    """
    member = store.members("number = ?", (number,))[0]
    bucket = next(b for b in buckets_.buckets(sweep) if number in b.numbers)
    like = buckets_.params_shapes(task, bucket.static)
    if member.finished is not None:
        return checkpoints.restore_member(run / member.finished, number, like)
    own = run / "members" / summaries.member_folder(number, sweep.members[number], sweep.varied) / "checkpoint"
    if own.exists():
        return checkpoints.restore_one(own, like)
    raise NotFoundError(f"{run}: member {number} has no final parameters ({member.status}, or keep dropped them)")


def replay(run: Path, sweep: Sweep, task: Task, store: Store, number: int) -> dict[str, Any]:
    """Trains one member again with no neighbours and compares its curve with the recorded one.

    Returns:
      `largest_difference` over all metrics and points, and `points` compared.
    """
    bucket = next(b for b in buckets_.buckets(sweep) if number in b.numbers)
    alone = buckets_.Bucket(bucket.static, bucket.traced, [number])
    mesh = devices.member_mesh(store.get("devices"))
    machine = buckets_.compiled(sweep, task, alone, mesh, capacity=1, width=devices.NARROWEST)
    hparams = machine.place(machine.slots([sweep.members[number]]))
    fresh = machine.place(np.arange(machine.capacity) == 0)
    later = machine.place(np.zeros(machine.capacity, bool))
    state, data = machine.empty(), machine.share(task)
    recorded = {name: dict(zip(*_curve(store, name, number), strict=True)) for name in machine.metrics}
    largest, points, step = 0.0, 0, 0
    while True:
        state, record = machine.advance(hparams, state, fresh, data)
        record, fresh = jax.device_get(record), later
        step = int(record["step"][0])
        for name in machine.metrics:
            value = float(record[name][0])
            if step in recorded[name] and value == value:
                points += 1
                difference = abs(value - recorded[name][step])
                largest = max(largest, difference if value != recorded[name][step] else 0.0)
        if bool(record["diverged"][0]) or step >= sweep.members[number]["steps"]:
            break
    return {"member": number, "steps": step, "points": points, "largest_difference": largest}


def _curve(store: Store, metric: str, number: int) -> tuple[list[int], list[float]]:
    steps, values = store.curves(metric)
    kept = ~np.isnan(values[number])
    return steps[kept].tolist(), values[number][kept].tolist()
