"""A run at a glance, as `jaxloop ls` lists it."""

import time
from dataclasses import dataclass
from typing import Any

from jaxloop.storage.ranking import ranked
from jaxloop.storage.state import RunState, state
from jaxloop.storage.store import Store


@dataclass(frozen=True)
class Overview:
    """A run at a glance.

    Attributes:
      state: where it stands.
      task: that it trains, as the sweep names it.
      seconds: of training so far.
      share_done: of the steps that its members take; None of a loop that goes on, whose members have yet to join.
      best: mean of the metric of the best config, of members as they are now; None if none is finite.
    """

    state: RunState
    task: str
    seconds: float
    share_done: float | None
    best: float | None

    def written(self) -> str:
        """Return when the run was last written, in local time."""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(self.state.last_written))

    def json(self) -> dict[str, Any]:
        return {
            **self.state.json(),
            "task": self.task,
            "seconds": self.seconds,
            "share_done": self.share_done,
            "best": self.best,
            "last_written": self.state.last_written,
        }


def overview(store: Store) -> Overview:
    """Return a run at a glance; every member is read."""
    done, left = store.member_steps_done_and_left()
    goes_on = bool(store.ledger()) and store.status != "finished"
    ranking = ranked(store, so_far=store.trains)
    return Overview(
        state=state(store),
        task=store.task(),
        seconds=store.totals()["seconds"],
        share_done=None if goes_on else done / max(1, done + left),
        best=ranking[0].mean if ranking else None,
    )
