"""Python's face: run a sweep, load a run. The command line calls the same functions."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxloop import retired, runner, sweep
from jaxloop.devices import use_every_core
from jaxloop.errors import NotFoundError
from jaxloop.store import Member, Store
from jaxloop.sweep import Sweep
from jaxloop.task import Task
from jaxloop.tasks import load as tasks


def read_sweep(path: str | Path, overrides: tuple[str, ...] = ()) -> Sweep:
    """A checked sweep, its own task's hparams included."""
    return sweep.load(Path(path), tuple(overrides), _task_hparams)


def _task_hparams(name: str, folder: Path) -> dict[str, Any]:
    return dict(tasks.load(name, folder, {}).hparams)


def task_of(checked: Sweep) -> Task:
    document = checked.document
    return tasks.load(document.run.task, checked.folder, document.data)


def free_folder(name: str) -> Path:
    """`runs/name`, or with the first free number behind it."""
    folder, number = Path("runs") / name, 2
    while folder.exists():
        folder, number = Path("runs") / f"{name}-{number}", number + 1
    return folder


def run(
    swept: str | Path | Sweep, *, out: str | Path | None = None, set: tuple[str, ...] = (), observe=None
) -> "Run":
    """Trains a whole sweep and returns the finished run.

    Args:
      swept: a sweep file's path, or a checked Sweep.
      out: the run's own folder; by default a new one under runs/.
      set: overrides such as "run.steps=100".
    """
    use_every_core()
    checked = swept if isinstance(swept, Sweep) else read_sweep(swept, set)
    folder = Path(out) if out else free_folder(checked.name)
    task = task_of(checked)
    runner.create(checked, task, folder)
    summary = runner.train(folder, checked, task, observe or (lambda progress: None))
    return Run(folder, summary)


class Run:
    """A run's folder, to read.

    Attributes:
      path: the folder.
      summary: what `population --json` prints, where this process trained it.
    """

    def __init__(self, path: str | Path, summary: dict[str, Any] | None = None):
        self.path, self.summary = Path(path), summary
        self.store = Store(self.path)

    @property
    def sweep(self) -> Sweep:
        """The sweep as run."""
        text = (self.path / "sweep.toml").read_text()
        folder = Path(self.store.get("folder"))
        return sweep.parse(text, (), str(self.path / "sweep.toml"), folder, self.path.name, _task_hparams)

    @property
    def members(self) -> list[Member]:
        """All members in order, each with id, hparams, status, step and last metrics."""
        return self.store.members()

    def curves(self, metric: str) -> np.ndarray:
        """A metric's float32 values, (members, points); NaN where a member has none."""
        return self.store.curves(metric)[1]

    def steps(self) -> np.ndarray:
        """The (points,) steps at which curves have values."""
        return self.store.curves(self.store.metric_names()[0])[0]

    def params(self, member: Member | int | str) -> Any:
        """A retired member's final parameters, as host arrays in the task's own structure."""
        number = member.number if isinstance(member, Member) else self.store.member(str(member)).number
        checked = self.sweep
        return retired.params(self.path, checked, task_of(checked), self.store, number)


def load(path: str | Path) -> Run:
    """Opens a run's folder.

    Raises:
      NotFoundError: there is no run.
    """
    if not Path(path).is_dir():
        raise NotFoundError(f"{path}: no such run; `jaxloop ls` lists runs")
    return Run(path)
