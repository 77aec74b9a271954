"""Axes and samplers: from what varies to the list of members' values. Plain Python."""

import itertools
import math
import random
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, model_validator


def _number(value: Any) -> int | float:
    keeps_integers = isinstance(value, int) and not isinstance(value, bool)
    if keeps_integers and not -(2**63) <= value < 2**63:
        raise ValueError(f"needs an integer of 64 bits, got {value!r}")
    if keeps_integers or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(f"needs a finite number, got {value!r}")


def _value(value: Any) -> bool | int | float | str:
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, list | dict):
        raise ValueError(f"needs one value (what varies belongs in [axes]), got {value!r}")
    raise ValueError(f"needs a finite number, a string, true or false, got {value!r}")


def _ends(value: Any) -> Any:
    if isinstance(value, list | tuple) and len(value) == 2:
        return tuple(map(_number, value))
    raise ValueError(f"needs [low, high], got {value!r}")


def _range(value: Any) -> Any:
    integers = isinstance(value, list | tuple) and all(type(each) is int for each in value)
    if integers and len(value) in (2, 3):
        return tuple(value)
    raise ValueError(
        f"needs integers, [start, stop] or [start, stop, step], got {value!r}; "
        "between real numbers: `linear = [low, high]` or `log = [low, high]`"
    )


Ends = Annotated[Any, BeforeValidator(_ends)]
Range = Annotated[Any, BeforeValidator(_range)]
Value = Annotated[Any, BeforeValidator(_value)]
FORMS = ("values", "log", "linear", "range", "count")


class Axis(BaseModel):
    """One axis of a sweep, in exactly one form.

    values: listed. log, linear: [low, high] and `num` points, both ends included. range: [start, stop] or
    [start, stop, step], as Python's. count: 0 to count - 1, replicates that cross every other axis.
    Integer ends give integers where the hparam is not a float. `kind = "static"` compiles a program for each value
    even where one could serve all.
    """

    model_config = ConfigDict(extra="forbid", strict=False)

    values: list[Value] | None = Field(default=None, min_length=1)
    log: Ends | None = None
    linear: Ends | None = None
    range: Range | None = None
    count: StrictInt | None = Field(default=None, ge=1)
    num: StrictInt | None = Field(default=None, ge=1)
    kind: str | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Any:
        forms = [name for name in FORMS if getattr(self, name) is not None]
        if len(forms) != 1:
            raise ValueError(f"needs exactly one of {', '.join(FORMS)}, got {forms or 'none'}")
        ends = self.log or self.linear
        if ends and ends[0] >= ends[1]:
            raise ValueError(f"`{forms[0]}` needs low < high, got {list(ends)}")
        if self.log and self.log[0] <= 0:
            raise ValueError(f"`log` needs low > 0, got low={self.log[0]}")
        if self.num is not None and not ends:
            raise ValueError("`num` goes with `log` or `linear`")
        if self.range and len(self.range) == 3 and self.range[2] == 0:
            raise ValueError(f"`range` {list(self.range)} needs a step other than 0")
        if self.range and not range(*self.range):
            raise ValueError(f"`range` {list(self.range)} is empty")
        return self


def interpolate(axis: Axis, fraction: float, keeps_integers: bool) -> Any:
    """Return the value a fraction (0 to 1) of the way along an axis, for samplers that draw."""
    if axis.log or axis.linear:
        low, high = axis.log or axis.linear or (0, 1)
        if fraction in (0.0, 1.0):
            value = high if fraction else low
        elif axis.log:
            value = math.exp(math.log(low) + fraction * (math.log(high) - math.log(low)))
        else:
            value = low + fraction * (high - low)
        value = min(max(value, low), high)
        return round(value) if keeps_integers and _are_ints(low, high) else float(value)
    separate = listed(axis)
    return separate[min(int(fraction * len(separate)), len(separate) - 1)]


def listed(axis: Axis) -> Sequence[Any]:
    """Return the values of an axis of separate values; empty for `log` and `linear`."""
    if axis.values is not None:
        return axis.values
    return range(axis.count) if axis.count is not None else range(*(axis.range or (0,)))


def ends(axis: Axis) -> tuple[float, float]:
    """Return the least and the greatest value of an axis of numbers."""
    return axis.log or axis.linear or (min(listed(axis)), max(listed(axis)))


def extremes(axis: Axis, keeps_integers: bool) -> list[Any]:
    """Return values that obey a rule about bounds or types only if all values of the axis do; see `points`."""
    if axis.values is not None:
        return list(axis.values)
    return [interpolate(axis, 0.0, keeps_integers), interpolate(axis, 1.0, keeps_integers)]


def points(axis: Axis, keeps_integers: bool) -> list[Any]:
    """Return all values of an axis, in order.

    Args:
      keeps_integers: the hparam is not a float, so integer ends give integers.
    """
    if not (axis.log or axis.linear):
        return list(listed(axis))
    num = axis.num or 2
    return [interpolate(axis, i / max(1, num - 1), keeps_integers) for i in range(num)]


def size(axes: dict[str, Axis], sampler: str, members: int | None) -> int:
    """Return how many members a sampler will give, without listing them."""
    lengths = {name: length(axis) for name, axis in axes.items()}
    replicates = math.prod(lengths[name] for name, axis in axes.items() if axis.count)
    others = [lengths[name] for name, axis in axes.items() if not axis.count]
    if sampler == "grid":
        return replicates * math.prod(others)
    if sampler == "zip":
        return replicates * max(others, default=1)
    return members or 0


def sample(
    axes: dict[str, Axis], sampler: str, members: int | None, seed: int, keeps_integers: dict[str, bool]
) -> list[dict[str, Any]]:
    """Return the members' values, by axis name; the last axis varies fastest.

    `count` axes are replicates: they cross what the sampler draws. For random and sobol, `members` is the
    total; `num` is not used there, and drawing is uniform in `log` or `linear` space. Random draws are without
    replacement: one that repeats an earlier config is drawn again.

    Raises:
      ValueError: axes of different lengths under zip; `members` missing, no multiple of the replicates, or more
        than there are different ones.
    """
    drawn = {name: axis for name, axis in axes.items() if not axis.count}
    copies = math.prod(axis.count for axis in axes.values() if axis.count)
    if sampler in ("random", "sobol") and (not members or members % copies):
        multiple = f", a multiple of the {copies} replicates" if copies > 1 else ""
        raise ValueError(f"{sampler} needs `members`{multiple}, got {members}")
    replicates = {name: points(axis, keeps_integers[name]) for name, axis in axes.items() if axis.count}
    if sampler == "grid":
        order = {name: points(axis, keeps_integers[name]) for name, axis in axes.items()}
        return [dict(zip(order, row, strict=True)) for row in itertools.product(*order.values())]
    if sampler == "zip":
        columns = {name: points(axis, keeps_integers[name]) for name, axis in drawn.items()}
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"zip needs axes of one length, got {lengths}")
        configs = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)] or [{}]
    else:
        count = (members or 0) // copies
        if sampler == "random" and count > (most := _combinations(drawn, keeps_integers)):
            raise ValueError(f"random draws no config twice: needs at most {most * copies} members, got {members}")
        draws = (
            {name: interpolate(drawn[name], u, keeps_integers[name]) for name, u in zip(drawn, row, strict=True)}
            for row in _fractions(sampler, count, len(drawn), seed)
        )
        if sampler == "random":
            draws = _once_each(draws)
        configs = list(itertools.islice(draws, count))
    crossed = [dict(zip(replicates, row, strict=True)) for row in itertools.product(*replicates.values())]
    return [{name: {**config, **copy}[name] for name in axes} for config in configs for copy in crossed]


def _combinations(axes: dict[str, Axis], keeps_integers: dict[str, bool]) -> float:
    """Return how many different configs the axes have; infinity where one is continuous."""
    return math.prod(_different(axis, keeps_integers[name]) for name, axis in axes.items())


def _different(axis: Axis, keeps_integers: bool) -> float:
    if axis.log or axis.linear:
        low, high = ends(axis)
        return high - low + 1 if keeps_integers and _are_ints(low, high) else math.inf
    return len(set(map(single, axis.values))) if axis.values is not None else len(listed(axis))


def _once_each(configs: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Drop configs already seen, comparing floats as float32.

    Raises:
      ValueError: nothing new comes any more.
    """
    seen, repeats = set(), 0
    for config in configs:
        key = tuple(map(single, config.values()))
        if key not in seen:
            seen.add(key)
            repeats = 0
            yield config
        elif (repeats := repeats + 1) > 1000 + 100 * len(seen):
            raise ValueError(f"random draws without replacement, and only {len(seen)} distinct configs were found")


def single(value: Any) -> Any:
    """Return a float as a program computes with it, rounded to float32; any other value as it is."""
    return struct.unpack("f", struct.pack("f", value))[0] if isinstance(value, float) else value


def _fractions(sampler: str, count: int, dimensions: int, seed: int) -> Iterable[Sequence[float]]:
    """Points of the unit cube: `count` of them, or without end where they are random."""
    if sampler == "random" or dimensions == 0:
        generator = random.Random(seed)
        return ([generator.random() for _ in range(dimensions)] for _ in itertools.count())
    import numpy as np
    from scipy.stats import qmc  # a second to import: only where it is used

    bits = max(1, math.ceil(math.log2(count)))
    sobol = qmc.Sobol(dimensions, rng=np.random.default_rng(seed))
    return sobol.random_base2(bits)[:count].tolist()


def length(axis: Axis) -> int:
    """Return how many points an axis has."""
    if axis.values is not None:
        return len(axis.values)
    return axis.count or (len(range(*axis.range)) if axis.range else axis.num or 1)


def _are_ints(*ends: Any) -> bool:
    return all(isinstance(end, int) for end in ends)
