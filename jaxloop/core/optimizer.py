"""Optimizers whose every number may be traced: one program, many settings."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from jaxloop.core import schedules
from jaxloop.core.task import Hparams
from jaxloop.sweep.optimizers import DECAY_MASKS, OPTIMIZERS

SCHEDULED = ("learning_rate", "adam_learning_rate")
ROWS = 4  # that a long sum adds side by side before it adds along them


@dataclass(frozen=True)
class Shape:
    """An array's shape without padding, ints or traced int32; a leaf in a pytree."""

    lengths: tuple[Any, ...]


class Layout(NamedTuple):
    """What some optimizers know of each parameter array beside its values.

    decay_mask: whether each array decays where `weight_decay_on` is "weights".
    hidden: how many leading axes of a hidden matrix are summed over; 0 for all other arrays.
    shapes: each array's `Shape`.
    """

    decay_mask: Any
    hidden: Any
    shapes: Any


def transformation(
    hparams: Hparams, rates: Mapping[str, Any], layout: Layout | None = None
) -> optax.GradientTransformationExtraArgs:
    """Return the optax chain of one member at one step: clipping if asked for, then the named optimizer.

    Built anew inside each traced step, so that every number in `hparams` may be a tracer.

    Args:
      rates: the learning rates at this step, as `scheduled` gives them.
      layout: of the parameters, where they are a tree; without it they may be any arrays.

    Raises:
      ValueError: what the hparams ask for needs a layout, or the optimizer decays all parameters.
    """
    name, arguments = hparams["optimizer"], {key: hparams[key] for key in OPTIMIZERS[hparams["optimizer"]]}
    if "weight_decay" in arguments and hparams.get("weight_decay_on", "all") == "weights":
        if name not in DECAY_MASKS:
            raise ValueError(f"{name} decays all parameters: weight_decay_on cannot be 'weights'")
        if layout is None:
            raise ValueError("weight_decay_on needs the layout of the parameters")
        arguments[DECAY_MASKS[name]] = layout.decay_mask
    if name == "muon":
        if layout is None:
            raise ValueError("muon needs the layout of the parameters")
        adam_rate = rates.get("adam_learning_rate", rates["learning_rate"])
        tx = _muon(rates["learning_rate"], adam_rate, layout, **arguments)
    else:
        tx = of_optax(name)(rates["learning_rate"], **arguments)
    if "clip" in hparams:
        tx = optax.chain(clip_by_global_norm(hparams["clip"]), tx)
    return optax.with_extra_args_support(tx)


def scheduled(hparams: Hparams, step: jax.Array) -> dict[str, jax.Array]:
    """Return the learning rates at a step, by the sweep's schedule."""
    factor = schedules.schedule(step, hparams)
    return {name: hparams[name] * factor for name in SCHEDULED if name in hparams}


def optimizer(hparams: Hparams, step: jax.Array) -> optax.GradientTransformationExtraArgs:
    """Return the sweep's optimizer at a step, for tasks that take their own steps: `jaxloop.optimizer`.

    Its hparams (`optimizer`, `learning_rate`, `schedule`, `weight_decay`, `clip`, ...) stay axes of the sweep.

    Args:
      hparams: as `update` gets them.
      step: int32 steps taken; any, for `init`.
    """

    def built(params: Any) -> Any:
        matrices = jax.tree.map(lambda leaf: leaf.ndim >= 2, params)
        hidden = jax.tree.map(lambda leaf: int(leaf.ndim == 2), params)
        shapes = jax.tree.map(lambda leaf: Shape(leaf.shape), params)
        rates = scheduled(hparams, jnp.asarray(step))
        return transformation(hparams, rates, Layout(matrices, hidden, shapes))

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
        return built(updates if params is None else params).update(updates, state, params, **extra_args)

    return optax.GradientTransformationExtraArgs(lambda params: built(params).init(params), update)


def global_norm(tree: Any) -> jax.Array:
    """`optax.global_norm`, as sums that CPUs are fast at (`_total`)."""
    return jnp.sqrt(sum(_total(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))


def norm_where_finite(tree: Any, finite: Any) -> jax.Array:
    """Return the global norm of `tree`; not finite where any number in `finite`, of the same structure, is not.

    Both are read in one pass: two passes took a tenth of a small member's step (benchmarks/LOG.md).
    """
    squares = jax.tree.map(lambda leaf, other: jnp.square(leaf) + 0.0 * other, tree, finite)
    return jnp.sqrt(sum(_total(leaf) for leaf in jax.tree.leaves(squares)))


def _total(x: jax.Array) -> jax.Array:
    """Return the sum of an array's numbers, in two stages.

    On CPU XLA adds strictly in order, and writes out first what it sums; but a few rows it adds side by side,
    while it computes them. The barrier keeps it from making one sum of the two.
    """
    x = x.ravel()
    length = x.size // ROWS
    columns = jax.lax.optimization_barrier(x[: ROWS * length].reshape(ROWS, length).sum(0))
    return columns.sum() + x[ROWS * length :].sum()


def clip_by_global_norm(most: jax.Array) -> optax.GradientTransformation:
    """`optax.clip_by_global_norm` over this file's norm, which the step computes once for both."""

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        scale = jnp.minimum(1.0, most / global_norm(updates))
        return jax.tree.map(lambda leaf: leaf * scale, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def of_optax(name: str) -> Callable[..., optax.GradientTransformation]:
    """Return an optimizer of optax or of its contrib, by its name."""
    return getattr(optax if hasattr(optax, name) else contrib, name)


def _muon(
    rate: Any,
    adam_rate: Any,
    layout: Layout,
    *,
    ns_steps: int,
    beta: Any,
    eps: Any,
    nesterov: bool,
    adaptive: bool,
    weight_decay: Any,
    **arguments: Any,
) -> optax.GradientTransformation:
    """optax.contrib.muon with the scale of an update from each matrix's true shape, not its padded one.

    Hidden matrices are orthogonalized (Jordan 2024, "Muon"), all else goes to AdamW.
    """
    mask = adam_mask = arguments.pop("weight_decay_mask", None)
    if mask is not None:
        none = optax.MaskedNode()
        adam_mask = jax.tree.map(lambda inputs, decays: none if inputs else decays, layout.hidden, mask)
        mask = jax.tree.map(lambda inputs, decays: decays if inputs else none, layout.hidden, mask)
    adam = {name.removeprefix("adam_"): value for name, value in arguments.items()}
    labels = jax.tree.map(lambda inputs: "muon" if inputs else "adam", layout.hidden)

    def of_hidden(function: Callable[[int, tuple], Any]) -> Any:
        return jax.tree.map(
            lambda inputs, shape: function(inputs, shape.lengths) if inputs else optax.MaskedNode(),
            layout.hidden,
            layout.shapes,
        )

    dimensions, factors = of_hidden(_matrix_axes), of_hidden(_width_transfer)

    def scale(updates: Any, state: Any, params: Any = None) -> Any:
        return jax.tree.map(jnp.multiply, updates, factors), state

    return optax.partition(
        {
            "muon": optax.chain(
                contrib.scale_by_muon(
                    ns_steps=ns_steps,
                    beta=beta,
                    eps=eps,
                    nesterov=nesterov,
                    adaptive=adaptive,
                    weight_dimension_numbers=lambda _: dimensions,
                ),
                optax.GradientTransformation(lambda params: optax.EmptyState(), scale),
                optax.add_decayed_weights(weight_decay, mask),
                optax.scale_by_learning_rate(rate),
            ),
            "adam": optax.adamw(adam_rate, eps=eps, nesterov=nesterov, mask=adam_mask, **adam),
        },
        labels,
    )


def _matrix_axes(inputs: int, lengths: tuple) -> contrib.MuonDimensionNumbers:
    return contrib.MuonDimensionNumbers(tuple(range(inputs)), tuple(range(inputs, len(lengths))))


def _width_transfer(inputs: int, lengths: tuple) -> jax.Array:
    """sqrt(max(1, fan-out / fan-in)), the scale of an orthogonal update that transfers over widths."""
    fan_in, fan_out = math.prod(lengths[:inputs]), math.prod(lengths[inputs:])
    return jnp.sqrt(jnp.maximum(1.0, fan_out / fan_in))
