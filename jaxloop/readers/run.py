"""A run's folder in Python: its members, curves, parameters and ledger, and its sweep to go on from."""

import os
import tomllib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jaxloop.core.finals import Final
from jaxloop.core.task import Task
from jaxloop.errors import DamagedError, NotFoundError, SweepError
from jaxloop.storage import final_parameters, run_folder
from jaxloop.storage.ranking import RankedConfig, ranked
from jaxloop.storage.records import Member
from jaxloop.storage.store import Store
from jaxloop.sweep import sweep
from jaxloop.sweep.hparams import Namespace
from jaxloop.sweep.suggest import unknown
from jaxloop.sweep.sweep import Sweep
from jaxloop.tasks import load as tasks
from jaxloop.tasks.of_sweep import with_task
from jaxloop.training import growth
from jaxloop.training.host import prepare
from jaxloop.training.summary import Summary

if TYPE_CHECKING:
    from jaxloop.readers.plots import Plots


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
            instead = "see run.ranking, run.notes and run.members"
            raise NotFoundError(f"{self.path}: only the process that trained a run has its summary: {instead}")
        return self._summary

    @property
    def ranking(self) -> list[RankedConfig]:
        """All configs, best first by the last value of the ranked metric, with means over their seeds."""
        return ranked(self.store)

    @property
    def notes(self) -> list[str]:
        """What a reader of the results should know, such as likely mistakes of the task."""
        return self.store.notes

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
                raise SweepError(f"{error}\n{growth.for_a_fork(self.path)}") from error
            raise
        align = growth.aligned if overrides else growth.as_recorded
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

        return with_task(read)

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
        """Return a metric's float32 values, (members, points); NaN where a member has none.

        Raises:
          NotFoundError: there is no such metric, or its values are arrays (`arrays`).
        """
        return self.store.curves(metric)[1]

    def arrays(self, member: Member | int | str) -> dict[str, dict[int, np.ndarray]]:
        """Return the arrays that were measured of a member, float32, by metric and step."""
        number = member.number if isinstance(member, Member) else self.store.member(str(member)).number
        return self.store.arrays(number)

    def steps(self) -> np.ndarray:
        """Return the (points,) int64 steps at which curves have values."""
        return self.store.steps()

    @property
    def plot(self) -> "Plots":
        """The report's figures, drawn by matplotlib.

        `.curves()` and `.heatmap(across, up)`; of a loop `.incumbent()` and `.verdicts()`, too.
        """
        from jaxloop.readers.plots import Plots

        return Plots(self.store)

    def frame(self, what: Literal["members", "curves"] = "members") -> Any:
        """Return a table as a pandas DataFrame, or a polars one where only that is installed.

        Args:
          what: "members", a row a member: facts, hparams, last metrics; or "curves", a row a member and step.

        Raises:
          SweepError: there is no such table, or neither library is installed.
        """
        from jaxloop.readers import rows

        if what not in (tables := ("members", "curves")):
            raise SweepError(unknown("table", what, tables))
        return rows.frame(rows.of_members(self.members) if what == "members" else rows.of_curves(self.store))

    def __repr__(self) -> str:
        from jaxloop.storage import state

        return f"<jaxloop.Run {self.path}: {state.state(self.store).members_in_words()}>"

    def __str__(self) -> str:
        """Return where the run stands, and its best configs as a table."""
        from jaxloop.readers.tables import best_text

        return best_text(self.store)

    def _repr_html_(self) -> str:
        """Show a notebook the best configs."""
        from jaxloop.readers.tables import best_html

        return best_html(self.store)

    def params(self, member: Member | int | str) -> Any:
        """Return a retired member's final parameters, as host arrays in the task's own structure."""
        return self.final(member, "params")

    def average(self, member: Member | int | str) -> Any:
        """Return the average of a retired member's parameters over its steps, by its `ema_decay`."""
        return self.final(member, "average")

    def state(self, member: Member | int | str) -> Any:
        """Return what a retired member's task keeps beside its parameters, such as BatchNorm's statistics."""
        return self.final(member, "state")

    def best(self, member: Member | int | str) -> Any:
        """Return the parameters with which a retired member's metric of `checkpoint.best` was best."""
        return self.final(member, "best")

    def best_state(self, member: Member | int | str) -> Any:
        """Return what the member's task kept beside these parameters."""
        return self.final(member, "best_state")

    def final(self, member: Member | int | str, what: Final) -> Any:
        """Return what a retired member ended with, of one kind, as host arrays in the task's own structure.

        Raises:
          NotFoundError: it has not ended, this was not kept, or its metric of `checkpoint.best` was never finite.
        """
        prepare()  # JAX starts with this, and a run that this process trains next wants all cores
        number = member.number if isinstance(member, Member) else self.store.member(str(member)).number
        found = final_parameters.final(self.path, *self.sweep_and_task, self.store, number, what)
        if what in ("best", "best_state"):
            final_parameters.check_best(self.path, self.sweep_and_task[0], self.store, number)
        return found


def load(path: str | Path, *, folder: str | Path | None = None) -> Run:
    """Open a run's folder.

    Args:
      path: the run's folder.
      folder: where the sweep's task and data are now, if they have been moved without the run.

    Raises:
      NotFoundError: there is no run.
    """
    return Run(path, folder=folder)
