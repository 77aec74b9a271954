"""Who sits where: members stream through the slots of one compiled program."""

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from jaxloop.core.bucket import SIZE_CLASS, Bucket

IDLE = -1
REGROUPED = 0.25  # share of the groups that needs to become idle for members to move


class Slots:
    """The seats of a program with M slots, in groups of `group_size`; a group seats members of one size class.

    An idle slot carries the hparams of whoever sat there last (at first, of the bucket's first member), and a
    budget that is used up: its steps change nothing.

    Attributes:
      members: (M,) int32 numbers of the seated members; `IDLE` where none sits.
      steps: (M,) int64 steps that each has taken.
      columns: the traced hparams and the size class by name, (M,) each.

    Args:
      hparams: of every member of the sweep, by number.
      capacity: M, a multiple of group size x devices.
      waiting: numbers of the members to seat, in order.
    """

    def __init__(
        self,
        bucket: Bucket,
        hparams: list[dict[str, Any]],
        capacity: int,
        group_size: int,
        waiting: Iterable[int] = (),
        devices: int = 1,
    ) -> None:
        self.bucket, self.hparams, self.group_size = bucket, hparams, group_size
        self.members = np.full(capacity, IDLE, np.int32)
        self.steps = np.zeros(capacity, np.int64)
        idle = {**hparams[bucket.numbers[0]], "steps": 0}
        self.columns = {name: np.full(capacity, value) for name, value in bucket.columns(idle).items()}
        self.columns[SIZE_CLASS] = np.zeros(capacity, np.int32)
        self.queues: list[deque[int]] = [deque() for _ in bucket.size_classes]
        for number in waiting:
            self.wait(number)
        # a group of each device in turn: classes that cost more are spread over all
        starts = np.arange(0, capacity, group_size).reshape(devices, -1)
        self.groups = [slice(start, start + group_size) for start in starts.T.ravel().tolist()]

    @property
    def seated(self) -> np.ndarray:
        """Indices of the slots in which a member sits."""
        return np.flatnonzero(self.members != IDLE)

    @property
    def waiting(self) -> int:
        """How many members have no seat yet."""
        return sum(map(len, self.queues))

    def wait(self, number: int) -> None:
        """Let a member wait for a seat, behind those that wait already."""
        self.queues[self.bucket.class_of[number]].append(number)

    def wait_first(self, numbers: Iterable[int]) -> None:
        """Let members wait for a seat, in this order, before those that wait already."""
        for number in reversed(list(numbers)):
            self.queues[self.bucket.class_of[number]].appendleft(number)

    def reseat(self, slot: int, number: int) -> None:
        """Let a member take the place of another, which it is a copy of."""
        steps = self.steps[slot]
        self._seat(slot, number)
        self.steps[slot] = steps

    def admit(self) -> np.ndarray:
        """Admit waiting members, in order, in the free slots; return (M,) bool of the newly taken ones."""
        fresh = np.zeros(len(self.members), bool)
        for group in self.groups:
            free = group.start + np.flatnonzero(self.members[group] == IDLE)
            if len(free) == self.group_size:
                self.columns[SIZE_CLASS][group] = self._next_class()
            queue = self.queues[self.columns[SIZE_CLASS][group.start]]
            for slot in free[: len(queue)].tolist():
                self._seat(slot, queue.popleft())
                fresh[slot] = True
        return fresh

    def free(self, slots: np.ndarray) -> None:
        """Free these slots, (K,) indices, of their members; they have no steps left to compute."""
        self.members[slots] = IDLE
        self.columns["steps"][slots] = 0

    def scattered(self) -> np.ndarray:
        """Return the slots whose members would fit into free slots of other groups, if that rests many groups.

        A group is computed while one member sits in it; members that leave empty groups only in part.
        """
        seated = [group for group in self.groups if (self.members[group] != IDLE).any()]
        classes = self.columns[SIZE_CLASS][self.seated]
        needed = sum(-(-int(count) // self.group_size) for count in np.bincount(classes))
        if len(seated) - needed < max(1, REGROUPED * len(seated)):
            return np.zeros(0, int)
        others = np.ones(len(self.members), bool)
        for group in self.groups[:needed]:
            others[group] = False
        return self.seated[others[self.seated]]

    def _next_class(self) -> int:
        """Return the class of the first member that waits."""
        heads = {queue[0]: index for index, queue in enumerate(self.queues) if queue}
        return heads[min(heads)] if heads else 0

    def _seat(self, slot: int, number: int) -> None:
        self.members[slot], self.steps[slot] = number, 0
        for name, value in self.bucket.columns(self.hparams[number]).items():
            self.columns[name][slot] = value
