"""A graph convolutional network (Kipf and Welling 2017) on a stochastic block model: who is in which community?

The graph and the nodes' features have no axis of examples: they are shared. Examples are nodes with known labels.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxloop

COMMUNITIES, EACH, FEATURES, UNITS = 4, 75, 16, 32


def graph(seed=0):
    """Return a graph's normalized adjacency, features of its nodes, and their communities."""
    random, nodes = np.random.default_rng(seed), COMMUNITIES * EACH
    label = np.repeat(np.arange(COMMUNITIES), EACH)
    likely = np.where(label[:, None] == label, 0.08, 0.01)
    upper = np.triu(random.uniform(size=(nodes, nodes)) < likely, 1)
    linked = upper + upper.T + np.eye(nodes)
    degree = linked.sum(1)
    features = random.normal(size=(nodes, FEATURES)) + 0.5 * random.normal(size=(COMMUNITIES, FEATURES))[label]
    return linked / np.sqrt(degree[:, None] * degree), features, label


def data():
    adjacency, features, label = graph()
    order = np.random.default_rng(1).permutation(len(label)).astype(np.int32)
    parts = dict(zip(("train", "validation", "test"), np.split(order, [60, 150]), strict=True))
    splits = {name: {"node": nodes, "y": label[nodes].astype(np.int32)} for name, nodes in parts.items()}
    shared = {"adjacency": adjacency.astype(np.float32), "features": features.astype(np.float32)}
    return jaxloop.Data(**splits, shared=shared)


def init(key, hparams):
    first, second = jax.random.split(key)
    return {
        "hidden": jax.random.normal(first, (FEATURES, UNITS)) / FEATURES**0.5,
        "out": jax.random.normal(second, (UNITS, COMMUNITIES)) / UNITS**0.5,
    }


def logits(params, batch):
    hidden = jax.nn.relu(batch["adjacency"] @ (batch["features"] @ params["hidden"]))
    return (batch["adjacency"] @ (hidden @ params["out"]))[batch["node"]]


def loss(params, batch, key, hparams):
    return optax.softmax_cross_entropy_with_integer_labels(logits(params, batch), batch["y"]).mean(), {}


def metrics(params, batch, hparams):
    found = logits(params, batch)
    losses = optax.softmax_cross_entropy_with_integer_labels(found, batch["y"])
    return {"accuracy": jnp.mean(found.argmax(-1) == batch["y"]), "loss": losses.mean()}


task = jaxloop.Task(init, loss, metrics, data())
