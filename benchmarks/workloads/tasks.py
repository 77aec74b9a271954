"""Tasks of the benchmarks' workloads: random examples, since the arithmetic is what counts."""

import itertools
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx

import jaxloop
from jaxloop.core.task import Hparams
from jaxloop.models.language import language_model
from jaxloop.models.layers import Conv, Dense, fixed

SYMBOLS, CONTEXT = 128, 64  # of gpt
PIXELS, CHANNELS, CLASSES = 16, (16, 32), 10  # of cnn


class TwoConvs(nnx.Module):
    """Two 3x3 convolutions, each with ReLU and a 2x2 mean, then an affine map."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        sizes = [fixed(1), *map(fixed, CHANNELS)]
        self.convs = nnx.List(
            Conv(2, inputs, outputs, kernel=3, stride=1, pad=1, rngs=rngs)
            for inputs, outputs in itertools.pairwise(sizes)
        )
        left = fixed(PIXELS // 4)
        self.out = Dense([left, left, sizes[-1]], [fixed(CLASSES)], rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        for conv in self.convs:
            x = jax.nn.relu(conv(x))
            batch, height, width, channels = x.shape
            x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))
        return self.out(x)


def cnn() -> jaxloop.Task:
    """Classifies images."""
    graph = nnx.graphdef(nnx.eval_shape(lambda: TwoConvs(rngs=nnx.Rngs(0))))

    def init(key: jax.Array, hparams: Hparams) -> Any:
        return nnx.to_pure_dict(nnx.state(TwoConvs(rngs=nnx.Rngs(params=key))))

    def losses(params: Any, batch: Any) -> Any:
        logits_BxC = nnx.merge(graph, nnx.State(params))(batch["x"])
        return optax.softmax_cross_entropy_with_integer_labels(logits_BxC, batch["y"])

    def loss(params: Any, batch: Any, key: jax.Array, hparams: Hparams) -> Any:
        return losses(params, batch).mean(), {}

    def metrics(params: Any, batch: Any, hparams: Hparams) -> Any:
        return {"loss": losses(params, batch).mean()}

    return jaxloop.Task(init, loss, metrics, images())


def images() -> jaxloop.Data:
    generator = np.random.default_rng(0)

    def split(examples: Any) -> Any:
        x = generator.normal(size=(examples, PIXELS, PIXELS, 1)).astype(np.float32)
        return {"x": x, "y": generator.integers(0, CLASSES, examples).astype(np.int32)}

    return jaxloop.Data(split(3200), split(800), split(1000))


def gpt() -> jaxloop.Task:
    """Predicts symbols."""
    return language_model(windows(), SYMBOLS)


def windows() -> jaxloop.Data:
    generator = np.random.default_rng(0)

    def split(examples: Any) -> Any:
        return {"x": generator.integers(0, SYMBOLS, (examples, CONTEXT + 1)).astype(np.int32)}

    return jaxloop.Data(split(2000), split(64), split(64))
