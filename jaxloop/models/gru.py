"""A recurrent network over a sequence, (B, T, features)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxloop.core.task import Hparams
from jaxloop.models.layers import GRU, Dense, fixed
from jaxloop.models.mup import Role


class Recurrent(nnx.Module):
    """A GRU, in both directions if `bidirectional`, then one affine map of its states at all times."""

    def __init__(self, shape: tuple[int, ...], outputs: int, hparams: Hparams, *, rngs: nnx.Rngs | None) -> None:
        length, *features = shape
        width, scale = hparams["width"], hparams["init_scale"]
        directions = 2 if hparams["bidirectional"] else 1
        self.grus = nnx.List(
            GRU(fixed(math.prod(features)), width, rngs=rngs, scale=scale) for _ in range(directions)
        )
        left = [fixed(length), fixed(directions), width]
        self.out = Dense(left, [fixed(outputs)], rngs=rngs, scale=scale)

    def __call__(self, x: jax.Array, hparams: Hparams, key: jax.Array | None) -> jax.Array:
        x_BxTxF = x.reshape(*x.shape[:2], -1)
        states = [self.grus[0](x_BxTxF)]
        if hparams["bidirectional"]:
            states.append(self.grus[1](x_BxTxF[:, ::-1])[:, ::-1])
        return self.out(jnp.stack(states, 2))

    @staticmethod
    def role(path: tuple[Any, ...]) -> tuple[Role, int]:
        hidden = path[-2:] == ("recurrent", "kernel")
        return (Role.HIDDEN, 1) if hidden else (Role.INPUT, 0)
