"""How a member trains, whichever form its task has: by gradient steps of a loss, or by the task's own update."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxloop.core.optimizer import Layout, norm_where_finite, scheduled, transformation
from jaxloop.core.task import Hparams, Metrics, Task
from jaxloop.sweep.optimizers import OWN


class Update(NamedTuple):
    """What a step gives: the new state, what it measured, and whether it stayed within the finite numbers."""

    state: Any
    metrics: Metrics
    finite: jax.Array


class Learner(NamedTuple):
    """How one member trains; every form of task becomes one.

    init: `(key, hparams) -> state`.
    update: `(state, batch, key, step, hparams) -> Update`.
    params: `(state) -> params`: what is averaged, exported and kept as best.
    extra: `(state) -> pytree`: what else it takes to evaluate these; () for nothing.
    evaluated: `(params, extra, state, hparams) -> what the task's metrics get`.
    """

    init: Callable[[jax.Array, Hparams], Any]
    update: Callable[[Any, Any, jax.Array, jax.Array, Hparams], Update]
    params: Callable[[Any], Any]
    extra: Callable[[Any], Any]
    evaluated: Callable[[Any, Any, Any, Hparams], Any]


class GradientState(NamedTuple):
    """What gradient steps carry; `extra` is what a `stateful_loss` keeps beside the parameters."""

    params: Any
    opt_state: Any
    extra: Any = ()


class LossFunction(NamedTuple):
    """A loss to minimize, which may keep a state.

    init: `(key, hparams) -> (params, extra)`.
    loss: `(params, extra, batch, key, step, hparams) -> (scalar, (extra, metrics))`.
    learning_rate_multipliers: as the task's.
    restored: `(params) -> params` in the task's structure.
    """

    init: Callable[..., tuple[Any, Any]]
    loss: Callable[..., tuple[jax.Array, tuple[Any, Metrics]]]
    learning_rate_multipliers: Callable[[Any, Hparams], Any]
    restored: Callable[[Any], Any] = lambda params: params


def loss_function(task: Task) -> LossFunction:
    """Return what a task with a loss minimizes."""
    multipliers = task.learning_rate_multipliers
    if task.stateful_loss:

        def with_arrays(key: jax.Array, hparams: Hparams) -> Any:
            params, extra = task.init(key, hparams)
            return params, jax.tree.map(jnp.asarray, extra)

        return LossFunction(with_arrays, task.stateful_loss, multipliers)
    stateless = task.loss
    assert stateless is not None, "checked by Task"

    def init(key: jax.Array, hparams: Hparams) -> Any:
        return task.init(key, hparams), ()

    def loss(params: Any, extra: Any, batch: Any, key: jax.Array, step: jax.Array, hparams: Hparams) -> Any:
        value, metrics = stateless(params, batch, key, hparams)
        return value, (extra, metrics)

    return LossFunction(init, loss, multipliers)


def raveled(function: LossFunction, params: Any) -> LossFunction:
    """Return the same function of ONE flat parameter vector: elementwise optimizers then run as one loop.

    Args:
      params: the parameters, as shapes.
    """
    restore = _unraveler(params)

    def init(key: jax.Array, hparams: Hparams) -> Any:
        params, extra = function.init(key, hparams)
        return ravel_pytree(params)[0], extra

    def loss(params: Any, *rest: Any) -> Any:
        return function.loss(restore(params), *rest)

    def learning_rate_multipliers(params: Any, hparams: Hparams) -> Any:
        found = function.learning_rate_multipliers(restore(params), hparams)
        return None if found is None else ravel_pytree(spread_over(restore(params), found))[0]

    return LossFunction(init, loss, learning_rate_multipliers, restore)


def _unraveler(params: Any) -> Callable[[jax.Array], Any]:
    """Return the inverse of `ravel_pytree` for these shapes, by tracing alone."""
    found: list[Callable[[jax.Array], Any]] = []

    def vector(params: Any) -> jax.Array:
        flat, restore = ravel_pytree(params)
        found.append(restore)
        return flat

    jax.eval_shape(vector, params)
    return found[0]


def spread_over(params: Any, scalars: Any) -> Any:
    """Return scalars, one for each array of `params`, as arrays of the same shapes."""
    return jax.tree.map(lambda leaf, scalar: jnp.full(leaf.shape, scalar, leaf.dtype), params, scalars)


def learner(task: Task, optimizer: str, params: Any, layout: Callable[[Hparams], Layout] | None = None) -> Learner:
    """Return how a member of a task trains.

    Args:
      optimizer: its name in the sweep.
      params: one member's parameters, as shapes.
      layout: of the parameters, from all hparams, for optimizers that look at arrays as a whole; None to train
        them as one flat vector.
    """
    if task.update:
        return _by_own_update(task)
    minimized = loss_function(task)
    eval_params = task.eval_params if optimizer == OWN else None
    one = _ByGradient(task, minimized if layout else raveled(minimized, params), layout, eval_params)
    return Learner(one.init, one.update, one.params, one.extra, one.evaluated)


@dataclass(frozen=True)
class _ByGradient:
    """The functions of a `Learner` that follows the gradient of a loss, by the sweep's optimizer or the task's."""

    task: Task
    minimized: LossFunction
    layout: Callable[[Hparams], Layout] | None
    eval_params: Callable[[Any, Any], Any] | None

    def init(self, key: jax.Array, hparams: Hparams) -> Any:
        params, extra = self.minimized.init(key, hparams)
        tx, _ = self._transformation(hparams, jnp.int32(0))
        return GradientState(params, tx.init(params), extra)

    def update(self, state: Any, batch: Any, key: jax.Array, step: jax.Array, hparams: Hparams) -> Any:
        def loss(params: Any) -> Any:
            with jax.default_matmul_precision(hparams["matmul_precision"]):
                value, aux = self.minimized.loss(computed(params, hparams), state.extra, batch, key, step, hparams)
            return jnp.asarray(value, jnp.float32), aux

        (value, (extra, metrics)), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
        tx, rate = self._transformation(hparams, step)
        extra_args = {}
        if hparams["optimizer"] == OWN:
            extra_args = {"value": value, "grad": grads, "value_fn": lambda params: loss(params)[0]}
        updates, opt_state = tx.update(grads, state.opt_state, state.params, **extra_args)
        if (multipliers := self.minimized.learning_rate_multipliers(state.params, hparams)) is not None:
            updates = jax.tree.map(jnp.multiply, updates, multipliers)
        params = optax.apply_updates(state.params, updates)
        grad_norm = norm_where_finite(grads, params)
        if self.layout is None:  # elementwise: computed again where kept, since to write it twice takes longer
            _, opt_state = tx.update(grads, *_computed_again((state.opt_state, state.params)))
        new = as_before(GradientState(params, opt_state, extra), state)
        metrics = {**metrics, "loss": value, **rate, "grad_norm": grad_norm}
        return Update(new, metrics, jnp.isfinite(value) & jnp.isfinite(grad_norm))

    def params(self, state: Any) -> Any:
        return self.eval_params(state.opt_state, state.params) if self.eval_params else state.params

    def extra(self, state: Any) -> Any:
        return state.extra

    def evaluated(self, params: Any, extra: Any, state: Any, hparams: Hparams) -> Any:
        params = computed(self.minimized.restored(params), hparams)
        return (params, extra) if self.task.stateful_loss else params

    def _transformation(self, hparams: Hparams, step: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        """Return the optimizer at a step, and its learning rate where that is jaxloop's."""
        if hparams["optimizer"] == OWN:
            assert self.task.tx is not None, "checked with the sweep"
            return optax.with_extra_args_support(self.task.tx(hparams, step)), {}
        rates = scheduled(hparams, step)
        tx = transformation(hparams, rates, self.layout and self.layout(hparams))
        return tx, {"learning_rate": rates["learning_rate"]}


def _computed_again(tree: Any) -> Any:
    """Hide arrays behind a barrier on CPU: XLA then computes anew from them, and does not store results twice."""
    return jax.lax.platform_dependent(tree, cpu=jax.lax.optimization_barrier, default=lambda tree: tree)


def _by_own_update(task: Task) -> Learner:
    """Return a learner that takes the steps that a task brings."""
    own = task.update
    assert own is not None, "checked by `learner`"
    params = task.params or (lambda state: state)

    def init(key: jax.Array, hparams: Hparams) -> Any:
        return jax.tree.map(jnp.asarray, task.init(key, hparams))

    def update(state: Any, batch: Any, key: jax.Array, step: jax.Array, hparams: Hparams) -> Any:
        with jax.default_matmul_precision(hparams["matmul_precision"]):
            new, metrics = own(state, batch, key, step, hparams)
        new = as_before(new, state)
        finite = jnp.isfinite(jnp.asarray(metrics.get("loss", 0.0))).all()
        for leaf in jax.tree.leaves(params(new)):
            if jnp.issubdtype(leaf.dtype, jnp.inexact):
                finite &= jnp.isfinite(leaf).all()
        return Update(new, metrics, finite)

    return Learner(init, update, params, lambda state: (), lambda params, extra, state, hparams: state)


def as_before(new: Any, old: Any) -> Any:
    """Return a state in the dtypes that it had before: a Python number has none of its own."""
    return jax.tree.map(lambda leaf, before: jnp.asarray(leaf, before.dtype), new, old)


def computed(params: Any, hparams: Hparams) -> Any:
    """Return the parameters in the precision that the member computes in; what it keeps stays float32."""
    if hparams["precision"] == "float32":
        return params
    return jax.tree.map(lambda x: x.astype(hparams["precision"]), params)
