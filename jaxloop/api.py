"""Python's face: run a sweep, load a run. The command line calls the same functions."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jaxloop import retired, runner, sweep
from jaxloop.checkpoints import Final
from jaxloop.declared import Namespace
from jaxloop.devices import prepare
from jaxloop.errors import NotFoundError, SweepError
from jaxloop.progress import Observer
from jaxloop.store import Member, Store, exists
from jaxloop.sweep import Sweep
from jaxloop.task import Task
from jaxloop.tasks import load as tasks


def read(path: str | Path, overrides: tuple[str, ...] = ()) -> tuple[Sweep, Task]:
    """A checked sweep and its task."""
    return _with_task(lambda names_of: sweep.load(Path(path), tuple(overrides), names_of))


def _with_task(check: Callable[[sweep.NamesOf], Sweep]) -> tuple[Sweep, Task]:
    """Checks a sweep against its task, which is loaded once."""
    loaded = []

    def names_of(name: str, folder: Path, options: dict[str, Any]) -> Namespace:
        loaded.append(tasks.load(name, folder, options))
        return Namespace(loaded[0].hparams, loaded[0].models)

    checked = check(names_of)
    return checked, loaded[0] if loaded else task_of(checked)


def task_of(checked: Sweep) -> Task:
    """The task that a sweep names, with its data."""
    document = checked.document
    try:
        return tasks.load(document.run.task, checked.folder, document.data)
    except SweepError as error:
        raise SweepError(checked.places.say(("data",), str(error))) from error


def free_folder(name: str) -> Path:
    """`runs/name`, or with the first free number behind it."""
    folder, number = Path("runs") / name, 2
    while folder.exists():
        folder, number = Path("runs") / f"{name}-{number}", number + 1
    return folder


def run(
    swept: str | Path | Sweep,
    *,
    out: str | Path | None = None,
    overrides: tuple[str, ...] = (),
    observe: Observer = lambda progress: None,
) -> "Run":
    """Trains a whole sweep and returns the finished run.

    Args:
      swept: a sweep file's path, or a checked Sweep.
      out: the run's own folder; by default a new one under runs/.
      overrides: such as "run.steps=100", of a sweep file.
      observe: called after each turn.
    """
    prepare()
    if not isinstance(swept, Sweep):
        checked, task = read(swept, overrides)
    elif overrides:
        raise TypeError("overrides go with a sweep file: a Sweep is checked already")
    else:
        checked, task = swept, task_of(swept)
    folder = Path(out) if out else free_folder(checked.name)
    runner.create(checked, task, folder)
    return Run(folder, runner.train(folder, checked, task, observe))


class Run:
    """A run's folder, to read.

    Attributes:
      path: the folder.
      summary: what `population --json` prints, where this process trained it.
    """

    def __init__(self, path: str | Path, summary: dict[str, Any] | None = None):
        self.path, self.summary = Path(path), summary
        self.store = Store(self.path)

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @cached_property
    def sweep_and_task(self) -> tuple[Sweep, Task]:
        """The sweep as run, and its task."""
        file, folder = self.path / "sweep.toml", Path(self.store.get("folder"))
        return _with_task(
            lambda names_of: sweep.parse(file.read_text(), (), str(file), folder, self.path.name, names_of)
        )

    @property
    def members(self) -> list[Member]:
        """All members in order, each with id, hparams, status, step and last metrics."""
        return self.store.members()

    def curves(self, metric: str) -> np.ndarray:
        """A metric's float32 values, (members, points); NaN where a member has none."""
        return self.store.curves(metric)[1]

    def steps(self) -> np.ndarray:
        """The (points,) int64 steps at which curves have values."""
        return self.store.steps()

    def params(self, member: Member | int | str) -> Any:
        """A retired member's final parameters, as host arrays in the task's own structure."""
        return self._final(member, "params")

    def average(self, member: Member | int | str) -> Any:
        """The average of a retired member's parameters over its steps, by its `ema_decay`."""
        return self._final(member, "average")

    def _final(self, member: Member | int | str, what: Final) -> Any:
        number = member.number if isinstance(member, Member) else self.store.member(str(member)).number
        return retired.final(self.path, *self.sweep_and_task, self.store, number, what)


def load(path: str | Path) -> Run:
    """Opens a run's folder.

    Raises:
      NotFoundError: there is no run.
    """
    path = Path(path)
    if not path.is_dir():
        one = f"; {path.parent} is one: give its member apart, {path.parent} {path.name}"
        raise NotFoundError(f"{path}: no such run{one if exists(path.parent) else '; `jaxloop ls` lists runs'}")
    return Run(path)
