"""Transformers with norms before each sublayer: a classifier of sequences, and a decoder of symbols."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxloop.core.task import Hparams
from jaxloop.models import mup
from jaxloop.models.layers import Attention, Dense, Embedding, Norm, activate, dropout, fixed, in_depth, trailing
from jaxloop.models.mup import Role

EMBEDDING_STDDEV = 0.02  # GPT-2's


class Block(nnx.Module):
    """Attention and a two-layer MLP, each behind a norm and added to its input."""

    def __init__(self, hparams: Hparams, *, rngs: nnx.Rngs | None, active: Any) -> None:
        width, scale, centered = hparams["width"], hparams["init_scale"], hparams["norm"] == "layer"
        self.norms = nnx.List(Norm(width, centered=centered, active=active) for _ in range(2))
        self.attention = Attention(
            width, hparams["heads"], hparams["head_width"], rngs=rngs, scale=scale, active=active
        )
        wide = width.times(hparams["mlp_factor"])
        self.up = Dense([width], [wide], rngs=rngs, scale=scale, bias=False, active=active)
        self.down = Dense([wide], [width], rngs=rngs, scale=scale, bias=False, active=active)

    def __call__(self, x_BxTxW: jax.Array, hparams: Hparams, key: jax.Array | None) -> jax.Array:
        width, rate = hparams["width"], hparams["dropout"]
        first, second = (None, None) if key is None else jax.random.split(key)
        attended = self.attention(
            self.norms[0](x_BxTxW, width),
            hparams["head_width"],
            temperature=mup.temperature(hparams),
            rotary=hparams["positions"] == "rope",
            causal=hparams["causal"],
        )
        x_BxTxW = x_BxTxW + dropout(attended, rate, first)
        h_BxTxU = activate(self.up(self.norms[1](x_BxTxW, width)), hparams["activation"])
        return x_BxTxW + dropout(self.down(h_BxTxU), rate, second)


class Stack(nnx.Module):
    """`depth` blocks and a norm behind them."""

    def __init__(self, length: int, hparams: Hparams, *, rngs: nnx.Rngs | None) -> None:
        width, depth = hparams["width"], hparams["depth"]
        self.norm = Norm(width, centered=hparams["norm"] == "layer")
        if hparams["positions"] == "learned":
            self.positions = Embedding(length, width, rngs=rngs, stddev=EMBEDDING_STDDEV)
        self.blocks = nnx.List(
            Block(hparams, rngs=rngs, active=number < depth.value) for number in range(depth.max)
        )

    def __call__(self, x_BxTxW: jax.Array, hparams: Hparams, key: jax.Array | None) -> jax.Array:
        if hparams["positions"] == "learned":
            places_TxW = self.positions(jnp.arange(x_BxTxW.shape[1])).astype(x_BxTxW.dtype)
            x_BxTxW = x_BxTxW + trailing(places_TxW, x_BxTxW)

        def call(block: Any, x_BxTxW: jax.Array, number: Any) -> Any:
            return block(x_BxTxW, hparams, key if key is None else jax.random.fold_in(key, number))

        x_BxTxW = in_depth(call, self.blocks, x_BxTxW, hparams["depth"], scanned=hparams["scan_layers"])
        return self.norm(x_BxTxW, hparams["width"])


class SequenceClassifier(nnx.Module):
    """Reads a sequence, (B, T, features), and classifies the mean of its last states."""

    def __init__(self, shape: tuple[int, ...], outputs: int, hparams: Hparams, *, rngs: nnx.Rngs | None) -> None:
        length, *features = shape
        width, scale = hparams["width"], hparams["init_scale"]
        self.reads = Dense([*map(fixed, features)], [width], rngs=rngs, scale=scale)
        out_scale = scale * jnp.sqrt(mup.width_factor(hparams))
        self.out = Dense([width], [fixed(outputs)], rngs=rngs, scale=out_scale)
        self.stack = Stack(length, hparams, rngs=rngs)

    def __call__(self, x: jax.Array, hparams: Hparams, key: jax.Array | None) -> jax.Array:
        states_BxTxW = self.stack(self.reads(x), hparams, key)
        return self.out(mup.attenuated(states_BxTxW.mean(1), hparams))

    @staticmethod
    def role(path: tuple[Any, ...]) -> tuple[Role, int]:
        return _role(path)


class Decoder(nnx.Module):
    """Predicts after each of T symbols the next: (B, T) integers to (B, T, outputs)."""

    def __init__(self, shape: tuple[int, ...], outputs: int, hparams: Hparams, *, rngs: nnx.Rngs | None) -> None:
        width = hparams["width"]
        self.symbols = Embedding(outputs, width, rngs=rngs, stddev=EMBEDDING_STDDEV * hparams["init_scale"])
        if not hparams["tied"]:
            out_scale = hparams["init_scale"] * jnp.sqrt(mup.width_factor(hparams))
            self.out = Dense([width], [fixed(outputs)], rngs=rngs, scale=out_scale, bias=False)
        self.stack = Stack(shape[0], hparams, rngs=rngs)

    def __call__(self, x: jax.Array, hparams: Hparams, key: jax.Array | None) -> jax.Array:
        states_BxTxW = mup.attenuated(self.stack(self.symbols(x), hparams, key), hparams)
        return self.symbols.attend(states_BxTxW) if hparams["tied"] else self.out(states_BxTxW)

    @staticmethod
    def role(path: tuple[Any, ...]) -> tuple[Role, int]:
        return _role(path)


def _role(path: tuple[Any, ...]) -> tuple[Role, int]:
    if path[0] == "out":
        return (Role.OUTPUT if path[-1] == "kernel" else Role.FIXED), 0
    if "blocks" in path and path[-1] == "kernel":
        return Role.HIDDEN, 2 if path[-2] == "out" else 1  # attention's out sums over heads and their width
    return Role.INPUT, 0
