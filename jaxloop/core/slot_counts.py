"""How many slots a program has, and how many of them share a group."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from jax.sharding import Mesh

from jaxloop.core import devices
from jaxloop.core.bucket import Bucket
from jaxloop.core.costs import working_set
from jaxloop.core.task import Task
from jaxloop.sweep.sweep import Sweep

Tuned = Callable[[int, int], int]


class SlotCounts(NamedTuple):
    """How many members a program trains at a time, and how many of them share a group."""

    capacity: int
    group_size: int


@dataclass(frozen=True)
class SlotLimits:
    """What bounds the slots of a program.

    Attributes:
      capacity, group_size: instead of the sweep's own.
      tuned: gives the group size where nobody chose it, from a first guess and the widest.
      memory_bytes: that each device may use.
      processes: how many share the members; each program has its part of the slots.
    """

    capacity: int | None = None
    group_size: int | None = None
    tuned: Tuned = lambda first, most: first
    memory_bytes: float = math.inf
    processes: int = 1


DEFAULT_LIMITS = SlotLimits()


def slot_counts(sweep: Sweep, task: Task, bucket: Bucket, mesh: Mesh, limits: SlotLimits) -> SlotCounts:
    """Return the program's capacity and group size: the limits' own, else the sweep's, else chosen."""
    settings, cpu = sweep.document.population, devices.on_cpu(mesh)
    capacity, group_size, processes = limits.capacity, limits.group_size, limits.processes
    if capacity is None and isinstance(settings.capacity, int):
        capacity = math.ceil(settings.capacity / processes)
    loop = sweep.document.loop
    expected = max(len(bucket.numbers), loop.configs if loop else 0)  # of a loop, more will join
    slots = devices.choose_slots(math.ceil(expected / processes), capacity, cpu=cpu)
    group_size = group_size or (settings.group_size if isinstance(settings.group_size, int) else None)
    if group_size is None:
        # a group holds members of one class
        alike = slots if loop else math.ceil(min(len(part.numbers) for part in bucket.size_classes) / processes)
        most = devices.largest_group(min(slots, alike), mesh.size, cpu=cpu)
        first = devices.choose_group_size(working_set(sweep, task, bucket), most) if cpu else most
        group_size = limits.tuned(first, most)
    return SlotCounts(devices.capacity(slots, group_size, mesh.size), group_size)


def smallest_group(sweep: Sweep) -> int:
    """Return what a program's group size may shrink to: the one that the user chose, else the narrowest."""
    chosen = sweep.document.population.group_size
    return devices.SMALLEST_GROUP if chosen == "auto" else chosen
