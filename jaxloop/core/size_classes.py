"""Size classes: which members of different sizes are padded together, by estimated cost.

Padding computes the largest size of a class for all its members; a class of its own costs a branch of the program
to compile, and slots that stay idle. The estimate is coarse on purpose, and the same on every machine.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import jax

from jaxloop.core.bucket import Bucket, bucket_of, compatible, divided
from jaxloop.core.costs import step_cost
from jaxloop.core.devices import SMALLEST_GROUP
from jaxloop.core.shapes import params_shapes
from jaxloop.core.task import Task
from jaxloop.errors import DamagedError
from jaxloop.sweep.sweep import Sweep

# Measured by benchmarks/planner.py on 2 CPU cores: see benchmarks/LOG.md.
COMPILE_SECONDS = 4.5  # of each size class
FLOPS_PER_SECOND = 90e9
STEP_SECONDS = 20e-6  # of a member's step beside its FLOPs
CLASSES = 16  # to begin with, where there are more mixes of sizes

Sizes = tuple[tuple[str, int], ...]


class Part(NamedTuple):
    """Members that may become a size class, and what it is estimated to take."""

    numbers: list[int]
    seconds: float


def buckets(sweep: Sweep, task: Task, members: Iterable[int] | None = None) -> list[Bucket]:
    """Return a sweep in as few programs as can be, each with the size classes that are estimated to save time.

    Args:
      members: numbers of those to train, instead of all.
    """
    return [
        divided(sweep, bucket_of(sweep, numbers, sweep.space), sorted(_parts(sweep, task, numbers)))
        for numbers in compatible(sweep, members)
    ]


def numbers(buckets: list[Bucket]) -> list[list[list[int]]]:
    """Return the members of each size class of each bucket: what a run's store keeps of a plan."""
    return [[list(part.numbers) for part in bucket.size_classes] for bucket in buckets]


def recorded(sweep: Sweep, numbers: list[list[list[int]]]) -> list[Bucket]:
    """Return the buckets that `numbers` was given: estimates may be others in another version.

    Raises:
      DamagedError: they are not all of the sweep's members, once each.
    """
    listed = sorted(chain.from_iterable(chain.from_iterable(numbers)))
    if listed != list(range(len(sweep.members))):
        raise DamagedError(f"the run's size classes hold members {listed}, the sweep has {len(sweep.members)}")
    return [divided(sweep, bucket_of(sweep, sorted(chain(*parts)), sweep.space), parts) for parts in numbers]


def with_one(buckets: list[Bucket], number: int) -> Bucket:
    """Return the program that a member trains in, for this member alone: of several branches, the member's own."""
    bucket = next(bucket for bucket in buckets if number in bucket.numbers)
    classes = [replace(part, numbers=[number]) for part in bucket.classes if number in part.numbers]
    return replace(bucket, numbers=[number], classes=tuple(classes))


def _parts(sweep: Sweep, task: Task, numbers: list[int]) -> list[list[int]]:
    """Compatible members in parts: from one for each mix of sizes, merged while that saves time."""
    if sweep.space:  # members of all its sizes will join
        return [numbers]
    free = [name for name in sweep.sizes(numbers[0]) if not sweep.is_padded_by_wish(name)]
    mixes: dict[tuple, list[int]] = {}
    for number in numbers:
        mixes.setdefault(tuple(sweep.members[number][name] for name in free), []).append(number)
    if len(mixes) == 1:
        return [numbers]
    seconds = _estimate(sweep, task, numbers)
    ordered = sorted(mixes.values(), key=lambda mix: (seconds(mix) / len(mix), mix))
    together = math.ceil(len(ordered) / CLASSES)
    groups = [chain.from_iterable(ordered[at : at + together]) for at in range(0, len(ordered), together)]
    parts = [Part(numbers, seconds(numbers)) for numbers in map(sorted, groups)]
    while len(parts) > 1:
        saved, merged, pair = max(_merges(parts, seconds), key=lambda merge: merge[0])
        if saved <= 0:
            break
        parts = [part for at, part in enumerate(parts) if at not in pair] + [merged]
    return [part.numbers for part in parts]


def _merges(parts: list[Part], seconds: Callable[[list[int]], float]) -> Iterator[tuple[float, Part, set[int]]]:
    """For each two parts, the seconds that merging them saves, what they become, and which they are."""
    for second, more in enumerate(parts):
        for first, some in enumerate(parts[:second]):
            numbers = sorted(some.numbers + more.numbers)
            merged = Part(numbers, seconds(numbers))
            yield some.seconds + more.seconds - merged.seconds, merged, {first, second}


def _estimate(sweep: Sweep, task: Task, numbers: list[int]) -> Callable[[list[int]], float]:
    """Return the seconds that a size class of some of these members would take, compilation included.

    FLOPs are counted by XLA at the largest sizes, and go with parameters x batch.
    """
    work = _work(sweep, task, numbers[0])
    most = _largest(sweep, numbers)
    flops = step_cost(sweep, task, _sized(sweep, numbers[0], most)).flops / work(most)

    def seconds(members: list[int]) -> float:
        steps = sum(sweep.members[number]["steps"] for number in members) / len(members)
        slots = math.ceil(len(members) / SMALLEST_GROUP) * SMALLEST_GROUP
        a_step = STEP_SECONDS + flops * work(_largest(sweep, members)) / FLOPS_PER_SECOND
        return COMPILE_SECONDS + slots * steps * a_step

    return seconds


def padding_waste(sweep: Sweep, task: Task, bucket: Bucket) -> float:
    """Return the share of a program's work, or of a size class's, that is padding, by parameters x batch."""
    if not bucket.sizes:
        return 0.0
    work = _work(sweep, task, bucket.numbers[0])
    own = sum(work(_largest(sweep, [number])) for number in bucket.numbers)
    computed = sum(len(part.numbers) * work(_padded(sweep, part)) for part in bucket.size_classes)
    return 1.0 - own / computed


def _padded(sweep: Sweep, part: Bucket) -> Sizes:
    """Return what a size class is padded to; of a loop, the largest of its whole space."""
    return tuple((name, part.sizes.get(name, size)) for name, size in _largest(sweep, part.numbers))


def _largest(sweep: Sweep, numbers: list[int]) -> Sizes:
    """Return the sizes that hold all of some compatible members."""
    names = sweep.sizes(numbers[0])
    return tuple((name, max(sweep.members[number][name] for number in numbers)) for name in names)


def _work(sweep: Sweep, task: Task, number: int) -> Callable[[Sizes], int]:
    """Return parameters x batch by sizes, of members compatible with one."""
    known: dict[Sizes, int] = {}

    def work(sizes: Sizes) -> int:
        if sizes not in known:
            shapes = params_shapes(task, _sized(sweep, number, sizes))
            known[sizes] = sum(leaf.size for leaf in jax.tree.leaves(shapes)) * dict(sizes).get("batch_size", 1)
        return known[sizes]

    return work


def _sized(sweep: Sweep, number: int, sizes: Sizes) -> Bucket:
    """Return the program of one member alone, if it had other sizes."""
    return bucket_of(replace(sweep, members=[{**sweep.members[number], **dict(sizes)}]), [0])
