"""What one member's step costs, from its trace: before anything is compiled."""

from typing import Any, NamedTuple

import jax
from jax.extend.core import subjaxprs

from jaxloop.core import product_costs
from jaxloop.core.assembly import one_member
from jaxloop.core.bucket import Bucket
from jaxloop.core.memo import memoized
from jaxloop.core.shapes import resident
from jaxloop.core.task import Task
from jaxloop.sweep.sweep import Sweep

# Bytes that XLA counts as accessed for each byte that the compiled step keeps in use: 19 to 34 in an MLP, a CNN
# and a GPT, 4 in a GRU, whose loop XLA counts once (benchmarks/LOG.md).
ACCESSES = 30.0


class StepCost(NamedTuple):
    """What one member's step costs, as XLA counts it, at the sizes that it is padded to.

    Attributes:
      flops: of all its operations; a loop's body is counted once.
      working_set: an estimate of the bytes that it keeps in use.
    """

    flops: float
    working_set: float


class Products(NamedTuple):
    """The matrix products of one member's step, at the sizes that it is padded to.

    Attributes:
      flops: see `product_costs.flops`.
      are_short: see `product_costs.are_short`.
    """

    flops: float | None
    are_short: bool


def step_cost(sweep: Sweep, task: Task, bucket: Bucket) -> StepCost:
    """Return what one member's step costs."""

    def counted() -> StepCost:
        traced = _traced_step(sweep, task, bucket)
        _products(task, bucket, lambda: traced)
        found = traced.lower().cost_analysis() or {}
        return StepCost(float(found.get("flops", 0.0)), float(found.get("bytes accessed", 0.0)) / ACCESSES)

    return memoized(task, ("step cost", bucket.program), counted)


def working_set(sweep: Sweep, task: Task, bucket: Bucket) -> float:
    """Return an estimate of the bytes that a step keeps in use, in the costliest of a program's branches."""
    return max(step_cost(sweep, task, part).working_set for part in bucket.size_classes)


def operations(sweep: Sweep, task: Task, bucket: Bucket) -> int:
    """Return how many operations one member's step has, nested ones included; a loop's body counts once."""

    def count(jaxpr: Any) -> int:
        return len(jaxpr.eqns) + sum(map(count, subjaxprs(jaxpr)))

    return memoized(
        task, ("operations", bucket.program), lambda: count(_traced_step(sweep, task, bucket).jaxpr.jaxpr)
    )


def products(sweep: Sweep, task: Task, bucket: Bucket) -> Products:
    """Return the products of one member's step."""
    return _products(task, bucket, lambda: _traced_step(sweep, task, bucket))


def _products(task: Task, bucket: Bucket, trace: Any) -> Products:
    def found() -> Products:
        jaxpr = trace().jaxpr
        return Products(product_costs.flops(jaxpr), product_costs.are_short(jaxpr))

    return memoized(task, ("products", bucket.program), found)


def _traced_step(sweep: Sweep, task: Task, bucket: Bucket) -> Any:
    """Return one member's step, traced."""
    one, hparams = one_member(sweep, task, bucket)
    state, data = jax.eval_shape(one.init, hparams), resident(task, bucket)
    return jax.jit(one.step).trace(hparams, state, jax.eval_shape(one.draw, hparams, state.step, data), data)
