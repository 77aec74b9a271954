"""Optimizers and schedules whose every number may be traced: one program, many settings."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxloop.declared import OPTIMIZERS
from jaxloop.task import Hparams


def optimizer(hparams: Hparams) -> optax.GradientTransformationExtraArgs:
    """The optax chain of one member at one step: clipping if asked for, then the named optimizer.

    Built anew inside each traced step, so that every number in `hparams` may be a tracer; the learning rate
    is the schedule's value at this step.
    """
    name = hparams["optimizer"]
    arguments = {key: hparams[key] for key in OPTIMIZERS[name]}
    tx = getattr(optax, name)(hparams["learning_rate"], **arguments)
    if "clip" in hparams:
        tx = optax.chain(optax.clip_by_global_norm(hparams["clip"]), tx)
    return optax.with_extra_args_support(tx)


def learning_rate(step: jax.Array, hparams: Hparams) -> jax.Array:
    """The rate at `step` (from 0): linear warm-up to the peak, then the named schedule down to `end_factor`.

    Branch-free, so that peak, `warmup_steps` and `steps` may differ between members of one program.
    """
    step = step.astype(jnp.float32)
    warmup = jnp.asarray(hparams["warmup_steps"], jnp.float32)
    rest = jnp.maximum(jnp.asarray(hparams["steps"], jnp.float32) - warmup, 1.0)
    progress = jnp.clip((step - warmup) / rest, 0.0, 1.0)
    shape = SCHEDULES[hparams["schedule"]](progress, hparams)
    end = jnp.asarray(hparams["end_factor"], jnp.float32)
    factor = jnp.where(step < warmup, step / jnp.maximum(warmup, 1.0), end + (1.0 - end) * shape)
    return hparams["learning_rate"] * factor


def _constant(progress, hparams):
    return jnp.ones_like(progress)


def _linear(progress, hparams):
    return 1.0 - progress


def _cosine(progress, hparams):
    return 0.5 * (1.0 + jnp.cos(jnp.pi * progress))


def _warmup_stable_decay(progress, hparams):
    """Flat, then linear over the last `decay_fraction` (Hu et al. 2024, MiniCPM, section 4.2)."""
    return jnp.minimum((1.0 - progress) / jnp.maximum(hparams["decay_fraction"], 1e-6), 1.0)


SCHEDULES: dict[str, Callable[[jax.Array, Any], jax.Array]] = {
    "constant": _constant,
    "linear": _linear,
    "cosine": _cosine,
    "warmup_stable_decay": _warmup_stable_decay,
}
