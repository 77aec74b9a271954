"""Which resident examples a member trains on: all, the first so many of its own order, or all but a fold."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxloop.core.batches import permuted
from jaxloop.core.prng import KeyStream, stream_key, threefry
from jaxloop.core.task import Hparams

FOLD_SEED = 0  # of the order in which examples are dealt into folds, unless `resample` gives each seed its own


class Subset(NamedTuple):
    """Some of the resident examples, by places of their own.

    Attributes:
      count: how many: an int, or a traced uint32 where members may differ.
      at: the examples, as uint32 indices, that stand at (B,) uint32 places below `count`.
    """

    count: Any
    at: Callable[[jax.Array], jax.Array]


def training(key: jax.Array, hparams: Hparams, examples: int) -> Subset:
    """Return a member's training examples.

    With `folds`, all but those of the fold that the member holds out. With `train_examples`, so many of them,
    drawn by the member's seed so that a larger number contains the smaller one's.

    Args:
      key: the member's own, of its seed.
      examples: resident ones.
    """
    subset = Subset(examples, lambda place: place)
    if "folds" in hparams:
        start, stop = _fold(hparams, examples)
        subset = Subset(
            examples - (stop - start),
            lambda place: _dealt(hparams, jnp.where(place < start, place, place + (stop - start)), examples),
        )
    if "train_examples" in hparams:
        whole = subset
        subset = Subset(
            jnp.asarray(hparams["train_examples"], jnp.uint32),
            lambda place: whole.at(permuted(key, place, whole.count)),
        )
    return subset


def held_out(hparams: Hparams, examples: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return a fold's examples: those that every fold has, one more, and whether this fold has that one.

    Returns:
      (F,) uint32 indices with F = examples // folds; a uint32 index; a bool.
    """
    start, stop = _fold(hparams, examples)
    every = examples // hparams["folds"]
    places = start + jnp.arange(every + 1, dtype=jnp.uint32)
    index = _dealt(hparams, jnp.minimum(places, examples - 1), examples)
    return index[:-1], index[-1], stop - start > every


def _fold(hparams: Hparams, examples: int) -> tuple[jax.Array, jax.Array]:
    """Return where a fold begins and ends in the order of dealing; sizes differ by one at the most."""
    fold, folds = jnp.asarray(hparams.get("fold", 0), jnp.uint32), hparams["folds"]
    each, longer = divmod(examples, folds)  # the first `longer` folds have one more; no product overflows

    def begin(number: jax.Array) -> Any:
        return number * each + jnp.minimum(number, jnp.uint32(longer))

    return begin(fold), begin(fold + 1)


def _dealt(hparams: Hparams, place: jax.Array, examples: int) -> jax.Array:
    """Return the examples at some places of the order of dealing: every member's, or that of the member's seed."""
    key = stream_key(hparams, KeyStream.FOLDS) if hparams.get("resample") else threefry(FOLD_SEED)
    return permuted(key, place.astype(jnp.uint32), examples)
