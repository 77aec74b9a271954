"""Batches without state: which examples step t of seed s sees is a formula."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxloop.sweep.sizes import Size

ROUNDS = 24  # measured: position and pair statistics match numpy's permutation (tests/core/test_batches.py)
UNROLLED = 4  # rounds compiled side by side: measured as fast as all 24, in benchmarks/LOG.md


def permuted(key: jax.Array, index: jax.Array, length: Any) -> jax.Array:
    """Return where a keyed random permutation of `range(length)` sends each index, in O(1) memory.

    The swap-or-not shuffle (Hoang, Morris, Rogaway 2012, "An enciphering scheme based on a card shuffle",
    figure 1): each round pairs every index with a partner and swaps the pair by a keyed coin. It is a
    bijection for any length, so every example comes exactly once an epoch.

    Args:
      key: one typed PRNG key.
      index: (B,) uint32 below `length`.
      length: an int or a uint32 scalar.
    """
    length = jnp.asarray(length, jnp.uint32)
    shifts, salts = jax.random.bits(key, (2, ROUNDS))
    shifts = shifts % length

    def swapped(index: jax.Array, keyed: Any) -> Any:
        shift, salt = keyed
        partner = jnp.where(shift >= index, shift - index, shift + length - index)
        coin = jnp.maximum(index, partner) ^ salt
        # The two multiplications of a well-mixed 32-bit integer hash (Wellons' "lowbias32").
        coin = (coin ^ (coin >> 16)) * jnp.uint32(0x7FEB352D)
        coin = (coin ^ (coin >> 15)) * jnp.uint32(0x846CA68B)
        return jnp.where(coin >> 31, partner, index), None

    # Not unrolled in full: where a chain of rounds ends in a gather, LLVM's loop vectorizer (VPlan's
    # `onlyFirstLaneUsed`, in JAX 0.11) takes time exponential in its length, and compilation never ends.
    return jax.lax.scan(swapped, index, (shifts, salts), unroll=UNROLLED)[0]


def batch_index(key: jax.Array, step: jax.Array, batch_size: Size, length: Any) -> jax.Array:
    """Return the (batch_size.max,) examples of one step: consecutive places in the epochs' permutations.

    A batch may straddle two epochs; no example is dropped. Needs `batch_size <= length`. What is beyond a padded
    batch's own size is some valid example.

    Args:
      length: how many examples there are: an int or a uint32 scalar.
    """
    # Split so that step * batch_size never overflows: places repeat every `length` steps, `batch_size` epochs.
    divides_epoch = not batch_size.is_padded and isinstance(length, int) and length % batch_size.max == 0
    size, length = jnp.asarray(batch_size.value, jnp.uint32), jnp.asarray(length, jnp.uint32)
    cycle, within = step.astype(jnp.uint32) // length, step.astype(jnp.uint32) % length
    place = within * size + jnp.arange(batch_size.max, dtype=jnp.uint32)
    epoch = cycle * size + place // length
    first = permuted(jax.random.fold_in(key, epoch[0]), place % length, length)
    if divides_epoch:
        return first
    second = permuted(jax.random.fold_in(key, epoch[0] + 1), place % length, length)
    return jnp.where(epoch == epoch[0], first, second)


def take(split: Mapping[str, jax.Array], index: jax.Array) -> dict[str, jax.Array]:
    """Return the examples at `index`, all below the split's length, of every array of a split."""
    return {name: array.at[index].get(mode="promise_in_bounds") for name, array in split.items()}
