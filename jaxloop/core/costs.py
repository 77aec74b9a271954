"""What one member's step costs and which products it has, from its trace: before anything is compiled."""

from typing import Any

import jax

from jaxloop.core import products
from jaxloop.core.bucket import Bucket
from jaxloop.core.shapes import once, one_member, resident
from jaxloop.core.task import Task
from jaxloop.sweep.sweep import Sweep

# How often a step touches a byte that it keeps as compiled: 19 to 34 times in an MLP, a CNN and a GPT,
# 4 times in a GRU, whose loop XLA counts once (benchmarks/LOG.md).
TIMES_TOUCHED = 30.0


def step_flops(sweep: Sweep, task: Task, bucket: Bucket) -> float:
    """FLOPs of one member's step, as XLA counts them; a loop counts once."""
    return _step_cost(sweep, task, bucket, "flops")


def working_set(sweep: Sweep, task: Task, bucket: Bucket) -> float:
    """Estimate the bytes that one member's step keeps in use from those that XLA counts as read and written."""
    return _step_cost(sweep, task, bucket, "bytes accessed") / TIMES_TOUCHED


def _step_cost(sweep: Sweep, task: Task, bucket: Bucket, what: str) -> float:
    """Return what XLA counts of one member's step, before it is compiled."""

    def costs() -> Any:
        return _traced_step(sweep, task, bucket).lower().cost_analysis() or {}

    return float(once(task, ("costs", bucket.program), costs).get(what, 0.0))


def has_short_products(sweep: Sweep, task: Task, bucket: Bucket) -> bool:
    """Return whether the products of one member's step are short; see `products`."""

    def found() -> bool:
        return products.are_short(_traced_step(sweep, task, bucket).jaxpr)

    return once(task, ("products", bucket.program), found)


def _traced_step(sweep: Sweep, task: Task, bucket: Bucket) -> Any:
    """Return one member's step, traced."""
    one, hparams = one_member(sweep, task, bucket)
    state, data = jax.eval_shape(one.init, hparams), resident(task, bucket)
    return jax.jit(one.step).trace(hparams, state, jax.eval_shape(one.draw, hparams, state.step, data), data)
