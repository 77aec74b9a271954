"""Learning-rate schedules whose every number may be traced."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxloop.core.task import Hparams


def schedule(step: jax.Array, hparams: Hparams) -> jax.Array:
    """Return the share of the peak rate at `step` (from 0): linear warm-up, then the schedule to `end_factor`.

    Branch-free, so that `warmup_steps` and `steps` may differ between members of one program.
    """
    step = step.astype(jnp.float32)
    warmup = jnp.asarray(hparams["warmup_steps"], jnp.float32)
    shape = _share_after(step - warmup, warmup, hparams)
    end = jnp.asarray(hparams["end_factor"], jnp.float32)
    return jnp.where(step < warmup, step / jnp.maximum(warmup, 1.0), end + (1.0 - end) * shape)


def _share_after(step: jax.Array, warmup: jax.Array, hparams: Hparams) -> jax.Array:
    """Return the schedule so many steps after the warm-up; one that is constant does not read `steps`."""
    index, names = hparams["schedule"]
    if names == ("constant",):
        return jnp.ones_like(step)
    progress = jnp.clip(step / jnp.maximum(jnp.asarray(hparams["steps"], jnp.float32) - warmup, 1.0), 0.0, 1.0)
    shapes = [SCHEDULES[name](progress, hparams) for name in names]
    return shapes[0] if len(names) == 1 else jnp.stack(shapes)[index]


def _constant(progress: jax.Array, hparams: Hparams) -> Any:
    return jnp.ones_like(progress)


def _linear(progress: jax.Array, hparams: Hparams) -> Any:
    return 1.0 - progress


def _cosine(progress: jax.Array, hparams: Hparams) -> Any:
    return 0.5 * (1.0 + jnp.cos(jnp.pi * progress))


def _warmup_stable_decay(progress: jax.Array, hparams: Hparams) -> Any:
    """Flat, then linear over the last `decay_fraction` (Hu et al. 2024, MiniCPM, section 4.2)."""
    return jnp.minimum((1.0 - progress) / jnp.maximum(hparams["decay_fraction"], 1e-6), 1.0)


SCHEDULES: dict[str, Callable[[jax.Array, Any], jax.Array]] = {
    "constant": _constant,
    "linear": _linear,
    "cosine": _cosine,
    "warmup_stable_decay": _warmup_stable_decay,
}
