"""The matrix products of a member's step: which library computes them on CPU, and how many FLOPs they take."""

import math
from collections.abc import Iterator
from typing import Any

from jax.extend.core import jaxprs_in_params

LONGEST = 1024  # longest operand axis for which YNNPACK is no slower than Eigen (benchmarks/LOG.md)
UNCOUNTED = ("ragged_dot_general", "pallas_call", "shard_map")  # products whose FLOPs do not follow from shapes


def are_short(jaxpr: Any) -> bool:
    """Return whether no operand of a product is longer than `LONGEST` in any direction.

    Args:
      jaxpr: of one member's step, open or closed.
    """
    return all(max(operand.aval.shape, default=1) <= LONGEST for operand in _operands(jaxpr))


def flops(jaxpr: Any) -> float | None:
    """Return the FLOPs of the products and convolutions.

    A loop's body counts once for each iteration; of a conditional's branches the costliest counts, which is never
    too much.

    Args:
      jaxpr: of one member's step, open or closed.

    Returns:
      None if a trip count, or what a product costs, is unknown.
    """
    counts = [_flops(equation) for equation in _equations(jaxpr)]
    return _sum(counts)


def _flops(equation: Any) -> float | None:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        summed = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
        return 2.0 * equation.outvars[0].aval.size * summed
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval
        outputs = kernel.shape[params["dimension_numbers"].rhs_spec[0]]
        return 2.0 * equation.outvars[0].aval.size * kernel.size / outputs
    if name in UNCOUNTED:
        return None
    if name == "custom_linear_solve":  # its other jaxprs are for derivatives
        return flops(params["jaxprs"].solve)
    inner = [flops(each) for each in jaxprs_in_params(params)]
    total = _sum(inner)
    if total is None or (name == "while" and total):
        return None
    if name == "cond":
        return max(each for each in inner if each is not None)
    return total * (params["length"] if name == "scan" else 1)


def _sum(counts: list[float | None]) -> float | None:
    known = [count for count in counts if count is not None]
    return sum(known, 0.0) if len(known) == len(counts) else None


def _operands(jaxpr: Any) -> Iterator[Any]:
    """Yield the operands of all products in a jaxpr and in those inside it."""
    for equation in _equations(jaxpr):
        if equation.primitive.name == "dot_general":
            yield from equation.invars
        for inner in jaxprs_in_params(equation.params):
            yield from _operands(inner)


def _equations(jaxpr: Any) -> list[Any]:
    return getattr(jaxpr, "jaxpr", jaxpr).eqns
