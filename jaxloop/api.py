"""Python's face: run a sweep, load a run. The command line calls the same functions."""

import os
import tomllib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxloop.core.task import Task
from jaxloop.errors import DamagedError, NotFoundError, SweepError
from jaxloop.storage import final_parameters, lock, run_folder
from jaxloop.storage.disk import RUNS
from jaxloop.storage.records import Member
from jaxloop.storage.snapshot import Final
from jaxloop.storage.store import Store
from jaxloop.sweep import sweep
from jaxloop.sweep.hparams import Namespace
from jaxloop.sweep.sweep import Sweep
from jaxloop.tasks import load as tasks
from jaxloop.training import create, processes, train
from jaxloop.training.host import prepare
from jaxloop.training.progress import Observer
from jaxloop.training.scheduler import RunToBudget, Scheduler
from jaxloop.training.schedulers.halving import Halving
from jaxloop.training.summary import Summary


def read(path: str | Path, overrides: tuple[str, ...] = ()) -> tuple[Sweep, Task]:
    """Return a checked sweep and its task."""
    return _with_task(lambda names_of: sweep.load(Path(path), tuple(overrides), names_of))


def _with_task(check: Callable[[sweep.NamesOf], Sweep]) -> tuple[Sweep, Task]:
    """Check a sweep against its task, which is loaded once."""
    loaded = []

    def names_of(name: str, folder: Path, options: dict[str, Any]) -> Namespace:
        loaded.append(tasks.load(name, folder, options))
        return Namespace(loaded[0].hparams, loaded[0].models)

    checked = check(names_of)
    return checked, loaded[0] if loaded else task_of(checked)


def task_of(checked: Sweep) -> Task:
    """Return the task that a sweep names, with its data."""
    document = checked.document
    try:
        return tasks.load(document.run.task, checked.folder, document.data)
    except SweepError as error:
        raise SweepError(checked.source_map.say(("data",), str(error))) from error


SCHEDULERS: dict[str, Callable[[Sweep, Store], Scheduler]] = {
    "budget": lambda sweep, store: RunToBudget(),
    "halving": Halving,
}


class Ready(NamedTuple):
    """A run that is created or opened, ready to be trained.

    Attributes:
      folder: the run's own.
      sweep: its members in the order of their numbers.
      task: what they train.
    """

    folder: Path
    sweep: Sweep
    task: Task

    def train(
        self,
        observe: Observer = lambda progress: None,
        *,
        allow_drift: bool = False,
        scheduler: Scheduler | None = None,
    ) -> Summary:
        """Train all members that have not ended; see `training.train`. All commands and functions end here."""
        decides = self._scheduler if scheduler is None else lambda store: scheduler
        return train.train(self.folder, self.sweep, self.task, observe, allow_drift=allow_drift, scheduler=decides)

    def _scheduler(self, store: Store) -> Scheduler:
        """Return the scheduler that the sweep asks for."""
        if self.sweep.document.loop:
            from jaxloop.experiments.driver import Driver  # SciPy's statistics take a second: for loops alone

            return Driver(self.sweep, store)
        return SCHEDULERS[self.sweep.document.population.scheduler](self.sweep, store)


def run(
    swept: str | Path | Sweep,
    *,
    out: str | Path | None = None,
    overrides: tuple[str, ...] = (),
    observe: Observer = lambda progress: None,
    scheduler: Scheduler | None = None,
) -> "Run":
    """Train a whole sweep and return the finished run.

    Args:
      swept: a sweep file's path, or a checked Sweep.
      out: the run's own folder; by default a new one under runs/.
      overrides: such as "run.steps=100", of a sweep file.
      observe: called after each turn with its `Progress`.
      scheduler: decides at the end of each chunk which members stop or pause; by default all take all their steps.

    Raises:
      SweepError: the sweep breaks a rule, or the folder is taken; nothing was written.
      ResourceError: memory or disk ran out; what was saved is whole.
    """
    ready = created(swept, out, overrides)
    return Run(ready.folder, ready.train(observe, scheduler=scheduler))


def loop(
    file: str | Path,
    *,
    out: str | Path | None = None,
    overrides: tuple[str, ...] = (),
    observe: Observer = lambda progress: None,
) -> "Run":
    """Run a loop to its end: propose, screen, confirm and judge in rounds, then audit the winner.

    Args:
      file: a sweep with a [loop], whose [axes] are the search space.
      out: the run's own folder; by default a new one under runs/.
      overrides: such as "loop.rounds=5".
      observe: called after each turn with its `Progress`.

    Raises:
      SweepError: the file breaks a rule, or the folder is taken; nothing was written.
      ResourceError: memory or disk ran out; what was saved is whole, and `resume` continues the loop.
    """
    ready = created(file, out, overrides, is_loop=True)
    return Run(ready.folder, ready.train(observe))


def resume(
    path: str | Path,
    *,
    overrides: tuple[str, ...] = (),
    allow_drift: bool = False,
    folder: str | Path | None = None,
    observe: Observer = lambda progress: None,
    scheduler: Scheduler | None = None,
) -> "Run":
    """Continue a run from its last whole checkpoint.

    Args:
      path: the run's folder.
      overrides: such as "axes.seed.count=8": a run may get more members, and other intervals, capacity or metric.
      allow_drift: continue although code, data or libraries have changed since it was last started; recorded.
      folder: where the sweep's task and data are now, if they have been moved without the run.
      observe: called after each turn with its `Progress`.
      scheduler: as of `run`; without one, paused members go on and stopped ones stay stopped.

    Raises:
      NotFoundError: there is no run.
      SweepError: the overrides change what a run's members share.
      DamagedError: no whole checkpoint is left, or something has drifted.
      LockedError: another process trains the run.
    """
    run, ready = resumed(path, overrides, folder)
    run._summary = ready.train(observe, allow_drift=allow_drift, scheduler=scheduler)
    return run


def attempt(
    path: str | Path,
    changed: tuple[str, ...],
    because: str,
    *,
    expected: float | None = None,
    planned: int | None = None,
    observe: Observer = lambda progress: None,
) -> dict[str, Any]:
    """Test one hypothesis against the incumbent of a loop that has ended, by the loop's own protocol.

    Args:
      path: the loop's run.
      changed: hparams that differ from the incumbent, such as "learning_rate=3e-3".
      because: the hypothesis, in words.
      expected: the effect that is predicted, in units of the metric.
      planned: how many tries are planned in all, each with an equal share of what alpha is left for them; without
        it, try r gets 1 / (r (r + 1)) of it.
      observe: called after each turn with its `Progress`.

    Returns:
      The ledger's record of the experiment, with its verdict.

    Raises:
      SweepError: the run has no loop, an hparam is unknown or out of bounds, the same has been tried with a clear
        verdict, or no alpha is left.
    """
    run, ready = attempted(path, changed, because, expected, planned)
    with run:
        if ready.train(observe).signal:
            raise KeyboardInterrupt  # what is done is saved, and `resume` ends the try
        return run.ledger[-1]


def attempted(
    path: str | Path, changed: tuple[str, ...], because: str, expected: float | None, planned: int | None
) -> tuple["Run", Ready]:
    """Record a hypothesis in the ledger of a loop, for `Ready.train` to test; see `attempt`."""
    from jaxloop.experiments.tries import check_can_try

    run, ready = resumed(path)
    document = ready.sweep.document
    if document.loop is None:
        raise SweepError(f"{path}: has no [loop], and so no incumbent")
    axes = document.axes
    sections = [f"{'baseline' if each.partition('=')[0] in axes else 'hparams'}.{each}" for each in changed]
    wanted, _ = run.read(tuple(sections))
    names = [each.partition("=")[0] for each in changed]
    values = {name: wanted.members[0][name] for name in names}
    record = {"changed": values, "because": because, "expected": expected, "planned": planned}
    with lock.held(run.path), run.store.transaction():
        check_can_try(run.path, document.loop, run.ledger, values)
        run.store.append(run.store.checkpoint["turn"], [{"kind": "hypothesis", **record}])
    return run, ready


def fork(
    path: str | Path,
    *,
    out: str | Path | None = None,
    overrides: tuple[str, ...] = (),
    folder: str | Path | None = None,
    observe: Observer = lambda progress: None,
) -> "Run":
    """Train a new run from the sweep of another, with today's code, data and libraries.

    Args:
      path: the other run's folder.
      out: the new run's own folder; by default a free one beside the other.
      overrides: such as "run.steps=100".
      folder: where the other's task and data are now, if they have been moved without it.
      observe: called after each turn with its `Progress`.
    """
    ready = forked(path, out, overrides, folder)
    return Run(ready.folder, ready.train(observe))


def created(
    swept: str | Path | Sweep,
    out: str | Path | None = None,
    overrides: tuple[str, ...] = (),
    *,
    is_loop: bool = False,
) -> Ready:
    """Create a run with all its members waiting; see `run` and `loop`."""
    prepare()
    if not isinstance(swept, Sweep):
        checked, task = read(swept, overrides)
    elif overrides:
        raise TypeError("overrides go with a sweep file: a Sweep is checked already")
    else:
        checked, task = swept, task_of(swept)
    sweep.check_kind(checked, is_loop=is_loop)
    return Ready(create.create(checked, task, Path(out or RUNS / checked.name), numbered=not out), checked, task)


def resumed(
    path: str | Path, overrides: tuple[str, ...] = (), folder: str | Path | None = None
) -> tuple["Run", Ready]:
    """Open a run to continue it; see `resume`. The run's new members join it once it is trained."""
    prepare_for(path)
    run = opened(path, folder)
    return run, Ready(run.path, *run.changed(overrides))


def forked(
    path: str | Path, out: str | Path | None, overrides: tuple[str, ...], folder: str | Path | None = None
) -> Ready:
    """Create a run from the sweep of another; see `fork`."""
    prepare()
    with opened(path, folder) as run:
        checked, task = run.read(overrides, "written")
        origin = str(run.path.absolute())
        new = create.create(checked, task, Path(out or origin), numbered=not out, forked_from=origin)
    return Ready(new, checked, task)


class Run:
    """A run's folder, to read.

    Attributes:
      path: the folder.
      folder: where the sweep's task and data are now, if that has been said.
    """

    def __init__(
        self,
        path: str | Path,
        summary: Summary | None = None,
        store: Store | None = None,
        folder: str | Path | None = None,
    ) -> None:
        self.path, self._summary = Path(path), summary
        self.folder = Path(folder).absolute() if folder else None
        self.store = store or Store(self.path)

    def close(self) -> None:
        """Close the run's store."""
        self.store.close()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def summary(self) -> Summary:
        """How the run has ended.

        Raises:
          NotFoundError: this process has not trained it.
        """
        if self._summary is None:
            raise NotFoundError(f"{self.path}: was loaded, and only the process that trains a run has its summary")
        return self._summary

    @cached_property
    def sweep_and_task(self) -> tuple[Sweep, Task]:
        """The sweep as run, its members in the order of their numbers, and its task."""
        return self.changed(())

    def changed(self, overrides: tuple[str, ...]) -> tuple[Sweep, Task]:
        """Return the sweep with some keys overridden, its new members after the existing ones, and its task.

        Raises:
          SweepError: a rule is broken, or the sweep has lost a member of the run.
        """
        try:
            checked, task = self.read(overrides)
        except SweepError as error:
            if overrides and self._is_for_a_fork(overrides):
                raise SweepError(f"{error}\n{create.for_a_fork(self.path)}") from error
            raise
        align = create.aligned if overrides else create.as_recorded
        return align(checked, self.store), task

    def read(self, overrides: tuple[str, ...], which: Literal["sweep", "written"] = "sweep") -> tuple[Sweep, Task]:
        """Return the recorded sweep with some keys overridden, and its task.

        Args:
          overrides: such as "run.steps=100".
          which: with every default written out, or as the user wrote it.

        Raises:
          SweepError: a rule is broken.
          DamagedError: the task's code lies in the run's folder: jaxloop runs nothing from there.
        """
        if self.folder and not self.folder.is_dir():
            raise SweepError(f"--folder: {self.folder} is {'a file' if self.folder.exists() else 'no folder'}")
        text, source = (
            self.store.sweep if which == "sweep" else self.store.written,
            str(run_folder.sweep(self.path)),
        )
        folder = self.folder or self._sweep_folder()

        def read(names_of: sweep.NamesOf) -> Sweep:
            def of_ours(name: str, *rest: Any) -> Namespace:
                file = tasks.task_file(name, folder)
                if file and file.resolve().is_relative_to(self.path.resolve()):
                    raise DamagedError(f"{file}: lies in the run's folder, and jaxloop runs no code from there")
                if file and not file.exists():
                    raise SweepError(f"no file {file}: if it has been moved, pass its new folder with --folder")
                return names_of(name, *rest)

            return sweep.parse(text, overrides, source, folder, self.path.name, of_ours)

        return _with_task(read)

    def _sweep_folder(self) -> Path:
        """Return what the sweep's paths are relative to: moved together with the run, or where it was."""
        recorded = Path(self.store.folder)
        beside = self.store.folder_from_run
        moved = Path(os.path.normpath(self.path.resolve() / beside)) if beside else recorded
        try:
            document = tomllib.loads(self.store.sweep)
            gone = tasks.missing(document["run"]["task"], moved, document.get("data", {}))
        except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError):  # reported when the sweep is parsed
            return recorded
        return recorded if gone else moved

    def _is_for_a_fork(self, overrides: tuple[str, ...]) -> bool:
        """Return whether overrides suit the sweep as the user wrote it, though not with its defaults."""
        try:
            self.read(overrides, "written")
        except SweepError:
            return False
        return True

    @property
    def ledger(self) -> list[dict[str, Any]]:
        """What a loop has recorded, in order: proposals, experiments with their verdicts, rounds, the audit."""
        return self.store.ledger()

    @property
    def members(self) -> list[Member]:
        """All members in order, each with id, hparams, status, step and last metrics."""
        return self.store.members()

    def curves(self, metric: str) -> np.ndarray:
        """Return a metric's float32 values, (members, points); NaN where a member has none."""
        return self.store.curves(metric)[1]

    def steps(self) -> np.ndarray:
        """Return the (points,) int64 steps at which curves have values."""
        return self.store.steps()

    def params(self, member: Member | int | str) -> Any:
        """Return a retired member's final parameters, as host arrays in the task's own structure."""
        return self._final(member, "params")

    def average(self, member: Member | int | str) -> Any:
        """Return the average of a retired member's parameters over its steps, by its `ema_decay`."""
        return self._final(member, "average")

    def _final(self, member: Member | int | str, what: Final) -> Any:
        prepare()  # JAX starts with this, and a run that this process trains next wants all cores
        number = member.number if isinstance(member, Member) else self.store.member(str(member)).number
        return final_parameters.final(self.path, *self.sweep_and_task, self.store, number, what)


def load(path: str | Path, *, folder: str | Path | None = None) -> Run:
    """Open a run's folder.

    Args:
      path: the run's folder.
      folder: where the sweep's task and data are now, if they have been moved without the run.

    Raises:
      NotFoundError: there is no run.
    """
    return Run(path, folder=folder)


def prepare_for(path: str | Path) -> None:
    """Set JAX up to have a run's own bits: with the devices it began on, and its threads. Call before JAX starts.

    One of several processes takes what all of them have: it cannot open the store before they talk to each other.

    Raises:
      NotFoundError, DamagedError: there is no run, or its store cannot be read.
    """
    if processes.are_several():
        prepare()
        return
    with Store(Path(path)) as store:
        prepare(store.devices, (store.place or {}).get("threads"))


def opened(path: str | Path, folder: str | Path | None = None) -> Run:
    """Open a run to train it, maybe together with other processes: the first has its store, the others copies.

    Raises:
      NotFoundError: there is no run.
    """
    if processes.leads():
        run = load(path, folder=folder)
        processes.broadcast(run.store.content() if processes.are_several() else b"")
        return run
    return Run(path, store=Store(Path(path), content=processes.broadcast(b"")), folder=folder)
