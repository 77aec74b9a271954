"""Layers whose sizes may be padded: one program trains members of different widths and depths, exactly.

What makes a padded layer equal the unpadded one: random values follow from their places (`draws`); variances,
norms and attention use the true sizes; what is padding is exactly zero, in the parameters, the activations and the
gradients. Every activation here maps zero to zero, so that a dense layer's padding stays zero without a mask.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxloop.models.draws import truncated_normal, uniform
from jaxloop.models.products import affine, windows
from jaxloop.sweep.sizes import Choice, Size

ACTIVATIONS = {"relu": jax.nn.relu, "gelu": jax.nn.gelu, "silu": jax.nn.silu, "tanh": jnp.tanh}
EPSILON = 1e-6  # of the norms


def fixed(length: int) -> Size:
    """Return a size that all members share."""
    return Size(length, length)


def mask(size: Size) -> jax.Array:
    """(max,) bool: true where the member's own entries are."""
    return jnp.arange(size.max) < size.value


def trailing(values: jax.Array, x: jax.Array) -> jax.Array:
    """`values` with axes of length one in front, to go with the last axes of `x`."""
    return values.reshape(*[1] * (x.ndim - values.ndim), *values.shape)


def masked(x: jax.Array, sizes: Sequence[Size]) -> jax.Array:
    """`x`, whose last axes have these sizes, with zeros in the padding."""
    for axis, size in enumerate(reversed(sizes)):
        if size.is_padded:
            x = jnp.where(trailing(mask(size).reshape(-1, *[1] * axis), x), x, 0.0)
    return x


def true_product(sizes: Sequence[Size]) -> Any:
    """Return how many entries axes of these sizes have without padding."""
    return math.prod(size.value for size in sizes)


def in_depth(
    call: Callable[[Any, jax.Array, Any], jax.Array],
    layers: Sequence[nnx.Module],
    x: jax.Array,
    depth: Size,
    *,
    first: int = 0,
    scanned: bool,
) -> jax.Array:
    """Apply a member's own layers to `x` in turn; those beyond its depth are skipped.

    Args:
      call: `(layer, x, number) -> x`.
      layers: alike, from number `first` of the stack on.
      scanned: as one `scan` over stacked parameters, compiled once for all; unrolled they compute faster.
    """

    def own(layer: Any, x: jax.Array, number: Any) -> Any:
        new = call(layer, x, number)
        return jnp.where(number < depth.value, new, x) if depth.is_padded else new

    if not scanned or not layers:
        for number, layer in enumerate(layers, first):
            x = own(layer, x, number)
        return x
    graph = nnx.graphdef(layers[0])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(nnx.state, layers))
    numbers = first + jnp.arange(len(layers))
    return jax.lax.scan(lambda x, of: (own(nnx.merge(graph, of[1]), x, of[0]), None), x, (numbers, stacked))[0]


def activate(x: jax.Array, activation: Choice) -> jax.Array:
    """Return the chosen activation; where members of a program differ, each is computed and one is taken."""
    branches = [ACTIVATIONS[name] for name in activation.names]
    return branches[0](x) if len(branches) == 1 else jax.lax.switch(activation.index, branches, x)


def is_off(share: Any) -> bool:
    """Return whether a share is zero for all members of the program, so that it need not be computed."""
    return isinstance(share, float) and share == 0.0


def dropout(x: jax.Array, rate: Any, key: jax.Array | None) -> jax.Array:
    """Zeroes a share `rate` of `x`, (..., features), and scales the rest; nothing without a key."""
    if key is None or is_off(rate):
        return x
    return jnp.where(uniform(key, x.shape) >= rate, x / (1.0 - rate), 0.0).astype(x.dtype)


def drawn(key: jax.Array | None, sizes: Sequence[Size], stddev: Any, active: jax.Array | bool = True) -> jax.Array:
    """Draw a parameter of these sizes with a standard deviation.

    Zero in the padding; all zero if `active` is false or `key` is None.
    """
    shape = tuple(size.max for size in sizes)
    if key is None:
        return jnp.zeros(shape)
    values = stddev * truncated_normal(key, shape)
    return jnp.where(active, masked(values, sizes), 0.0)


def _key(rngs: nnx.Rngs | None) -> jax.Array | None:
    return None if rngs is None else rngs.params()


class Dense(nnx.Module):
    """An affine map from the last axes, of sizes `inputs`, to axes of sizes `outputs`.

    Initially of variance scale^2 / fan-in (LeCun et al. 1998, "Efficient BackProp") and zero bias.

    Args:
      active: false where the member has no such layer: all its parameters are padding.
    """

    def __init__(
        self,
        inputs: Sequence[Size],
        outputs: Sequence[Size],
        *,
        rngs: nnx.Rngs | None,
        scale: Any = 1.0,
        bias: bool = True,
        active: jax.Array | bool = True,
    ) -> None:
        stddev = scale / jnp.sqrt(jnp.asarray(true_product(inputs), jnp.float32))
        self.inputs = len(inputs)
        self.kernel = nnx.Param(drawn(_key(rngs), [*inputs, *outputs], stddev, active))
        self.bias = nnx.Param(jnp.zeros([size.max for size in outputs])) if bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        bias = None if self.bias is None else self.bias[...]
        return affine(x, self.kernel[...], self.inputs, bias)


class Conv(nnx.Module):
    """A convolution over (B, *space, channels), zero-padded by `pad` on both sides, as patches times a matrix.

    See `products.conv_general_dilated` for why.
    """

    def __init__(
        self,
        space: int,
        inputs: Size,
        outputs: Size,
        *,
        kernel: int,
        stride: int,
        pad: int,
        rngs: nnx.Rngs | None,
        scale: Any = 1.0,
    ) -> None:
        self.space, self.stride, self.pad = space, stride, pad
        self.dense = Dense([*[fixed(kernel)] * space, inputs], [outputs], rngs=rngs, scale=scale)

    def __call__(self, x: jax.Array) -> jax.Array:
        lengths, strides = self.dense.kernel.shape[: self.space], [self.stride] * self.space
        padding, dilation = [(self.pad, self.pad)] * self.space, [1] * self.space
        return self.dense(windows(x, lengths, strides, padding, dilation))


class Norm(nnx.Module):
    """Layer norm (Ba et al. 2016, with `centered`) or RMS norm (Zhang and Sennrich 2019) over the last axis."""

    def __init__(self, size: Size, *, centered: bool, active: jax.Array | bool = True) -> None:
        self.centered = centered
        self.scale = nnx.Param(jnp.where(active, masked(jnp.ones(size.max), [size]), 0.0))
        self.bias = nnx.Param(jnp.zeros(size.max)) if centered else None

    def __call__(self, x: jax.Array, size: Size) -> jax.Array:
        dtype, x = x.dtype, x.astype(jnp.float32)
        if self.centered:
            x = masked(x - x.sum(-1, keepdims=True) / size.value, [size])
        variance = jnp.sum(x * x, -1, keepdims=True) / size.value
        y = x * jax.lax.rsqrt(variance + EPSILON) * trailing(self.scale[...], x)
        return (y if self.bias is None else y + trailing(self.bias[...], y)).astype(dtype)


class Embedding(nnx.Module):
    """A vector for each of `count` symbols: (...) integers to (..., size)."""

    def __init__(self, count: int, size: Size, *, rngs: nnx.Rngs | None, stddev: Any) -> None:
        self.table = nnx.Param(drawn(_key(rngs), [fixed(count), size], stddev))

    def __call__(self, symbols: jax.Array) -> jax.Array:
        return self.table[...][symbols]

    def attend(self, x: jax.Array) -> jax.Array:
        """Return each symbol's product with `x`, (..., size) to (..., count): the tied output layer."""
        return x @ self.table[...].T


def rotated(x_BxTxHxD: jax.Array, head_width: Size) -> jax.Array:
    """Rotary positions (Su et al. 2021, RoFormer): neighbouring features are a pair, turned by its position."""
    pairs = jnp.arange(head_width.max // 2, dtype=jnp.float32)
    frequency = 10_000.0 ** (-2.0 * pairs / head_width.value)
    angle = jnp.outer(jnp.arange(x_BxTxHxD.shape[1], dtype=jnp.float32), frequency)[None, :, None, :]
    cos, sin = jnp.cos(angle).astype(x_BxTxHxD.dtype), jnp.sin(angle).astype(x_BxTxHxD.dtype)
    even, odd = x_BxTxHxD[..., ::2], x_BxTxHxD[..., 1::2]
    return jnp.stack([even * cos - odd * sin, even * sin + odd * cos], -1).reshape(x_BxTxHxD.shape)


class Attention(nnx.Module):
    """Multi-head self-attention (Vaswani et al. 2017) without biases; heads and their width may be padded."""

    def __init__(
        self,
        width: Size,
        heads: Size,
        head_width: Size,
        *,
        rngs: nnx.Rngs | None,
        scale: Any = 1.0,
        active: Any = True,
    ) -> None:
        def project(inputs: Any, outputs: Any) -> Any:
            return Dense(inputs, outputs, rngs=rngs, scale=scale, bias=False, active=active)

        self.query, self.key, self.value = (project([width], [heads, head_width]) for _ in range(3))
        self.out = project([heads, head_width], [width])

    def __call__(
        self, x_BxTxW: jax.Array, head_width: Size, *, temperature: Any, rotary: bool, causal: bool
    ) -> jax.Array:
        # as one product, of which a GPT on CPU is 1.05 times as fast (benchmarks/LOG.md)
        kernels = [layer.kernel[...] for layer in (self.query, self.key, self.value)]
        query, key, value = jnp.moveaxis(affine(x_BxTxW, jnp.stack(kernels, 1), 1), 2, 0)
        if rotary:
            query, key = rotated(query, head_width), rotated(key, head_width)
        # What is attended to comes before who attends: sums over the last axis are slow on CPU.
        scores_BxHxSxT = jnp.einsum("bshd,bthd->bhst", key, query * temperature)
        if causal:
            length = x_BxTxW.shape[1]
            seen_SxT = jnp.tri(length, dtype=bool).T
            scores_BxHxSxT = jnp.where(trailing(seen_SxT, scores_BxHxSxT), scores_BxHxSxT, -jnp.inf)
        weights = jax.nn.softmax(scores_BxHxSxT.astype(jnp.float32), -2).astype(value.dtype)
        return self.out(jnp.einsum("bhst,bshd->bthd", weights, value))


class GRU(nnx.Module):
    """A gated recurrent layer (Cho et al. 2014, in the form of PyTorch and cuDNN): (B, T, F) to (B, T, width)."""

    def __init__(self, inputs: Size, width: Size, *, rngs: nnx.Rngs | None, scale: Any = 1.0) -> None:
        self.inputs = Dense([inputs], [fixed(3), width], rngs=rngs, scale=scale)
        self.recurrent = Dense([width], [fixed(3), width], rngs=rngs, scale=scale)

    def __call__(self, x_BxTxF: jax.Array) -> jax.Array:
        seen_TxBx3xW = jnp.moveaxis(self.inputs(x_BxTxF), 1, 0)

        def cell(state_BxW: jax.Array, seen_Bx3xW: jax.Array) -> Any:
            told_Bx3xW = self.recurrent(state_BxW)
            reset, update = jnp.moveaxis(jax.nn.sigmoid(seen_Bx3xW + told_Bx3xW)[:, :2], 1, 0)
            new = jnp.tanh(seen_Bx3xW[:, 2] + reset * told_Bx3xW[:, 2])
            state_BxW = new + update * (state_BxW - new)
            return state_BxW, state_BxW

        return jnp.moveaxis(jax.lax.scan(cell, jnp.zeros_like(seen_TxBx3xW[0, :, 0]), seen_TxBx3xW)[1], 0, 1)
