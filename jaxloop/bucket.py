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
    for number, hparams in enumerate(sweep.members):
        traced = {name: _dtype(name) for name, value in hparams.items() if declared.is_traced(name, value)}
        static = {name: value for name, value in hparams.items() if name not in traced}
        key = (*sorted(static.items()), *sorted(traced))
        found.setdefault(key, Bucket(static, traced, [])).numbers.append(number)
    return list(found.values())


def bucket_of(sweep: Sweep, number: int) -> Bucket:
    """The bucket that a member trains in."""
    return next(bucket for bucket in buckets(sweep) if number in bucket.numbers)


def _dtype(name: str) -> np.dtype:
    if name == "seed":
        return np.dtype(np.uint32)
    return np.dtype(np.int32 if name in declared.TRACED_INTS else np.float32)
