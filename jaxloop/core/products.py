"""The matrix products of a member's step: which library computes them on CPU."""

from collections.abc import Iterator
from typing import Any

LONGEST = 1024  # of an operand: up to here YNNPACK's products are as fast as Eigen's or faster (benchmarks/LOG.md)


def are_short(jaxpr: Any) -> bool:
    """Return whether no operand of a product is longer than `LONGEST` in any direction.

    Args:
      jaxpr: of one member's step, open or closed.
    """
    return all(max(operand.aval.shape, default=1) <= LONGEST for operand in _operands(jaxpr))


def _operands(jaxpr: Any) -> Iterator[Any]:
    """Yield the operands of all products in a jaxpr and in those inside it."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        if equation.primitive.name == "dot_general":
            yield from equation.invars
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                    yield from _operands(inner)
