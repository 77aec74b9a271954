"""Turns in flight on this process's devices: each begins with the state that the one before it leaves."""

from collections import deque
from contextlib import suppress
from typing import Any, NamedTuple

import jax

from jaxloop.training.feed import Feed


class Dispatched(NamedTuple):
    """A turn that has not been read yet.

    record: what it measures, (M, ...) each.
    admitted: members that start in it.
    """

    record: dict[str, jax.Array]
    admitted: list[int]


class Flight:
    """The turns that were dispatched and have not been read, and the state after the last of them.

    Attributes:
      state: of this process's slots, each leaf (M, ...); donated to the next turn.
      turns: in the order in which they are read.
    """

    def __init__(self, feed: Feed) -> None:
        self.feed, self.state = feed, feed.program.empty()
        self.turns: deque[Dispatched] = deque()

    def dispatch(self, hparams: dict[str, jax.Array], fresh: Any, data: Any, admitted: list[int]) -> None:
        """Have the devices compute one more turn, after those in flight; see `population.streamed`."""
        self.state, record = self.feed.program.advance(hparams, self.state, fresh, data)
        self.turns.append(Dispatched(record, admitted))

    @property
    def is_ahead(self) -> bool:
        """Whether a turn is in flight, so that the state is already the one after it."""
        return bool(self.turns)

    def pop(self) -> Dispatched:
        """Remove and return the first turn; its record may still be computing."""
        return self.turns.popleft()

    def wait(self) -> None:
        """Wait until the devices have computed the first turn."""
        jax.block_until_ready(self.turns[0].record)

    def close(self) -> None:
        """Stop reading ahead, and wait for the unread turns."""
        self.feed.close()
        with suppress(Exception):  # what stopped the run is raised already
            jax.block_until_ready(list(self.turns))
