"""The toy model of grokking by Liu et al. 2022 (arXiv:2205.10343, section 4): addition of two of ten symbols.

Each symbol has a trainable place on a line; a decoder sees the sum of two places and names the sum of the symbols.
It generalizes once the places are equally spaced. The decoder's learning rate and weight decay decide what comes
first: the representation, or a decoder that knows the training pairs by heart. Here it classifies by cross-entropy
and is 64 wide; the authors' is 200 wide and fits vectors by least squares.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxloop

SYMBOLS, HELD_OUT, SEED = 10, 10, 1
SUMS = 2 * SYMBOLS - 1


def pairs() -> jaxloop.Data:
    """The 55 unordered pairs of symbols: 45 to train on, 10 held out (here both validation and test).

    No sum is held out with all of its pairs: its name could not be known.
    """
    x = np.stack(np.triu_indices(SYMBOLS), 1).astype(np.int32)
    y = x.sum(1, dtype=np.int32)
    random = np.random.default_rng(SEED)
    held_out = np.zeros(len(y), bool)
    while not held_out.any() or set(y[held_out]) - set(y[~held_out]):
        held_out = random.permutation(len(y)) < HELD_OUT
    unseen = {"x": x[held_out], "y": y[held_out]}
    return jaxloop.Data(train={"x": x[~held_out], "y": y[~held_out]}, validation=unseen, test=unseen)


def init(key, hparams):
    width = hparams["units"]
    place, *keys = jax.random.split(key, 4)
    return {
        "places": jax.random.uniform(place, (SYMBOLS, 1), minval=-1.0, maxval=1.0),
        "decoder": [
            {"kernel": jax.random.normal(key, shape) / shape[0] ** 0.5, "bias": jnp.zeros(shape[1])}
            for key, shape in zip(keys, [(1, width), (width, width), (width, SUMS)], strict=True)
        ],
    }


def metrics(params, batch, hparams):
    *hidden, last = params["decoder"]
    h = params["places"][batch["x"]].sum(1)
    for layer in hidden:
        h = jnp.tanh(h @ layer["kernel"] + layer["bias"][None])
    logits = h @ last["kernel"] + last["bias"][None]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"])
    return {"loss": losses.mean(), "accuracy": jnp.mean(logits.argmax(-1) == batch["y"])}


def loss(params, batch, key, hparams):
    measured = metrics(params, batch, hparams)
    return measured["loss"], {"accuracy": measured["accuracy"]}


def decoder_alone(params, hparams):
    """The decoder decays; the representation does not."""
    return {"places": False, "decoder": jax.tree.map(lambda leaf: True, params["decoder"])}


def learning_rate_multipliers(params, hparams):
    """The representation has a learning rate of its own; the sweep's is the decoder's."""
    own = hparams["representation_rate"] / hparams["learning_rate"]
    return {"places": own, "decoder": jax.tree.map(lambda leaf: 1.0, params["decoder"])}


task = jaxloop.Task(
    init,
    loss,
    metrics,
    pairs(),
    hparams={"units": 64, "representation_rate": 1e-3},
    learning_rate_multipliers=learning_rate_multipliers,
    decay_mask=decoder_alone,
)
