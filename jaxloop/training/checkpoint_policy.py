"""When a checkpoint is due."""

import time
from enum import IntEnum

from jaxloop.sweep.schema import Document

MANY_TURNS = 10  # in an interval between checkpoints, so that to take one a turn earlier costs little


class Due(IntEnum):
    """Whether a checkpoint is due at the end of a turn, and if so when it needs to count."""

    NOT_YET = 0
    BESIDE = 1  # by the end of the next turn: it is written while devices compute that
    AT_ONCE = 2  # before the next turn


class CheckpointPolicy:
    """A checkpoint is due where one turn later it would be more than an interval after the last one.

    Args:
      document: its `[checkpoint]` has the interval, in seconds or in steps; its `[run]` the steps of a turn.
      turn: of the checkpoint that the run begins from.
    """

    def __init__(self, document: Document, turn: int) -> None:
        self.seconds, self.steps = document.checkpoint.seconds(), document.checkpoint.every
        self.steps_a_turn = document.run.evaluate_every
        self.taken(turn)

    def taken(self, turn: int) -> None:
        """Note that a checkpoint is taken after a turn, now."""
        self.last_turn, self.last_time = turn, time.monotonic()

    def due(self, turn: int, turn_seconds: float) -> Due:
        """Return whether a checkpoint is due after a turn, which took so many seconds."""
        if self.seconds is not None:
            interval, one, since = self.seconds, turn_seconds, time.monotonic() - self.last_time
        else:
            interval, one = float(self.steps), float(self.steps_a_turn)
            since = (turn - self.last_turn) * one
        beside = since + one <= interval and interval >= MANY_TURNS * one
        if since + (2 if beside else 1) * one <= interval:
            return Due.NOT_YET
        return Due.BESIDE if beside else Due.AT_ONCE

    def is_far(self, turn: int, turn_seconds: float) -> bool:
        """Return whether no checkpoint will be due when the turn in flight ends, if it takes so many seconds."""
        return self.due(turn, 2 * turn_seconds) == Due.NOT_YET
