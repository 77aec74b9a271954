"""Runs that are ready to be trained: created, or opened to continue."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from jaxloop.core.task import Task
from jaxloop.readers.run import Run, load
from jaxloop.storage.destination import RUNS
from jaxloop.storage.run_folder import exists
from jaxloop.storage.store import Store
from jaxloop.sweep import sweep
from jaxloop.sweep.sweep import Sweep
from jaxloop.tasks.of_sweep import read, task_of
from jaxloop.training import create, processes, train
from jaxloop.training.host import prepare
from jaxloop.training.progress import Observer
from jaxloop.training.scheduler import Scheduler
from jaxloop.training.schedulers import SCHEDULERS
from jaxloop.training.summary import Summary


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
        summary = train.train(
            self.folder, self.sweep, self.task, observe, allow_drift=allow_drift, scheduler=decides
        )
        while self.sweep.document.loop and not summary.signal and (other := self._train_other_code(observe)):
            if other.signal:
                return replace(summary, signal=other.signal)
            with opened(self.folder) as run:
                checked, task = run.changed(())
            summary = train.train(self.folder, checked, task, observe, scheduler=decides)
        return summary

    def _train_other_code(self, observe: Observer) -> Summary | None:
        """Train the members of another task that a try waits for, in a separate run; None if no try does."""
        from jaxloop.experiments import code_tries

        if processes.are_several():  # `try --task` is refused there
            return None
        with Store(self.folder) as store:
            wanted = code_tries.waited_for(store.ledger())
            if wanted is None:
                return None
            swept = code_tries.sweep_for_task(self.sweep, store, wanted["task"], wanted["config"], wanted["seeds"])
        other, seeds = code_tries.folder(self.folder, wanted["round"]), wanted["seeds"]
        if exists(other):
            with opened(other) as run:
                had = [member.hparams["seed"] for member in run.members]
                ready = Ready(other, *run.changed((f"axes.seed.values={sorted({*had, *seeds})}",)))
        else:
            ready = Ready(create.create(*swept, other, numbered=False), *swept)
        return ready.train(observe)

    def _scheduler(self, store: Store) -> Scheduler:
        """Return the scheduler that the sweep asks for."""
        if self.sweep.document.loop:
            from jaxloop.experiments.driver import Driver  # SciPy's statistics take a second: for loops alone

            return Driver(self.sweep, store)
        return SCHEDULERS[self.sweep.document.population.scheduler](self.sweep, store)


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
) -> tuple[Run, Ready]:
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
