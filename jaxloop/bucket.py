"""Buckets: members that one compiled program can train."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxloop import declared
from jaxloop.sweep import Sweep


@dataclass(frozen=True)
class Bucket:
    """Members that agree in every static hparam.

    Attributes:
      static: the hparams that are Python values in the program.
      traced: the others, with the dtype of one slot's value.
      numbers: its members' numbers in the sweep, in order.
    """

    static: dict[str, Any]
    traced: dict[str, np.dtype]
    numbers: list[int]


def buckets(sweep: Sweep) -> list[Bucket]:
    """Groups a sweep's members by their static hparams, in order of first appearance."""
    found: dict[tuple, Bucket] = {}
    for number in range(len(sweep.members)):
        one = alone(sweep, number)
        key = (*sorted(one.static.items()), *sorted(one.traced))
        found.setdefault(key, Bucket(one.static, one.traced, [])).numbers.append(number)
    return list(found.values())


def alone(sweep: Sweep, number: int) -> Bucket:
    """A bucket of one member."""
    hparams = sweep.members[number]
    traced = {name: _dtype(name) for name, value in hparams.items() if declared.is_traced(name, value)}
    static = {name: value for name, value in hparams.items() if name not in traced}
    return Bucket(static, traced, [number])


def _dtype(name: str) -> np.dtype:
    if name == "seed":
        return np.dtype(np.uint32)
    return np.dtype(np.int32 if name in declared.TRACED_INTS else np.float32)
