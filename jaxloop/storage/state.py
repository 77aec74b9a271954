"""Where a run stands, as far as its folder can tell."""

import time
from dataclasses import dataclass
from typing import Any

from jaxloop.storage import lock, run_folder
from jaxloop.storage.facts import Drift
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

    def in_words(self) -> str:
        """Return the status in words."""
        if self.host is None:
            return self.status
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.last_written))
        return f"{self.status} on {self.host} as of {when} (cannot be checked from here)"

    def counts_in_words(self) -> dict[str, int]:
        """Return the counts by status in words."""
        return {self.status_in_words(status): count for status, count in self.counts.items()}

    def status_in_words(self, status: str) -> str:
        """Return a member's status; one that has begun is "unfinished" while nobody trains the run."""
        return "unfinished" if status == "running" and self.status != "running" else str(status)

    def members_in_words(self) -> str:
        """Return how many members have each status: "5 finished, 1 diverged"."""
        return ", ".join(f"{count} {status}" for status, count in self.counts_in_words().items() if count)

    def json(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "name": self.name,
            "status": self.status,
            "host": self.host,
            "members": sum(self.counts.values()),
            **self.counts,
            "metric": self.metric,
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
    files = (store.path, store.path.with_name(f"{store.path.name}-wal"))
    if (
        status != "running" and run_folder.provenance(run).exists()
    ):  # a reader that leaves touches the store's files
        files = (run_folder.provenance(run),)
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
    )
