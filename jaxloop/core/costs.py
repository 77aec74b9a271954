"""What one member's step costs, from its trace: before anything is compiled."""

from typing import Any, NamedTuple

import jax

from jaxloop.core import products
from jaxloop.core.bucket import Bucket
from jaxloop.core.shapes import once, one_member, resident
from jaxloop.core.task import Task
from jaxloop.sweep.sweep import Sweep

# How often a step touches a byte that it keeps as compiled: 19 to 34 times in an MLP, a CNN and a GPT,
# 4 times in a GRU, whose loop XLA counts once (benchmarks/LOG.md).
TIMES_TOUCHED = 30.0


class StepCost(NamedTuple):
    """What one member's step costs, at the sizes that it is padded to.

    Attributes:
      flops: of all its operations, as XLA counts them; a loop counts once.
      bytes_accessed: that they read and write, as XLA counts them.
      product_flops: of its products and convolutions alone; see `products.flops`.
      has_short_products: see `products.are_short`.
    """

    flops: float
    bytes_accessed: float
    product_flops: float | None
    has_short_products: bool

    @property
    def working_set(self) -> float:
        """An estimate of the bytes that the step keeps in use."""
        return self.bytes_accessed / TIMES_TOUCHED


def step_cost(sweep: Sweep, task: Task, bucket: Bucket) -> StepCost:
    """Return what one member's step costs, traced once."""

    def found() -> StepCost:
        traced = _traced_step(sweep, task, bucket)
        counted = traced.lower().cost_analysis() or {}
        return StepCost(
            flops=float(counted.get("flops", 0.0)),
            bytes_accessed=float(counted.get("bytes accessed", 0.0)),
            product_flops=products.flops(traced.jaxpr),
            has_short_products=products.are_short(traced.jaxpr),
        )

    return once(task, ("step cost", bucket.program), found)


def _traced_step(sweep: Sweep, task: Task, bucket: Bucket) -> Any:
    one, hparams = one_member(sweep, task, bucket)
    state, data = jax.eval_shape(one.init, hparams), resident(task, bucket)
    return jax.jit(one.step).trace(hparams, state, jax.eval_shape(one.draw, hparams, state.step, data), data)
