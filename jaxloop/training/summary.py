"""How a run has ended, or been interrupted: what `population --json` prints."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from jaxloop.storage.ranking import RankedConfig

NOT_TOLD = ("signal",)  # in JSON: the exit code says it


@dataclass(frozen=True)
class Summary:
    """How a run has ended, or been interrupted.

    Attributes:
      run: its folder.
      status: "finished" or "interrupted".
      members: how many there are; of these, by status: finished, stopped, paused, diverged.
      programs: how many were compiled.
      capacity, group_size: slots of the last program, and how many of them are vmapped together.
      devices, processes: that trained.
      metric: that members are ranked by.
      varied: names of the axes.
      notes: what a reader of the results should know.
      share_done: of the members' steps, from 0 to 1.
      compile_seconds: of this process.
      seconds, member_steps_per_second: of training, by all processes so far; compilation apart.
      best: the first configs of the ranking.
      signal: that ended this process early, or None.
    """

    run: str
    status: str
    members: int
    finished: int
    stopped: int
    paused: int
    diverged: int
    programs: int
    capacity: int | None
    group_size: int | None
    devices: int
    processes: int
    metric: str
    varied: list[str]
    notes: list[str]
    share_done: float
    compile_seconds: float
    seconds: float
    member_steps_per_second: float
    best: list[RankedConfig]
    signal: int | None

    def json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name not in NOT_TOLD}

    def facts(self) -> dict[str, Any]:
        """Return what `run.json` keeps of it."""
        left_out = (*NOT_TOLD, "best")
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in left_out}
