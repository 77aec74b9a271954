"""A search space: the values that a loop may give to hparams, and their place between 0 and 1."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxloop.sweep.axes import Axis, ends, interpolate, listed, points, single
from jaxloop.sweep.catalog import REPLICATES
from jaxloop.sweep.sweep import Sweep

Config = dict[str, Any]  # of the hparams that a loop searches
CASE = "case"  # the dimension that chooses one of the sweep's cases


@dataclass(frozen=True)
class Space:
    """The dimensions of a search space: one for each axis, and one that chooses a case where there are several.

    An axis of one case is a dimension "CASE.HPARAM", which does nothing in the others.

    Attributes:
      axes: by dimension.
      keeps_integers: whether a dimension's values are integers where the ends of its axis are.
      fixed: of each case, the hparams that it fixes.
    """

    axes: Mapping[str, Axis]
    keeps_integers: Mapping[str, bool]
    fixed: Mapping[str, Config] = field(default_factory=dict)

    def config(self, fractions: Mapping[str, float]) -> Config:
        """Return the config at some fractions (0 to 1) of the way along all dimensions."""
        return self.config_of({name: self.at(name, fractions[name]) for name in self.axes})

    def fractions(self, config: Mapping[str, Any]) -> dict[str, float]:
        """Return how far along each dimension a config is, from 0 to 1; half-way where it has no part in one."""
        known = self.values(config)
        return {name: _fraction(axis, known[name]) if name in known else 0.5 for name, axis in self.axes.items()}

    def dimensions(self, case: str | None) -> list[str]:
        """Return the dimensions that the configs of a case have a part in, but for the one that chooses it."""
        return [name for name in self.axes if self._parts(name)[0] in (None, case) and self._parts(name)[1]]

    def fraction(self, name: str, value: Any) -> float:
        """Return how far along one dimension a value is, from 0 to 1."""
        return _fraction(self.axes[name], value)

    def config_of(self, values: Mapping[str, Any]) -> Config:
        """Return the config that has these values, of all dimensions that it has a part in."""
        case = values.get(CASE)
        found: Config = dict(self.fixed.get(str(case), {}))
        for name in self.axes:
            owner, hparam = self._parts(name)
            if hparam is not None and owner in (None, case) and name in values:
                found[hparam] = values[name]
        return found

    def values(self, hparams: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a config, or a member, along the dimensions that it has a part in."""
        case = self._case(hparams)
        found: dict[str, Any] = {} if case is None else {CASE: case}
        for name in self.axes:
            owner, hparam = self._parts(name)
            if hparam is not None and owner in (None, case) and hparam in hparams:
                found[name] = hparams[hparam]
        return found

    def at(self, name: str, fraction: float) -> Any:
        """Return the value a fraction (0 to 1) of the way along one dimension."""
        return self._typed(name, interpolate(self.axes[name], fraction, self.keeps_integers[name]))

    def value_at(self, name: str, index: int) -> Any:
        """Return the value at `index` on a dimension of separate values."""
        return self._typed(name, listed(self.axes[name])[index])

    def points(self, name: str) -> list[Any]:
        """Return the values of a dimension, in order; of a continuous one, its `num` points."""
        return [self._typed(name, value) for value in points(self.axes[name], self.keeps_integers[name])]

    def is_listed(self, name: str) -> bool:
        """Return whether an axis lists its values, so that neighbours on it need not be alike."""
        return self.axes[name].values is not None

    def is_continuous(self, name: str) -> bool:
        """Return whether an axis has two ends, and any value between them."""
        return not listed(self.axes[name])

    def _typed(self, name: str, value: Any) -> Any:
        """Return a value of a dimension as its hparam has it: integers of a float's axis are floats."""
        return value if self.keeps_integers[name] else float(value)

    def _parts(self, name: str) -> tuple[str | None, str | None]:
        """Return the case that a dimension belongs to, if it is one's own, and its hparam, if it has one."""
        if not self.fixed:
            return None, name
        if name == CASE:
            return None, None
        case, dot, hparam = name.partition(".")
        return (case, hparam) if dot else (None, name)

    def _case(self, hparams: Mapping[str, Any]) -> str | None:
        """Return the first case whose fixed hparams are these, and whose axes are there."""
        for case, fixed in self.fixed.items():
            own = [name.partition(".")[2] for name in self.axes if name.startswith(f"{case}.")]
            if fixed.items() <= hparams.items() and set(own) <= hparams.keys():
                return case
        return None


def of(sweep: Sweep) -> Space:
    """Return the axes that a sweep searches: all but its replicates."""
    document = sweep.document
    axes = {name: axis for name, axis in document.axes.items() if name not in REPLICATES and not axis.count}
    keeps_integers = {name: name not in sweep.names.floats for name in axes}
    fixed: dict[str, Config] = {}
    for case, entries in document.cases.items():
        axes.setdefault(CASE, Axis.model_validate({"values": list(document.cases)}))
        keeps_integers[CASE] = True
        fixed[case] = {}
        for name, entry in entries.items():
            keeps = name not in sweep.names.floats
            if isinstance(entry, Axis):
                axes[f"{case}.{name}"], keeps_integers[f"{case}.{name}"] = entry, keeps
            else:
                fixed[case][name] = entry if keeps else float(entry)
    return Space(axes, keeps_integers, fixed)


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
