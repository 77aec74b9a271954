"""Convolutional networks over one or two axes of space, (B, *space, channels)."""

from typing import Any

import jax
from flax import nnx

from jaxloop.core.task import Hparams
from jaxloop.models.layers import Conv, Dense, activate, dropout, fixed
from jaxloop.models.mup import Role
from jaxloop.sweep.sizes import Size

STRIDE, PAD, KERNEL, FIRST_KERNEL_1D = 2, 1, 3, 5  # as published with MNIST-1D (arXiv:2011.14439)


class CNN(nnx.Module):
    """`conv_layers` strided convolutions of `channels` each, then one affine map of all that is left."""

    def __init__(self, shape: tuple[int, ...], outputs: int, hparams: Hparams, *, rngs: nnx.Rngs | None) -> None:
        *space, features = shape
        channels, inputs, convs = hparams["channels"], Size(features, features), []
        for number in range(hparams["conv_layers"]):
            kernel = FIRST_KERNEL_1D if number == 0 and len(space) == 1 else KERNEL
            space = [(length + 2 * PAD - kernel) // STRIDE + 1 for length in space]
            if min(space) < 1:
                raise ValueError(f"conv_layers = {hparams['conv_layers']} leaves nothing of an input of {shape}")
            convs.append(
                Conv(
                    len(space),
                    inputs,
                    channels,
                    kernel=kernel,
                    stride=STRIDE,
                    pad=PAD,
                    rngs=rngs,
                    scale=hparams["init_scale"],
                )
            )
            inputs = channels
        self.convs = nnx.List(convs)
        left = [*map(fixed, space), inputs]
        self.out = Dense(left, [fixed(outputs)], rngs=rngs, scale=hparams["init_scale"])

    def __call__(self, x: jax.Array, hparams: Hparams, key: jax.Array | None) -> jax.Array:
        for conv in self.convs:
            x = activate(conv(x), hparams["activation"])
        return self.out(dropout(x, hparams["dropout"], key))

    @staticmethod
    def role(path: tuple[Any, ...]) -> tuple[Role, int]:
        hidden = path[0] == "convs" and path[1] > 0 and path[-1] == "kernel"
        return (Role.HIDDEN, -1) if hidden else (Role.INPUT, 0)
