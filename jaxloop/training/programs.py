"""A run's programs: which members each of them trains, what is compiled, and which one is next."""

import json
import math
import time
from collections.abc import Collection, Iterable
from typing import NamedTuple

from jax.sharding import Mesh

from jaxloop.core import devices, size_classes
from jaxloop.core.bucket import Bucket
from jaxloop.core.program import CompiledProgram, compiled
from jaxloop.core.slot_counts import SlotLimits, Tuned, smallest_group
from jaxloop.core.task import Task
from jaxloop.storage.records import ENDED, Status
from jaxloop.storage.store import Store
from jaxloop.sweep.sweep import Sweep
from jaxloop.training import compile_time, group_tuner, host, processes
from jaxloop.training.stream import Members

BEGUN = (Status.RUNNING, Status.PAUSED)


class Next(NamedTuple):
    """A program that has members to train, by its number, and these members."""

    program: int
    members: Members


class Programs:
    """The programs of a run, one for each bucket; they take turns as members join.

    Attributes:
      buckets: of the members; it grows as members join that no program can train.
      compile_seconds: that the run has spent, those of killed processes apart.

    Args:
      sweep: whose list of members grows as members join.
    """

    def __init__(self, sweep: Sweep, task: Task, store: Store, mesh: Mesh) -> None:
        self.sweep, self.task, self.store, self.mesh = sweep, task, store, mesh
        self.buckets = size_classes.recorded(sweep, store.size_classes)
        self.compile_seconds, self._tuning_seconds = store.compile_seconds, 0.0
        self._compiled: dict[int, CompiledProgram] = {}

    def next(self, idle: Collection[int]) -> Next | None:
        """Return a program with members to train, first the one whose members have begun; None if there is none.

        Args:
          idle: numbers of programs to pass over.
        """
        statuses = self._statuses()
        for wanted in (BEGUN, (*BEGUN, Status.WAITING)):
            for index, bucket in enumerate(self.buckets):
                if index not in idle and any(statuses[number][0] in wanted for number in bucket.numbers):
                    return Next(index, _members(bucket, statuses))
        return None

    def place(self, numbers: Iterable[int]) -> None:
        """Give members that join a place in a program that can train them, or else in a new one."""
        others = [
            number
            for number in numbers
            if not any(bucket.add(number, self.sweep.members[number]) for bucket in self.buckets)
        ]
        if others:
            self.buckets += size_classes.buckets(self.sweep, self.task, others)

    def is_compiled(self, index: int) -> bool:
        return index in self._compiled

    def compile(self, index: int) -> CompiledProgram:
        """Return a program for this process's slots; a resumed run keeps capacity and group size."""
        if index not in self._compiled:
            started, self._tuning_seconds = time.perf_counter(), 0.0
            self._compiled[index] = self._compile(index, self.buckets[index])
            seconds = time.perf_counter() - started
            self.compile_seconds += seconds
            compiling = seconds - self._tuning_seconds  # whether a group size is tuned depends on the run
            compile_time.keep(compiling, self.sweep, self.task, self.buckets[index], self.mesh)
        return self._compiled[index]

    def expected_compile_time(self, index: int) -> str:
        """Return in words how long a program will take to compile."""
        return compile_time.expected(self.sweep, self.task, self.buckets[index], self.mesh)

    def keep(self, index: int, program: CompiledProgram) -> None:
        """Keep a program that was compiled again, with room for more rows of batches."""
        self._compiled[index] = program

    def halve(self, index: int) -> int | None:
        """Give a program half the slots; return how many, or None if the user chose them or there are too few."""
        program = self._compiled[index]
        chosen = self.sweep.document.population.capacity != "auto" or processes.count() > 1
        narrowest = smallest_group(self.sweep)
        smaller = devices.shrunk(program.capacity, program.group_size, narrowest, self.mesh.size, 0.5)
        if chosen or smaller is None:
            return None
        self._record(index, *smaller)
        del self._compiled[index]
        return smaller[0]

    def _compile(self, index: int, bucket: Bucket) -> CompiledProgram:
        count, layout = processes.count(), self.store.layout(index)
        capacity, group_size = (layout["capacity"], layout["width"]) if layout else (None, None)
        limits = SlotLimits(
            capacity=capacity and -(-capacity // count),
            group_size=group_size,
            tuned=self._tuned(bucket),
            memory_bytes=processes.least(host.memory_bytes(self.mesh) or math.inf),
            processes=count,
        )
        program = compiled(self.sweep, self.task, bucket, self.mesh, limits)
        if processes.leads():
            capacity = program.capacity * count
            self.store.put(capacity=capacity, group_size=program.group_size)
            self._record(index, capacity, program.group_size)
        return program

    def _record(self, index: int, capacity: int, group_size: int) -> None:
        self.store.put_layout(index, {"capacity": capacity, "width": group_size})

    def _tuned(self, bucket: Bucket) -> Tuned:
        def found(first: int, most: int) -> int:
            started = time.perf_counter()
            group_size = group_tuner.tuned(self.sweep, self.task, bucket, self.mesh, first, most)
            self._tuning_seconds += time.perf_counter() - started
            return processes.leaders(group_size)

        return found

    def _statuses(self) -> list[tuple[Status, int]]:
        """Return the status and steps of each member, by number, as the first process has recorded them."""
        if processes.leads():
            found = [(member.status, member.step) for member in self.store.members()]
            if processes.are_several():
                processes.broadcast(json.dumps(found).encode())
        else:
            found = json.loads(processes.broadcast(b""))
        return [(Status(status), step) for status, step in found]


def _members(bucket: Bucket, statuses: list[tuple[Status, int]]) -> Members:
    """Return a program's members that have not ended."""
    left = {number: statuses[number] for number in bucket.numbers if statuses[number][0] not in ENDED}
    waiting = [number for number, (status, _) in left.items() if status == Status.WAITING]
    begun = {number: step for number, (status, step) in left.items() if status in BEGUN}
    paused = [number for number, (status, _) in left.items() if status == Status.PAUSED]
    return Members(waiting, begun, paused)
