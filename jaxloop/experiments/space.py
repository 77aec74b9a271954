"""A search space: the values that a loop may give to hparams, and their place between 0 and 1."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxloop.sweep.axes import Axis, ends, interpolate, listed, points, single
from jaxloop.sweep.sweep import Sweep

Config = dict[str, Any]  # of the hparams that a loop searches


@dataclass(frozen=True)
class Space:
    """The axes of a search space.

    Attributes:
      axes: by hparam.
      whole: whether an hparam's values are integers where the ends of its axis are.
    """

    axes: Mapping[str, Axis]
    whole: Mapping[str, bool]

    def config(self, fractions: Mapping[str, float]) -> Config:
        """Return the config at some fractions (0 to 1) of the way along the axes."""
        found = {name: interpolate(axis, fractions[name], self.whole[name]) for name, axis in self.axes.items()}
        return {name: value if self.whole[name] else float(value) for name, value in found.items()}

    def fractions(self, config: Mapping[str, Any]) -> dict[str, float]:
        """Return how far along each axis a config is, from 0 to 1; the inverse of `config`."""
        return {name: _fraction(axis, config[name]) for name, axis in self.axes.items()}

    def points(self, name: str) -> list[Any]:
        """Return the values of an axis, in order; of a continuous one, its `num` points."""
        return [value if self.whole[name] else float(value) for value in points(self.axes[name], self.whole[name])]

    def is_listed(self, name: str) -> bool:
        """Return whether an axis lists its values, so that neighbours on it need not be alike."""
        return self.axes[name].values is not None


def of(sweep: Sweep) -> Space:
    """Return the search space of a loop's sweep."""
    declared = sweep.declared
    return Space(
        sweep.document.axes, {name: not isinstance(declared[name], float) for name in sweep.document.axes}
    )


def key(config: Mapping[str, Any]) -> tuple:
    """Return a hashable key, equal for configs that are identical in float32."""
    return tuple((name, type(value), single(value)) for name, value in sorted(config.items()))


def _fraction(axis: Axis, value: Any) -> float:
    if axis.log or axis.linear:
        low, high = ends(axis)
        if axis.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, low))
        return min(1.0, max(0.0, (value - low) / (high - low)))
    values = listed(axis)
    return (values.index(value) + 0.5) / len(values) if value in values else 0.5
