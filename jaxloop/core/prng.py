"""PRNG keys: always of threefry, whatever JAX's default is, and counted, never carried from step to step."""

from enum import IntEnum

import jax

from jaxloop.core.task import Hparams


def threefry(seed: jax.Array | int) -> jax.Array:
    """Return a typed threefry key. Under vmap, `rbg` would use the first member's key for all."""
    return jax.random.key(seed, impl="threefry2x32")


def key_shape() -> jax.ShapeDtypeStruct:
    """Return a threefry key as a shape, for tracing: no key is computed."""
    return jax.eval_shape(lambda: threefry(0))


class KeyStream(IntEnum):
    """Independent key streams of a seed."""

    PARAMS = 0
    DATA = 1
    LOSS = 2
    SUBSET = 3
    FOLDS = 4


def stream_key(hparams: Hparams, which: KeyStream) -> jax.Array:
    """Return the key of one of a member's streams."""
    return jax.random.fold_in(threefry(hparams["seed"]), which)
