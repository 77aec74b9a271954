"""The toy model of grokking by Liu et al. 2022 (arXiv:2205.10343, section 4): addition of two of ten symbols.

Each symbol has a trainable place on a line; a decoder sees the sum of two places and must give the vector that
stands for the symbols' sum. It generalizes once the places are equally spaced. The decoder's learning rate and
weight decay decide what comes first: the representation, or a decoder that knows the training pairs by heart.
"""

import jax
import jax.numpy as jnp
import numpy as np

import jaxloop

SYMBOLS, TRAINED, VECTOR, SEED = 10, 45, 30, 0
random = np.random.default_rng(SEED)
TARGETS = random.normal(size=(2 * SYMBOLS - 1, VECTOR)).astype(np.float32)  # a vector for each sum


def pairs() -> jaxloop.Data:
    """The 55 unordered pairs of symbols: 45 to train on, 10 held out (here both validation and test)."""
    pairs = np.stack(np.triu_indices(SYMBOLS), 1).astype(np.int32)
    random.shuffle(pairs)
    data = {"x": pairs, "y": pairs.sum(1, dtype=np.int32)}
    trained, held_out = ({name: part[rows] for name, part in data.items()} for rows in (slice(45), slice(45, None)))
    return jaxloop.Data(train=trained, validation=held_out, test=held_out)


def init(key, hparams):
    width = hparams["units"]
    place, *keys = jax.random.split(key, 4)
    shapes = [(1, width), (width, width), (width, VECTOR)]
    return {
        "places": jax.random.normal(place, (SYMBOLS, 1)),
        "decoder": [
            {"kernel": jax.random.normal(key, shape) / shape[0] ** 0.5, "bias": jnp.zeros(shape[1])}
            for key, shape in zip(keys, shapes, strict=True)
        ],
    }


def predicted(params, x_Bx2):
    *hidden, last = params["decoder"]
    h = params["places"][x_Bx2].sum(1)
    for layer in hidden:
        h = jnp.tanh(h @ layer["kernel"] + layer["bias"][None])
    return h @ last["kernel"] + last["bias"][None]


def metrics(params, batch, hparams):
    vectors = predicted(params, batch["x"])
    distances = jnp.sum((vectors[:, None] - TARGETS[None]) ** 2, -1)
    return {
        "loss": jnp.mean((vectors - jnp.asarray(TARGETS)[batch["y"]]) ** 2),
        "accuracy": jnp.mean(distances.argmin(-1) == batch["y"]),
    }


def loss(params, batch, key, hparams):
    measured = metrics(params, batch, hparams)
    return measured["loss"], {"accuracy": measured["accuracy"]}


def decoder_alone(params, hparams):
    """The decoder decays; the representation does not."""
    return {"places": False, "decoder": jax.tree.map(lambda leaf: True, params["decoder"])}


def rates(params, hparams):
    """The representation has a learning rate of its own; the sweep's is the decoder's."""
    own = hparams["representation_rate"] / hparams["learning_rate"]
    return {"places": own, "decoder": jax.tree.map(lambda leaf: 1.0, params["decoder"])}


task = jaxloop.Task(
    init,
    loss,
    metrics,
    pairs(),
    hparams={"units": 100, "representation_rate": 1e-3},
    rates=rates,
    weights=decoder_alone,
)
