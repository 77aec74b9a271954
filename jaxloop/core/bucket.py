"""Buckets: members that one compiled program can train."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from jaxloop.sweep.catalog import TRACED_INTS
from jaxloop.sweep.optimizers import UNPADDABLE
from jaxloop.sweep.sizes import Choice, Size, plain
from jaxloop.sweep.sweep import Sweep

DTYPES = {**dict.fromkeys(TRACED_INTS, np.int32), "seed": np.uint32}  # of traced numbers that are no float32
SIZE_CLASS = "size class"  # beside the traced hparams, and no name of one: which branch a slot's group computes
OFF_AT_ZERO = ("dropout", "label_noise", "label_smoothing")  # traced, unless zero for all: then not computed


@dataclass(frozen=True)
class Bucket:
    """Members that one program trains: they agree in every static hparam.

    Attributes:
      static: the hparams that are Python values in the program.
      traced: the others, with the dtype of one slot's value.
      sizes: of those, what is padded, with what the arrays have.
      choices: of those, what is switched, with what the program computes.
      numbers: its members' numbers in the sweep, in order; it grows as members join.
      classes: its members by size, where the program has more than one branch to compute them with: each a bucket
        padded to less than the whole.
    """

    static: dict[str, Any]
    traced: dict[str, np.dtype]
    sizes: dict[str, int]
    choices: dict[str, tuple[str, ...]]
    numbers: list[int]
    classes: tuple["Bucket", ...] = ()

    @property
    def size_classes(self) -> tuple["Bucket", ...]:
        """The branches of its program: its classes, or itself alone."""
        return self.classes or (self,)

    @cached_property
    def program(self) -> tuple:
        """Hashable key of one branch: all but `numbers` and `classes`, in whatever order the hparams came."""
        parts = (self.static, self.traced, self.sizes, self.choices)
        return tuple(tuple(sorted(part.items())) for part in parts)

    @cached_property
    def class_of(self) -> dict[int, int]:
        """The index of each member's size class, by the member's number."""
        return {number: index for index, part in enumerate(self.size_classes) for number in part.numbers}

    def add(self, number: int, hparams: Mapping[str, Any]) -> bool:
        """Add a member that joins the run, if the program as it is can train it; return whether it can."""
        for index, part in enumerate(self.size_classes):
            if part.holds(hparams):
                self.class_of[number] = index
                part.numbers.append(number)
                if part is not self:
                    self.numbers.append(number)
                return True
        return False

    def holds(self, hparams: Mapping[str, Any]) -> bool:
        """Return whether a member with these hparams is computed as the bucket's own members are."""
        return (
            hparams.keys() == self.static.keys() | self.traced.keys()
            and all(hparams[name] == plain(value) for name, value in self.static.items())
            and all(0 < hparams[name] <= largest for name, largest in self.sizes.items())
            and all(hparams[name] in names for name, names in self.choices.items())
        )

    def columns(self, hparams: Mapping[str, Any]) -> dict[str, Any]:
        """Return a member's traced hparams, as they stand in a slot's columns."""
        return {
            name: dtype.type(self.choices[name].index(hparams[name]) if name in self.choices else hparams[name])
            for name, dtype in self.traced.items()
        }

    def hparams(self, traced: Mapping[str, Any]) -> dict[str, Any]:
        """Return all hparams as one member's functions see them, from the values of (at least) the traced ones."""
        own = {name: traced[name] for name in self.traced}
        wrapped = {name: Size(own[name], largest) for name, largest in self.sizes.items()}
        wrapped |= {name: Choice(own[name], names) for name, names in self.choices.items()}
        return {**self.static, **own, **wrapped}


def compatible(sweep: Sweep, members: Iterable[int] | None = None) -> list[list[int]]:
    """Group the numbers of members (by default all) that one program could train, in order of first appearance."""
    groups: dict[tuple, list[int]] = {}
    for number in range(len(sweep.members)) if members is None else members:
        groups.setdefault(shared_by_program(sweep, sweep.members[number]), []).append(number)
    return list(groups.values())


def undivided(sweep: Sweep) -> list[Bucket]:
    """Return a sweep in as few programs as can be, each padded to its largest sizes."""
    return [bucket_of(sweep, numbers, sweep.space) for numbers in compatible(sweep)]


def alone(sweep: Sweep, number: int) -> Bucket:
    """Return a member's own program: nothing is padded or switched."""
    return bucket_of(sweep, [number])


def is_one_program(sweep: Sweep) -> bool:
    """Return whether one program could train all members that may join the run."""
    first = sweep.members[0]
    return first.keys() >= sweep.space.keys() and all(
        shared_by_program(sweep, {**first, name: value}) == shared_by_program(sweep, first)
        for name, values in sweep.space.items()
        for value in values
    )


def shared_by_program(sweep: Sweep, hparams: Mapping[str, Any]) -> tuple:
    """Return what members of one bucket share; a size of zero changes the architecture, so it is not padded."""
    exact = hparams["optimizer"] in UNPADDABLE
    kinds = {name: "static" if exact and kind == "padded" else kind for name, kind in sweep.kinds.items()}
    static = [(name, value) for name, value in hparams.items() if kinds[name] == "static"]
    absent = [(name, value == 0) for name, value in hparams.items() if kinds[name] == "padded"]
    return tuple(static), tuple(absent), tuple(hparams)


def bucket_of(sweep: Sweep, numbers: list[int], space: Mapping[str, list[Any]] | None = None) -> Bucket:
    """Return the program of compatible members: sizes that differ are padded, choices that differ switched.

    Args:
      space: values, by hparam, that members which join later may have.
    """
    exact = sweep.members[numbers[0]]["optimizer"] in UNPADDABLE
    members = [sweep.members[number] for number in numbers]
    static, traced, sizes, choices = {}, {}, {}, {}
    for name, first in members[0].items():
        kind, values = sweep.kinds[name], dict.fromkeys(member[name] for member in members)
        if space and name in space and not (kind == "padded" and (exact or not first)):
            values |= dict.fromkeys(value for value in space[name] if kind != "padded" or value > 0)
        if name in OFF_AT_ZERO and set(values) == {0.0}:
            static[name] = 0.0
        elif kind == "traced":
            traced[name] = np.dtype(DTYPES.get(name, np.float32))
        elif kind == "padded" and len(values) > 1:
            traced[name], sizes[name] = np.dtype(np.int32), max(values)
        elif kind == "switched" and len(values) > 1:
            traced[name], choices[name] = np.dtype(np.int32), tuple(sorted(values))
        elif isinstance(sweep.declared[name], Size):
            static[name] = Size(first, first)
        elif isinstance(sweep.declared[name], Choice):
            static[name] = Choice(0, (first,))
        else:
            static[name] = first
    return Bucket(static, traced, sizes, choices, numbers)


def divided(sweep: Sweep, bucket: Bucket, parts: list[list[int]]) -> Bucket:
    """Return the bucket with a size class for each part of its members."""
    if len(parts) == 1:
        return bucket
    return replace(bucket, classes=tuple(_class(sweep, bucket, numbers) for numbers in parts))


def _class(sweep: Sweep, bucket: Bucket, numbers: list[int]) -> Bucket:
    """Return what the program computes some of the bucket's members with: only sizes are its own."""
    values = {name: {sweep.members[number][name] for number in numbers} for name in bucket.sizes}
    agreed = {name: Size(size, size) for name, (size, *others) in values.items() if not others}
    return Bucket(
        static={**bucket.static, **agreed},
        traced={name: dtype for name, dtype in bucket.traced.items() if name not in agreed},
        sizes={name: max(values[name]) for name in bucket.sizes if name not in agreed},
        choices=bucket.choices,
        numbers=numbers,
    )
