"""Who sits where: members stream through the slots of one compiled program."""

from collections import deque
from typing import Any

import numpy as np

from jaxloop.bucket import Bucket

IDLE = -1


class Slots:
    """The seats of a program with M slots.

    An idle slot carries the hparams of whoever sat there last (at first, of the bucket's first member), and a
    budget that is used up: its steps change nothing.

    Attributes:
      members: (M,) int32 numbers of the seated members; `IDLE` where none sits.
      steps: (M,) int64 steps that each has taken.
      columns: the traced hparams by name, (M,) each.
    """

    def __init__(self, bucket: Bucket, members: list[dict[str, Any]], capacity: int):
        self.sweep_members = members
        self.members = np.full(capacity, IDLE, np.int32)
        self.steps = np.zeros(capacity, np.int64)
        idle = {**members[bucket.numbers[0]], "steps": 0}
        self.bucket = bucket
        self.columns = {name: np.full(capacity, value) for name, value in bucket.columns(idle).items()}

    @property
    def seated(self) -> np.ndarray:
        """Indices of the slots in which a member sits."""
        return np.flatnonzero(self.members != IDLE)

    def admit(self, waiting: deque[int]) -> np.ndarray:
        """Seats members that wait, in order, in the free slots; gives (M,) bool of the newly taken ones."""
        free = np.flatnonzero(self.members == IDLE)[: len(waiting)]
        for slot in free.tolist():
            self._seat(slot, waiting.popleft())
        fresh = np.zeros(len(self.members), bool)
        fresh[free] = True
        return fresh

    def restore(self, members: np.ndarray, steps: np.ndarray) -> None:
        """Takes the seats that a checkpoint recorded: (M,) numbers and steps."""
        for slot in np.flatnonzero(members != IDLE).tolist():
            self._seat(slot, int(members[slot]))
        self.steps[:] = steps

    def free(self, slots: np.ndarray) -> None:
        self.members[slots] = IDLE

    def _seat(self, slot: int, number: int) -> None:
        self.members[slot], self.steps[slot] = number, 0
        for name, value in self.bucket.columns(self.sweep_members[number]).items():
            self.columns[name][slot] = value
