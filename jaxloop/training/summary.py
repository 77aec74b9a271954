"""How a run has ended, or been interrupted: what `population --json` prints."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from jaxloop.storage.ranking import RankedConfig, with_finite_mean
from jaxloop.storage.records import Status
from jaxloop.storage.store import Store

BEST_TOLD = 8  # configs
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
      compile_seconds: by all processes so far but those that were killed.
      seconds, member_steps_per_second: of training, by all processes so far; compilation apart.
      share_of_peak: the FLOP/s of all steps' products by the machine's fastest; None where not known.
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
    share_of_peak: float | None
    best: list[RankedConfig]
    signal: int | None

    def json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name not in NOT_TOLD}

    def facts(self) -> dict[str, Any]:
        """Return what `run.json` keeps of it."""
        left_out = (*NOT_TOLD, "best")
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in left_out}


def summarized(
    store: Store,
    ranked: Sequence[RankedConfig],
    totals: Mapping[str, float],
    *,
    signal: int | None,
    **of_process: Any,
) -> Summary:
    """Return the summary of a run as its store is now.

    Args:
      ranked: its configs.
      totals: the `seconds` and `member_steps` of its training.
      signal: as in `Summary`.
      **of_process: the fields that the store does not know.
    """
    counts, seconds = store.counts(), totals["seconds"]
    return Summary(
        status="interrupted" if signal else "finished",
        members=sum(counts.values()),
        finished=counts[Status.FINISHED],
        stopped=counts[Status.STOPPED],
        paused=counts[Status.PAUSED],
        diverged=counts[Status.DIVERGED],
        capacity=store.capacity,
        group_size=store.group_size,
        metric=store.metric,
        varied=store.varied,
        seconds=round(seconds, 3),
        member_steps_per_second=round(totals["member_steps"] / seconds, 1) if seconds else 0.0,
        best=with_finite_mean(ranked)[:BEST_TOLD],
        signal=signal,
        **of_process,
    )
