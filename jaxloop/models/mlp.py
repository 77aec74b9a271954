"""Dense networks in flax NNX. They see one member's batch, (B, ...), and no population axis."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxloop.core.task import Hparams
from jaxloop.models import mup
from jaxloop.models.layers import Dense, activate, dropout, fixed, in_depth
from jaxloop.models.mup import Role


class Linear(nnx.Module):
    """One affine map from features to outputs."""

    def __init__(self, shape: tuple[int, ...], outputs: int, hparams: Hparams, *, rngs: nnx.Rngs | None) -> None:
        features = fixed(math.prod(shape))
        self.out = Dense([features], [fixed(outputs)], rngs=rngs, scale=hparams["init_scale"])

    def __call__(self, x: jax.Array, hparams: Hparams, key: jax.Array | None) -> jax.Array:
        return self.out(x.reshape(len(x), -1))

    @staticmethod
    def role(path: tuple[Any, ...]) -> tuple[Role, int]:
        return Role.FIXED, 0


class MLP(nnx.Module):
    """`depth` hidden layers of `width`; with `residual`, every hidden layer after the first adds its input."""

    def __init__(self, shape: tuple[int, ...], outputs: int, hparams: Hparams, *, rngs: nnx.Rngs | None) -> None:
        width, depth, scale = hparams["width"], hparams["depth"], hparams["init_scale"]
        sizes = [fixed(math.prod(shape))] + [width] * depth.max
        out_scale = scale * jnp.sqrt(mup.width_factor(hparams))
        self.out = Dense([sizes[-1]], [fixed(outputs)], rngs=rngs, scale=out_scale)
        self.hidden = nnx.List(  # after `out`: what a stack draws must not shift what others draw
            Dense([fan_in], [width], rngs=rngs, scale=scale, active=number < depth.value)
            for number, fan_in in enumerate(sizes[:-1])
        )

    def __call__(self, x: jax.Array, hparams: Hparams, key: jax.Array | None) -> jax.Array:
        def hidden(layer: Any, x_BxF: jax.Array, number: Any) -> Any:
            h_BxW = activate(layer(x_BxF), hparams["activation"])
            return dropout(h_BxW, hparams["dropout"], key if key is None else jax.random.fold_in(key, number))

        def further(layer: Any, x_BxW: jax.Array, number: Any) -> Any:
            h_BxW = hidden(layer, x_BxW, number)
            return h_BxW + x_BxW if hparams["residual"] else h_BxW

        x_BxW = x.reshape(len(x), -1)
        if self.hidden:  # the first has inputs of its own, and every member has it
            first, *rest = self.hidden
            x_BxW = hidden(first, x_BxW, 0)
            x_BxW = in_depth(further, rest, x_BxW, hparams["depth"], first=1, scanned=hparams["scan_layers"])
        return self.out(mup.attenuated(x_BxW, hparams))

    @staticmethod
    def role(path: tuple[Any, ...]) -> tuple[Role, int]:
        """Return what an array is, and for a hidden matrix how many leading axes are summed over."""
        layer, *rest, name = path
        if layer == "out":
            return (Role.OUTPUT if name == "kernel" else Role.FIXED), 0
        return (Role.HIDDEN, 1) if name == "kernel" and rest[0] > 0 else (Role.INPUT, 0)
