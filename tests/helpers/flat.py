"""Flat parameter vectors in their task's structure."""

import jax
import numpy as np


def as_trees(params, shapes):
    """Host parameters with a leading member axis in the task's structure, from a tree or flat vectors."""
    if not isinstance(params, jax.Array):
        return jax.tree.map(np.asarray, params)
    leaves, start = [], 0
    for leaf in jax.tree.leaves(shapes):
        leaves.append(np.asarray(params)[:, start : start + leaf.size].reshape(-1, *leaf.shape))
        start += leaf.size
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)
