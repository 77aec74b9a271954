"""The matrix products of a member's step: which library computes them on CPU, and how many FLOPs they take."""

import math
from collections.abc import Iterator
from typing import Any

UNCOUNTED = ("while", "custom_linear_solve")  # what is inside is computed any number of times
LONGEST = 1024  # of an operand: up to here YNNPACK's products are as fast as Eigen's or faster (benchmarks/LOG.md)


def are_short(jaxpr: Any) -> bool:
    """Return whether no operand of a product is longer than `LONGEST` in any direction.

    Args:
      jaxpr: of one member's step, open or closed.
    """
    return all(max(operand.aval.shape, default=1) <= LONGEST for operand in _operands(jaxpr))


def flops(jaxpr: Any) -> float | None:
    """Return the FLOPs of the products and convolutions, each turn of a loop counted; of branches, the costliest.

    Args:
      jaxpr: of one member's step, open or closed.

    Returns:
      None where nothing tells how often a product is computed.
    """
    total = 0.0
    for equation in _equations(jaxpr):
        found = _flops(equation)
        if found is None:
            return None
        total += found
    return total


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
    inner = [flops(each) for each in _inner(equation)]
    known = [each for each in inner if each is not None]
    if len(known) < len(inner) or (name in UNCOUNTED and any(known)):
        return None
    if name == "cond":
        return max(known)
    return sum(known) * (params["length"] if name == "scan" else 1)


def _operands(jaxpr: Any) -> Iterator[Any]:
    """Yield the operands of all products in a jaxpr and in those inside it."""
    for equation in _equations(jaxpr):
        if equation.primitive.name == "dot_general":
            yield from equation.invars
        for inner in _inner(equation):
            yield from _operands(inner)


def _equations(jaxpr: Any) -> list[Any]:
    return getattr(jaxpr, "jaxpr", jaxpr).eqns


def _inner(equation: Any) -> Iterator[Any]:
    """Yield the jaxprs inside an equation."""
    for value in equation.params.values():
        for inner in value if isinstance(value, tuple) else (value,):
            if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                yield inner
