"""PRNG keys in a member's state, as numbers that can be saved."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxloop.core.learner import Learner
from jaxloop.core.task import Hparams


def is_key(leaf: Any) -> bool:
    """Return whether an array holds typed PRNG keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def with_raw_keys(learner: Learner, state: Any) -> Learner:
    """Return the learner with typed PRNG keys as numbers in its state, which can be saved.

    Args:
      state: as shapes, with typed keys.
    """
    if not any(map(is_key, jax.tree.leaves(state))):
        return learner

    def raw(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, tree)

    def typed(tree: Any, like: Any = state) -> Any:
        return jax.tree.map(
            lambda leaf, was: jax.random.wrap_key_data(leaf, impl="threefry2x32") if is_key(was) else leaf,
            tree,
            like,
        )

    def update(state: Any, *rest: Any) -> Any:
        new = learner.update(typed(state), *rest)
        return new._replace(state=raw(new.state))

    extra_shapes = jax.eval_shape(learner.extra, state)

    def evaluated(params: Any, extra: Any, state: Any, hparams: Hparams) -> Any:
        return learner.evaluated(params, typed(extra, extra_shapes), typed(state), hparams)

    return Learner(
        lambda key, hparams: raw(learner.init(key, hparams)),
        update,
        lambda state: raw(learner.params(typed(state))),
        lambda state: raw(learner.extra(typed(state))),
        evaluated,
    )
