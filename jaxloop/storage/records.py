"""What a run's store knows of a member."""

import json
import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple


class Status(StrEnum):
    """Where a member stands; `ENDED` ones train no more."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"  # a scheduler has freed its slot; it may go on
    FINISHED = "finished"
    STOPPED = "stopped"  # by a scheduler, with steps left
    DIVERGED = "diverged"


ENDED = frozenset({Status.FINISHED, Status.STOPPED, Status.DIVERGED})


class NewMember(NamedTuple):
    """A member as its run begins: see `Member`."""

    number: int
    id: str
    config: str
    hparams: dict[str, Any]
    folder: str
    parent: int | None = None
    parent_step: int = 0


@dataclass(frozen=True)
class Member:
    """A member as recorded; `metrics` are its last measured values, by "split/name"."""

    number: int
    id: str
    config: str  # the hash of its hparams without seed and fold: replicates share it
    hparams: dict[str, Any]
    status: Status
    step: int
    folder: str  # of its own, in the run's `members`
    final_folder: str | None  # of its final parameters, relative to the run's folder
    metrics: dict[str, float]
    joined: int | None  # the turn after which it joined; None for the members that a sweep gives
    parent: int | None  # of a copy: the member that it began as
    parent_step: int  # and the steps that this one had taken

    def result(self, metric: str) -> float:
        """Return the last value of a metric if the member has finished; NaN if it has diverged, or not ended."""
        return self.metrics.get(metric, math.nan) if self.status == Status.FINISHED else math.nan


def from_row(
    names: list[str],
    number: int,
    id: str,
    config: str,
    hparams: str,
    status: str,
    step: int,
    folder: str,
    final_folder: str | None,
    joined: int | None,
    parent: int | None,
    parent_step: int | None,
    *values: Any,
) -> Member:
    """Return a member from its row in the store, the last value of each metric behind it.

    Raises:
      ValueError, TypeError: something in it is not what jaxloop writes.
    """
    metrics = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    if not all(isinstance(value, float) for value in metrics.values()) or not isinstance(step, int):
        raise TypeError(f"member {number}: its step or metrics are no numbers")
    return Member(
        number,
        id,
        config,
        dict(json.loads(hparams)),
        Status(status),
        step,
        _within(folder),
        final_folder and _within(final_folder),
        metrics,
        joined,
        parent,
        parent_step or 0,
    )


def _within(path: str) -> str:
    """Return a relative path as recorded, refused if it could lead out of the run's folder."""
    if not re.fullmatch(r"(finished/)?[\w+,=-][\w.+,=-]*", path):
        raise ValueError(f"the store names a path that jaxloop never writes: {path!r}")
    return path
