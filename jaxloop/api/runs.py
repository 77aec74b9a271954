"""Run to completion from Python: a sweep, a loop, a resumed run, a fork."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from jaxloop.api.ready import created, forked, resumed
from jaxloop.readers.run import Run
from jaxloop.sweep.sweep import Sweep
from jaxloop.training.progress import Observer
from jaxloop.training.scheduler import Scheduler


def run(
    swept: str | Path | Sweep,
    *,
    out: str | Path | None = None,
    overrides: tuple[str, ...] = (),
    observe: Observer | None = None,
    progress: bool = True,
    scheduler: Scheduler | None = None,
) -> Run:
    """Train a whole sweep and return the finished run.

    Args:
      swept: a sweep file's path, or a checked Sweep.
      out: the run's own folder; by default a new one under runs/.
      overrides: such as "run.steps=100", of a sweep file.
      observe: called after each turn with its `Progress`, in place of the panel.
      progress: whether a panel is shown in a terminal or a notebook; elsewhere there is none.
      scheduler: decides at the end of each chunk which members stop, pause or join; by default the sweep's
        `population.scheduler`.

    Raises:
      SweepError: the sweep breaks a rule, or the folder is taken; nothing was written.
      ResourceError: memory or disk ran out; what was saved is whole, and `resume` continues the run.
    """
    with _shown(observe, progress) as observer:
        ready = created(swept, out, overrides)
        return Run(ready.folder, ready.train(observer, scheduler=scheduler))


def loop(
    file: str | Path,
    *,
    out: str | Path | None = None,
    overrides: tuple[str, ...] = (),
    observe: Observer | None = None,
    progress: bool = True,
) -> Run:
    """Run a loop to its end: propose, screen, confirm and judge in rounds, then audit the winner.

    Args:
      file: a sweep with a [loop], whose [axes] are the search space.
      out: the run's own folder; by default a new one under runs/.
      overrides: such as "loop.rounds=5".
      observe: called after each turn with its `Progress`, in place of the panel.
      progress: whether a panel is shown in a terminal or a notebook; elsewhere there is none.

    Raises:
      SweepError: the file breaks a rule, or the folder is taken; nothing was written.
      ResourceError: memory or disk ran out; what was saved is whole, and `resume` continues the loop.
    """
    with _shown(observe, progress) as observer:
        ready = created(file, out, overrides, is_loop=True)
        return Run(ready.folder, ready.train(observer))


def resume(
    path: str | Path,
    *,
    overrides: tuple[str, ...] = (),
    allow_drift: bool = False,
    folder: str | Path | None = None,
    observe: Observer | None = None,
    progress: bool = True,
    scheduler: Scheduler | None = None,
) -> Run:
    """Continue a run from its last whole checkpoint.

    Args:
      path: the run's folder.
      overrides: such as "axes.seed.count=8": a run may get more members, and other intervals, capacity or metric.
        With "run.steps=4000" finished members continue training, where their learning rates are constant.
      allow_drift: continue although code, data or libraries have changed since it was last started; recorded.
      folder: where the sweep's task and data are now, if they have been moved without the run.
      observe: called after each turn with its `Progress`, in place of the panel.
      progress: whether a panel is shown in a terminal or a notebook; elsewhere there is none.
      scheduler: as of `run`; stopped members stay stopped.

    Raises:
      NotFoundError: there is no run.
      SweepError: the overrides change what a run's members share.
      DamagedError: no whole checkpoint is left, or something has drifted.
      LockedError: another process trains the run.
      ResourceError: memory or disk ran out; what was saved is whole.
    """
    with _shown(observe, progress) as observer:
        run, ready = resumed(path, overrides, folder)
        run._summary = ready.train(observer, allow_drift=allow_drift, scheduler=scheduler)
        return run


def fork(
    path: str | Path,
    *,
    out: str | Path | None = None,
    overrides: tuple[str, ...] = (),
    folder: str | Path | None = None,
    observe: Observer | None = None,
    progress: bool = True,
) -> Run:
    """Train a new run from the sweep of another, with today's code, data and libraries.

    Args:
      path: the other run's folder.
      out: the new run's own folder; by default a free one beside the other.
      overrides: such as "run.steps=100".
      folder: where the other's task and data are now, if they have been moved without it.
      observe: called after each turn with its `Progress`, in place of the panel.
      progress: whether a panel is shown in a terminal or a notebook; elsewhere there is none.

    Raises:
      NotFoundError: there is no run to fork.
      SweepError: the sweep breaks a rule, or the folder is taken; nothing was written.
      ResourceError: memory or disk ran out; what was saved is whole, and `resume` continues the new run.
    """
    with _shown(observe, progress) as observer:
        ready = forked(path, out, overrides, folder)
        return Run(ready.folder, ready.train(observer))


def _shown(observe: Observer | None, progress: bool) -> AbstractContextManager[Observer]:
    """Return what observes a run: the caller's, or a panel where one can be seen."""
    if observe or not progress:
        return nullcontext(observe or (lambda seen: None))
    from jaxloop.readers.terminal.panel import Panel, console, is_live
    from jaxloop.training import processes

    if processes.are_several():
        return nullcontext(lambda seen: None)
    return Panel(to_stderr=True) if is_live(console(stderr=True)) else nullcontext(lambda seen: None)
