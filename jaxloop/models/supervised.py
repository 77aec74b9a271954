"""From "x" to "y": classification and regression by a named model, as the pure functions a `Task` is made of."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxloop.core.data import Data
from jaxloop.core.task import Hparams, Task
from jaxloop.models.layers import is_off
from jaxloop.models.network import READERS, network
from jaxloop.sweep.catalog import CLASSIFIER, MODELS, REGRESSOR


def weighted(values_B: jax.Array, batch: Any) -> jax.Array:
    """Return the mean over a batch's own examples: those of weight 1."""
    return jnp.sum(values_B * batch["weight"]) / jnp.sum(batch["weight"])


def classifier(data: Data, classes: int, shape: tuple[int, ...], noise_seed: int = 0) -> Task:
    """Return a task that classifies `data`'s "x" (examples, ...) into "y" (examples,), integers below classes.

    Metrics: `accuracy`, a fraction, and `loss`, the mean cross-entropy in nats without label smoothing.

    Args:
      shape: of one example as the models see it, (*space, channels).
      noise_seed: draws which labels a member's `label_noise` replaces, and by what.
    """
    model = network(READERS, shape, classes)

    def logits(params: Any, batch: Any, hparams: Hparams, key: jax.Array | None = None) -> Any:
        x = batch["x"].reshape(-1, *shape)
        return model.apply(params, x, hparams, key).astype(jnp.float32)

    def loss(params: Any, batch: Any, key: jax.Array, hparams: Hparams) -> Any:
        y_B, logits_BxC = batch["y"], logits(params, batch, hparams, key)
        if not is_off(hparams["label_noise"]):
            y_B = jnp.where(batch["noise_place"] < hparams["label_noise"], batch["noisy_y"], y_B)
        if is_off(hparams["label_smoothing"]):
            losses_B = optax.softmax_cross_entropy_with_integer_labels(logits_BxC, y_B)
        else:
            y_BxC = optax.smooth_labels(jax.nn.one_hot(y_B, classes), hparams["label_smoothing"])
            losses_B = optax.softmax_cross_entropy(logits_BxC, y_BxC)
        return weighted(losses_B, batch), {}

    def metrics(params: Any, batch: Any, hparams: Hparams) -> Any:
        logits_BxC = logits(params, batch, hparams)
        losses_B = optax.softmax_cross_entropy_with_integer_labels(logits_BxC, batch["y"])
        return {"loss": losses_B.mean(), "accuracy": jnp.mean(logits_BxC.argmax(-1) == batch["y"])}

    def noisy(split: Any, seed: int) -> Any:
        return {**split, **label_noise(split["y"], classes, seed)}

    data = replace(data, train=noisy(data.train, noise_seed), validation=noisy(data.validation, noise_seed + 1))
    return Task(
        model.init, loss, metrics, data, CLASSIFIER, MODELS, model.learning_rate_multipliers, hidden=model.hidden
    )


def regressor(data: Data, outputs: int, shape: tuple[int, ...]) -> Task:
    """Return a task that predicts `data`'s "y", (examples, outputs) or (examples,), from "x" by least squares.

    Metric: `loss`, the mean squared error in y's own units.
    """
    model = network(READERS, shape, outputs)

    def squared_errors(params: Any, batch: Any, hparams: Hparams, key: jax.Array | None = None) -> jax.Array:
        x = batch["x"].reshape(-1, *shape)
        predicted_BxO = model.apply(params, x, hparams, key).astype(jnp.float32)
        return jnp.mean((predicted_BxO - batch["y"].reshape(-1, outputs)) ** 2, -1)

    def loss(params: Any, batch: Any, key: jax.Array, hparams: Hparams) -> Any:
        return weighted(squared_errors(params, batch, hparams, key), batch), {}

    def metrics(params: Any, batch: Any, hparams: Hparams) -> Any:
        return {"loss": squared_errors(params, batch, hparams).mean()}

    return Task(
        model.init, loss, metrics, data, REGRESSOR, MODELS, model.learning_rate_multipliers, hidden=model.hidden
    )


def label_noise(labels: np.ndarray, classes: int, seed: int) -> dict[str, np.ndarray]:
    """For each example another class, and a place in [0, 1): below a share, as many labels are replaced.

    Returns:
      "noisy_y", (examples,) int32; "noise_place", (examples,) float32, evenly spaced in a random order.
    """
    generator = np.random.default_rng(seed)
    place = (generator.permutation(len(labels)) + 0.5) / len(labels)
    other = (labels + generator.integers(1, max(classes, 2), len(labels))) % classes
    return {"noisy_y": other.astype(np.int32), "noise_place": place.astype(np.float32)}
