"""Keep vmap, and the libraries below it, from merging operations of different members: their bits are their own.

vmap turns a product of an operand that all members share with one of each member's own into one large product, and
how a library sums an output depends on its place in that. Convolutions and triangular solves are merged likewise.
Members are kept apart in the jaxpr of their function, after differentiation, so that it holds for every task: no
model has to know of it. The jaxpr is rewritten as JAX documents it ("Writing custom Jaxpr interpreters in JAX");
`jax.custom_batching.custom_vmap` says what vmap does with a rewritten operation.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, jaxpr_as_fun

# By primitive names. Products: a shared operand is copied for each member, which costs less than a loop.
COPIED = frozenset({"dot_general"})
# Computed member after member: a convolution of many members becomes a grouped one, at a third of the speed.
IN_TURN = frozenset({"conv_general_dilated", "ragged_dot_general"})
# LAPACK calls, one matrix at a time. jaxlib 0.10 divides a batch of them into tasks for XLA's thread pool, and
# waits for these in a thread of that pool: several such calls at once wait forever (`ParallelBatchMap` in jaxlib's
# cpu/lapack_kernels.cc, left out of later versions by jax-ml/jax commit 859992407d).
MATRIX_BY_MATRIX = frozenset(
    {
        *("cholesky", "cholesky_update", "eig", "eigh", "geqp3", "geqrf", "hessenberg", "householder_product"),
        "ormqr",
        *("lu", "qr", "schur", "svd", "symmetric_product", "triangular_solve", "tridiagonal", "tridiagonal_solve"),
    }
)


def unmerged(function: Callable[..., Any], *shapes: Any) -> Callable[..., Any]:
    """Return the same function, in which vmap merges no operation of different members.

    Args:
      function: of arrays in pytrees; differentiate inside of it, not outside.
      shapes: its arguments' shapes and dtypes, for one member.
    """
    return _traced(function, shapes, lambda closed: _Rewriter().rewritten(closed))


def traced_ahead(function: Callable[..., Any], *shapes: Any) -> Callable[..., Any]:
    """Return the same function, traced here and now: it never sees what it is later mapped or sharded over.

    One that converts its closures (`jax.closure_convert`, as diffrax does) cannot be traced under `shard_map`.

    Args:
      function: of arrays in pytrees.
      shapes: its arguments' shapes and dtypes, for one member.
    """
    return _traced(function, shapes, lambda closed: closed)


def _traced(
    function: Callable[..., Any], shapes: tuple, rewritten: Callable[[ClosedJaxpr], ClosedJaxpr]
) -> Callable[..., Any]:
    closed, results = jax.make_jaxpr(function, return_shape=True)(*shapes)
    flat, structure = jaxpr_as_fun(rewritten(closed)), jax.tree.structure(results)
    return lambda *args: jax.tree.unflatten(structure, flat(*jax.tree.leaves(args)))


class _Rewriter:
    """Rewrites a jaxpr and those inside it, each once: equations that share one go on sharing it."""

    def __init__(self) -> None:
        self.known: dict[
            int, tuple[Any, Any]
        ] = {}  # by identity; the original is kept so that its id is not reused

    def rewritten(self, jaxpr: Any) -> Any:
        """Rewrite a Jaxpr or ClosedJaxpr (one class in JAX 0.11) where that is needed."""
        if id(jaxpr) not in self.known:
            is_closed = getattr(jaxpr, "jaxpr", jaxpr) is not jaxpr
            self.known[id(jaxpr)] = jaxpr, self._closed(jaxpr) if is_closed else self._open(jaxpr)
        return self.known[id(jaxpr)][1]

    def _closed(self, closed: ClosedJaxpr) -> ClosedJaxpr:
        jaxpr = self.rewritten(closed.jaxpr)
        return closed if jaxpr is closed.jaxpr else closed.replace(jaxpr=jaxpr)

    def _open(self, jaxpr: Jaxpr) -> Jaxpr:
        equations = [self.equation(equation) for equation in jaxpr.eqns]
        changed = any(new is not old for new, old in zip(equations, jaxpr.eqns, strict=True))
        return jaxpr.replace(eqns=equations) if changed else jaxpr

    def equation(self, equation: JaxprEqn) -> JaxprEqn:
        name = equation.primitive.name
        if name in COPIED | IN_TURN | MATRIX_BY_MATRIX:
            return _kept_apart(equation)
        if name == "pallas_call":  # a kernel is vmapped as a whole
            return equation
        params = {key: self.parameter(value) for key, value in equation.params.items()}
        changed = any(params[key] is not value for key, value in equation.params.items())
        return equation.replace(params=params) if changed else equation

    def parameter(self, value: Any) -> Any:
        """Return a parameter of an equation: a jaxpr, a tuple that may hold some, or anything else."""
        if isinstance(value, ClosedJaxpr | Jaxpr):
            return self.rewritten(value)
        if isinstance(value, tuple):
            parts = [self.parameter(part) for part in value]
            if any(new is not old for new, old in zip(parts, value, strict=True)):
                return value._make(parts) if hasattr(value, "_make") else tuple(parts)  # pyright: ignore
        return value


def _kept_apart(equation: JaxprEqn) -> JaxprEqn:
    """Return the equation as a call whose batching rule is ours."""
    primitive, name = equation.primitive, equation.primitive.name

    def bind(*operands: jax.Array) -> Any:
        return primitive.bind(*operands, **equation.params)

    call = custom_vmap(_matrix_by_matrix(bind) if name in MATRIX_BY_MATRIX else bind)
    call.def_vmap(_with_copies(bind) if name in COPIED else _in_turn(call.fun))
    shapes: list[Any] = [atom.aval for atom in equation.invars]
    (new,) = jax.make_jaxpr(call)(*(jax.ShapeDtypeStruct(each.shape, each.dtype) for each in shapes)).eqns
    return equation.replace(primitive=new.primitive, params=new.params)


def _with_copies(bind: Callable[..., Any]) -> Callable[..., Any]:
    """Batching rule: copy the shared operand for each member, so that vmap makes one product for each."""

    def rule(members: int, is_own: Sequence[bool], *operands: jax.Array) -> Any:
        copies = [
            operand if own else jnp.broadcast_to(operand, (members, *operand.shape))
            for operand, own in zip(operands, is_own, strict=True)
        ]
        return _with_axes(jax.vmap(bind)(*copies))

    return rule


def _in_turn(bind: Callable[..., Any]) -> Callable[..., Any]:
    """Batching rule: loop over the members."""

    def rule(members: int, is_own: Sequence[bool], *operands: jax.Array) -> Any:
        def of_one(own: list[jax.Array]) -> Any:
            left = iter(own)
            return bind(*(next(left) if own else shared for shared, own in zip(operands, is_own, strict=True)))

        mine = [operand for operand, own in zip(operands, is_own, strict=True) if own]
        return _with_axes(jax.lax.map(of_one, mine))

    return rule


def _with_axes(results: Any) -> tuple[Any, Any]:
    """Return value of a batching rule: results that all have a leading member axis."""
    return results, jax.tree.map(lambda _: True, results)


def _matrix_by_matrix(bind: Callable[..., Any]) -> Callable[..., Any]:
    """Return the operation on a batch of matrices, one after the other."""

    def each(*operands: jax.Array) -> Any:
        if max(operand.ndim for operand in operands) <= 2:
            return bind(*operands)
        return jax.lax.map(lambda operands: each(*operands), operands)

    return each
