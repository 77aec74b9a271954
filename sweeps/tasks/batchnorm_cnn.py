"""A small CNN with batch normalization (Ioffe and Szegedy 2015) on the UCI digits, in flax Linen.

The running statistics are no parameters: `stateful_loss` gives new ones with each step.
"""

import flax.linen as nn
import jax.numpy as jnp
import optax

import jaxloop
from jaxloop.models import conv_general_dilated
from jaxloop.tasks import digits


class Net(nn.Module):
    channels: int

    @nn.compact
    def __call__(self, x, train):
        x = x.reshape(-1, 8, 8, 1)
        for factor in (1, 2):
            channels = factor * self.channels
            conv = nn.Conv(channels, (3, 3), 2, use_bias=False, conv_general_dilated=conv_general_dilated)
            x = nn.relu(nn.BatchNorm(not train, momentum=0.9)(conv(x)))
        return nn.Dense(10)(x.reshape(len(x), -1))


def init(key, hparams):
    variables = Net(hparams["channels"]).init(key, jnp.zeros((1, 64)), train=False)
    return variables["params"], variables["batch_stats"]


def loss(params, stats, batch, key, step, hparams):
    variables = {"params": params, "batch_stats": stats}
    logits, new = Net(hparams["channels"]).apply(variables, batch["x"], train=True, mutable=["batch_stats"])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"])
    return losses.mean(), (new["batch_stats"], {})


def metrics(trained, batch, hparams):
    params, stats = trained
    variables = {"params": params, "batch_stats": stats}
    logits = Net(hparams["channels"]).apply(variables, batch["x"], train=False)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"])
    return {"accuracy": jnp.mean(logits.argmax(-1) == batch["y"]), "loss": losses.mean()}


task = jaxloop.Task(init, stateful_loss=loss, metrics=metrics, data=digits().data, hparams={"channels": 8})
