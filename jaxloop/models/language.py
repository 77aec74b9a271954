"""Prediction of the next symbol of a sequence, as the pure functions a `Task` is made of."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxloop.core.data import Data
from jaxloop.core.task import Hparams, Task
from jaxloop.models.network import DECODERS, network
from jaxloop.models.supervised import weighted
from jaxloop.sweep.catalog import LANGUAGE, LANGUAGE_MODELS


def language_model(data: Data, symbols: int) -> Task:
    """Return a task that predicts each integer of `data`'s "x", (examples, T + 1), from those before it.

    Metrics: `loss`, the mean cross-entropy in nats; `bits_per_byte`, the same in bits; `accuracy`, a fraction.
    """
    model = network(DECODERS, (data.samples()["train"]["x"].shape[1] - 1,), symbols)

    def predicted(params: Any, batch: Any, hparams: Hparams, key: jax.Array | None = None) -> jax.Array:
        return model.apply(params, batch["x"][:, :-1], hparams, key).astype(jnp.float32)

    def losses_BxT(logits_BxTxS: jax.Array, batch: Any) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(logits_BxTxS, batch["x"][:, 1:])

    def loss(params: Any, batch: Any, key: jax.Array, hparams: Hparams) -> Any:
        return weighted(losses_BxT(predicted(params, batch, hparams, key), batch).mean(1), batch), {}

    def metrics(params: Any, batch: Any, hparams: Hparams) -> Any:
        logits_BxTxS = predicted(params, batch, hparams)
        nats = losses_BxT(logits_BxTxS, batch).mean()
        right = logits_BxTxS.argmax(-1) == batch["x"][:, 1:]
        return {"loss": nats, "bits_per_byte": nats / math.log(2), "accuracy": right.mean()}

    return Task(
        model.init,
        loss,
        metrics,
        data,
        LANGUAGE,
        LANGUAGE_MODELS,
        model.learning_rate_multipliers,
        hidden=model.hidden,
    )
