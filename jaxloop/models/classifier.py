"""Classification: a named model with cross-entropy, as the pure functions a `Task` is made of."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxloop.declared import CLASSIFIER
from jaxloop.models.mlp import MLP, Linear
from jaxloop.task import Data, Task


def _linear(features: int, classes: int, hparams, rngs: nnx.Rngs) -> nnx.Module:
    return Linear(features, classes, rngs=rngs)


def _mlp(features: int, classes: int, hparams, rngs: nnx.Rngs) -> nnx.Module:
    shape = {key: hparams[key] for key in ("width", "depth", "activation", "residual")}
    return MLP(features, classes, **shape, rngs=rngs)


MODELS: dict[str, Callable[..., nnx.Module]] = {"linear": _linear, "mlp": _mlp}


def classifier(data: Data, classes: int) -> Task:
    """A task that classifies `data`'s "x" (examples, features) into "y" (examples,), integers below classes.

    Metrics: `accuracy`, a fraction, and `loss`, the mean cross-entropy in nats without label smoothing.
    """
    features = data.train["x"].shape[1]

    def build(hparams, rngs: nnx.Rngs) -> nnx.Module:
        return MODELS[hparams["model"]](features, classes, hparams, rngs)

    def init(key, hparams):
        state = nnx.state(build(hparams, nnx.Rngs(params=key)), nnx.Param)
        return nnx.to_pure_dict(state)

    def logits(params: Any, x_BxF: jax.Array, hparams) -> jax.Array:
        abstract = nnx.eval_shape(lambda: build(hparams, nnx.Rngs(params=0)))
        graph, state = nnx.split(abstract, nnx.Param)
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(graph, state)(x_BxF)

    def loss(params, batch, key, hparams):
        logits_BxC = logits(params, batch["x"], hparams)
        labels_BxC = optax.smooth_labels(jax.nn.one_hot(batch["y"], classes), hparams["label_smoothing"])
        return optax.softmax_cross_entropy(logits_BxC, labels_BxC).mean(), {}

    def metrics(params, batch, hparams):
        logits_BxC = logits(params, batch["x"], hparams)
        losses_B = optax.softmax_cross_entropy_with_integer_labels(logits_BxC, batch["y"])
        return {"loss": losses_B.mean(), "accuracy": jnp.mean(logits_BxC.argmax(-1) == batch["y"])}

    return Task(init, loss, metrics, data, CLASSIFIER)
