"""Dense networks in flax NNX. They see one member's batch, (B, features), and no population axis."""

import jax
import jax.numpy as jnp
from flax import nnx


class Linear(nnx.Module):
    """One affine map from features to classes."""

    def __init__(self, features: int, classes: int, *, rngs: nnx.Rngs):
        self.out = nnx.Linear(features, classes, rngs=rngs)

    def __call__(self, x_BxF: jax.Array) -> jax.Array:
        return self.out(x_BxF)


class MLP(nnx.Module):
    """`depth` hidden layers of `width`; with `residual`, every hidden layer after the first adds its input."""

    def __init__(
        self,
        features: int,
        classes: int,
        *,
        width: int,
        depth: int,
        activation: str,
        residual: bool,
        rngs: nnx.Rngs,
    ):
        sizes = [features] + [width] * depth
        self.hidden = nnx.List(
            [nnx.Linear(fan_in, width, rngs=rngs) for fan_in in sizes[:-1]],
        )
        self.out = nnx.Linear(sizes[-1], classes, rngs=rngs)
        self.activation = getattr(jnp, activation, None) or getattr(jax.nn, activation)
        self.residual = residual

    def __call__(self, x_BxF: jax.Array) -> jax.Array:
        for depth, layer in enumerate(self.hidden):
            h_BxH = self.activation(layer(x_BxF))
            x_BxF = h_BxH + x_BxF if self.residual and depth > 0 else h_BxH
        return self.out(x_BxF)
