"""Random arrays whose every value follows from a key and its own place: a prefix is the same for any shape.

`jax.random` counts over the whole shape; a padded array would have other values than the unpadded one in its first
corner. Here a value's indices are themselves the counter of threefry (Salmon et al. 2011, "Parallel random
numbers: as easy as 1, 2, 3"). It also compiles five times as fast as a key for each row (benchmarks/LOG.md).
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.extend.random import threefry_2x32

TRUNCATED_STDDEV = 0.87962566103423978  # of a unit normal cut at two standard deviations
WITHIN_TWO = 0.95449973610364158  # the share of a normal that is
BITS = 23  # so that a float32 still holds a half more


def uniform(key: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Return float32 draws in the open interval (0, 1).

    Args:
      key: a threefry key.
      shape: of four axes at the most; of three or four, none is longer than 65536.

    Raises:
      ValueError: the shape is beyond that.
    """
    high, low = _word(shape, 0, (len(shape) + 1) // 2), _word(shape, (len(shape) + 1) // 2, len(shape))
    drawn, _ = jnp.split(threefry_2x32(jax.random.key_data(key), jnp.concatenate([high.ravel(), low.ravel()])), 2)
    return ((drawn >> (32 - BITS)).reshape(shape).astype(jnp.float32) + 0.5) * 2.0**-BITS


@functools.partial(jax.jit, static_argnames="shape", inline=True)  # traced once for all arrays of a shape
def truncated_normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Return float32 draws of unit variance from a normal cut at two of its standard deviations.

    Args:
      key: a threefry key.
      shape: a tuple, since it is static; see `uniform` for its limits.
    """
    centered = WITHIN_TWO * (2.0 * uniform(key, shape) - 1.0)
    return jnp.sqrt(2.0) * jax.lax.erf_inv(centered) / TRUNCATED_STDDEV


def _word(shape: Sequence[int], first: int, end: int) -> jax.Array:
    """Return one half of each place's counter: its indices on up to two axes."""
    if end - first > 2 or (len(shape) > 2 and max(shape) > 1 << 16):
        raise ValueError(
            f"draws of shape {tuple(shape)}: four axes at the most, and 65536 on each of three or four"
        )
    word = jnp.zeros(shape, jnp.uint32)
    for axis in range(first, end):
        word = (word << 16) | jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    return word
