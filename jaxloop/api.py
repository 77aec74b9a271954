"""Python's face: run a sweep, load a run. The command line calls the same functions."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxloop.core.task import Task
from jaxloop.errors import SweepError
from jaxloop.readers.run import Run, load
from jaxloop.storage import lock
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

if TYPE_CHECKING:
    from jaxloop.experiments.advice import Finding


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
        while self.sweep.document.loop and not summary.signal and self._train_other_code(observe):
            with opened(self.folder) as run:
                checked, task = run.changed(())
            summary = train.train(self.folder, checked, task, observe, scheduler=decides)
        return summary

    def _train_other_code(self, observe: Observer) -> bool:
        """Train what a try of another task waits for, in a run beside this one; return whether there was any."""
        from jaxloop.experiments import codes

        if processes.are_several():  # and none of them has such a try
            return False
        with Store(self.folder) as store:
            wanted = codes.waited_for(store.ledger())
            if wanted is None:
                return False
            swept = codes.swept(self.sweep, store, wanted["task"], wanted["config"], wanted["seeds"])
        other, seeds = codes.folder(self.folder, wanted["round"]), wanted["seeds"]
        if exists(other):
            with opened(other) as run:
                had = [member.hparams["seed"] for member in run.members]
                ready = Ready(other, *run.changed((f"axes.seed.values={sorted({*had, *seeds})}",)))
        else:
            ready = Ready(create.create(*swept, other, numbered=False), *swept)
        if ready.train(observe).signal:
            raise KeyboardInterrupt  # what is done is saved, and `resume` of the loop's run ends the try
        return True

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
) -> Run:
    """Train a whole sweep and return the finished run.

    Args:
      swept: a sweep file's path, or a checked Sweep.
      out: the run's own folder; by default a new one under runs/.
      overrides: such as "run.steps=100", of a sweep file.
      observe: called after each turn with its `Progress`.
      scheduler: decides at the end of each chunk which members stop, pause or join; by default the sweep's
        `population.scheduler`.

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
) -> Run:
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
) -> Run:
    """Continue a run from its last whole checkpoint.

    Args:
      path: the run's folder.
      overrides: such as "axes.seed.count=8": a run may get more members, and other intervals, capacity or metric.
      allow_drift: continue although code, data or libraries have changed since it was last started; recorded.
      folder: where the sweep's task and data are now, if they have been moved without the run.
      observe: called after each turn with its `Progress`.
      scheduler: as of `run`; stopped members stay stopped.

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
    task: str = "",
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
      task: another, "file.py:name", that trains the changed config in a run beside this one: a change of code.
      observe: called after each turn with its `Progress`.

    Returns:
      The ledger's record of the experiment, with its verdict.

    Raises:
      SweepError: the run has no loop, an hparam is unknown or out of bounds, the same has been tried with a clear
        verdict, or no alpha is left.
    """
    run, ready = attempted(path, changed, because, expected=expected, planned=planned, task=task)
    with run:
        if ready.train(observe).signal:
            raise KeyboardInterrupt  # what is done is saved, and `resume` ends the try
        return run.ledger[-1]


def attempted(
    path: str | Path,
    changed: tuple[str, ...],
    because: str,
    *,
    expected: float | None = None,
    planned: int | None = None,
    task: str = "",
) -> tuple[Run, Ready]:
    """Record a hypothesis in the ledger of a loop, for `Ready.train` to test; see `attempt`."""
    from jaxloop.experiments import codes
    from jaxloop.experiments.tries import check_can_try

    spec = codes.named(task) if task else ""
    run, ready = resumed(path)
    document = ready.sweep.document
    if document.loop is None:
        raise SweepError(f"{path}: has no [loop], and so no incumbent")
    axes = document.axes
    sections = [f"{'baseline' if each.partition('=')[0] in axes else 'hparams'}.{each}" for each in changed]
    wanted, _ = run.read(tuple(sections))
    names = [each.partition("=")[0] for each in changed]
    values = {name: wanted.members[0][name] for name in names}
    record = {"changed": values, "because": because, "expected": expected, "planned": planned, "task": spec}
    if spec:  # fail before anything is recorded
        config = {**codes.incumbent_of(run.ledger, ready.sweep), **values}
        codes.swept(ready.sweep, run.store, spec, config, [0])
        codes.refuse_stale(run.path, run.ledger)
    with lock.held(run.path), run.store.transaction():
        check_can_try(run.path, document.loop, run.ledger, values, spec)
        run.store.append(run.store.checkpoint["turn"], [{"kind": "hypothesis", **record}])
    return run, ready


def advice(path: str | Path) -> "list[Finding]":
    """Return what the results of a run suggest to try next: importances, ends of axes, gaps, open questions.

    Args:
      path: the folder of a run, which may still train.

    Raises:
      NotFoundError: there is no run.
    """
    from jaxloop.experiments import advice as advising

    with Store(Path(path)) as store:
        return advising.advice(sweep.parse(store.sweep, source=str(path)), store)


def fork(
    path: str | Path,
    *,
    out: str | Path | None = None,
    overrides: tuple[str, ...] = (),
    folder: str | Path | None = None,
    observe: Observer = lambda progress: None,
) -> Run:
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
