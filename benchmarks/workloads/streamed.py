"""An MLP as in the overhead benchmark, whose training examples are in a file: read as needed, or all at once."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxloop

SIZES = (40, 100, 100, 10)


def init(key, hparams):
    keys = jax.random.split(key, 3)
    return [
        {"w": jax.random.normal(key, (n, m)) / n**0.5, "b": jnp.zeros(m)}
        for key, n, m in zip(keys, SIZES[:-1], SIZES[1:], strict=True)
    ]


def cross_entropy(params, batch):
    x = batch["x"]
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    logits = x @ params[-1]["w"] + params[-1]["b"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()


def task(path: str, stream: bool = True) -> jaxloop.Task:
    """Return the task; `path` has rows of 40 numbers."""
    x = np.load(path, mmap_mode="r")
    y = np.load(path.replace(".npy", "_y.npy"), mmap_mode="r")
    train, held_out = {"x": x, "y": y}, {"x": np.array(x[:1000]), "y": np.array(y[:1000])}
    data = jaxloop.Data(jaxloop.from_disk(train) if stream else train, held_out, held_out)
    return jaxloop.Task(
        init,
        lambda params, batch, key, hparams: (cross_entropy(params, batch), {}),
        lambda params, batch, hparams: {"loss": cross_entropy(params, batch)},
        data,
    )
