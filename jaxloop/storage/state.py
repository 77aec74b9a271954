"""Where a run stands, as far as its folder can tell."""

import time
import tomllib
from dataclasses import dataclass
from typing import Any

from jaxloop.storage import lock
from jaxloop.storage.facts import Drift
from jaxloop.storage.ranking import ranked
from jaxloop.storage.records import ENDED
from jaxloop.storage.store import Store


@dataclass(frozen=True)
class RunState:
    """Where a run stands.

    Attributes:
      run: its folder.
      status: created, running, interrupted or finished.
      host: another one that began to train it: whether it still does cannot be determined from here.
      counts: of members, by status.
      metric: that members are ranked by.
      notes, drift: what a reader of its results should know.
      task: that it trains, as the sweep names it.
      seconds: that it has trained.
      share_done: of the steps that its members take, as far as that is known.
      best: mean of the metric of the best config, of members as they are now; None if none is finite.
    """

    run: str
    name: str
    status: str
    host: str | None
    counts: dict[str, int]
    metric: str
    notes: list[str]
    drift: list[Drift]
    last_written: float  # seconds since the epoch
    task: str
    seconds: float
    share_done: float
    best: float | None

    def written(self) -> str:
        """Return when the run was last written, in local time."""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(self.last_written))

    def in_words(self) -> str:
        """Return the status in words."""
        if self.host is None:
            return self.status
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.last_written))
        return f"{self.status} on {self.host} as of {when} (cannot be told from here)"

    def json(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "name": self.name,
            "status": self.status,
            "host": self.host,
            "members": sum(self.counts.values()),
            **self.counts,
            "metric": self.metric,
            "best": self.best,
            "task": self.task,
            "seconds": self.seconds,
            "share_done": self.share_done,
            "last_written": self.last_written,
            "notes": self.notes,
            "drift": self.drift,
        }


def state(store: Store) -> RunState:
    """Return where a run stands; one marked running whose process is gone was interrupted."""
    run, status, host = store.path.parent, store.status, None
    if status == "running" and not lock.is_held(run):
        host = lock.other_host(run)
        if host is None:
            status = "interrupted" if store.status == "running" else store.status  # it may have just ended
    members = store.members()
    done = sum(member.step for member in members)
    left = sum(member.hparams["steps"] - member.step for member in members if member.status not in ENDED)
    ranking = ranked(store, so_far=True)
    files = (store.path, store.path.with_name(f"{store.path.name}-wal"))
    return RunState(
        run=str(run),
        name=store.name,
        status=status,
        host=host,
        counts=store.counts(),
        metric=store.metric,
        notes=store.notes,
        drift=store.drift,
        last_written=max(file.stat().st_mtime for file in files if file.exists()),
        task=tomllib.loads(store.sweep)["run"]["task"],
        seconds=store.seconds,
        share_done=done / max(1, done + left),
        best=ranking[0].mean if ranking else None,
    )
