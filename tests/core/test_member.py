"""One member against two independent implementations: NumPy by hand, and a plain JAX loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxloop import api
from jaxloop.core import devices
from jaxloop.core.batches import batch_index
from jaxloop.core.bucket import alone, undivided
from jaxloop.core.prng import KeyStream, stream_key
from jaxloop.core.program import compiled, shared
from jaxloop.core.slot_counts import SlotLimits
from jaxloop.core.slots import Slots
from jaxloop.sweep import sweep

SWEEP = """
[run]
task = "mnist1d"
steps = {steps}
evaluate_every = {steps}
[hparams]
width = 16
batch_size = 50
clip = 0.5
weight_decay = 0.05
[axes]
learning_rate = {{ log = [1e-3, 1e-2], num = 3 }}
seed = {{ count = 2 }}
"""


def population_row(steps, row):
    """Trains six members together; gives one's initial and final parameters, its loss and its hparams."""
    swept = sweep.parse(SWEEP.format(steps=steps))
    task = api.task_of(swept)
    (bucket,) = undivided(swept)
    program = compiled(swept, task, bucket, devices.member_mesh(), SlotLimits(group_size=2))
    slots = Slots(bucket, swept.members, program.capacity, program.group_size, bucket.numbers)
    fresh = program.place(slots.admit())
    hparams = program.place(slots.columns)
    state, record = program.advance(hparams, program.empty(), fresh, shared(task, bucket, program.mesh))
    own = swept.members[row]
    bucket = alone(swept, row)
    sees = bucket.hparams(bucket.columns(own))
    initial = task.init(stream_key({"seed": own["seed"]}, KeyStream.PARAMS), sees)
    final = program.tree(np.asarray(state.learner.params)[row])
    return task, sees, initial, final, float(record["train/loss"][row])


def batches(task, own, steps):
    key = stream_key({"seed": own["seed"]}, KeyStream.DATA)
    count = len(task.data.splits()["train"]["y"])
    for step in range(steps):
        index = np.asarray(batch_index(key, jnp.int32(step), own["batch_size"], count))
        yield task.data.splits()["train"]["x"][index], task.data.splits()["train"]["y"][index]


def batch(x, y):
    """As the engine gives it, without noise."""
    ones = np.ones(len(y), np.float32)
    return {"x": x, "y": y, "noisy_y": y, "noise_place": ones, "weight": ones}


def layers(params):
    """[(kernel, bias), ...] from first to last, as float64."""
    ordered = [params["hidden"][i] for i in sorted(params["hidden"])] + [params["out"]]
    return [[np.asarray(p["kernel"], np.float64), np.asarray(p["bias"], np.float64)] for p in ordered]


@pytest.mark.parametrize("row", [0, 3, 5])
def test_a_row_equals_adamw_written_in_numpy(row):
    steps = 50
    task, own, initial, final, mean_loss = population_row(steps, row)
    weights = layers(initial)
    m = [[np.zeros_like(w) for w in layer] for layer in weights]
    v = [[np.zeros_like(w) for w in layer] for layer in weights]
    losses = []
    for t, (x, y) in enumerate(batches(task, own, steps), 1):
        inputs, hidden = [], x.astype(np.float64)
        for depth, (kernel, bias) in enumerate(weights):
            inputs.append(hidden)
            hidden = hidden @ kernel + bias
            if depth < len(weights) - 1:
                hidden = np.maximum(hidden, 0)
        shifted = hidden - hidden.max(1, keepdims=True)
        logp = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        losses.append(-logp[np.arange(len(y)), y].mean())
        delta = (np.exp(logp) - np.eye(10)[y]) / len(y)
        grads = []
        for depth in reversed(range(len(weights))):
            grads.insert(0, [inputs[depth].T @ delta, delta.sum(0)])
            delta = (delta @ weights[depth][0].T) * (inputs[depth] > 0)
        norm = np.sqrt(sum((g**2).sum() for layer in grads for g in layer))
        scale = min(1.0, own["clip"] / norm)
        for i, layer in enumerate(grads):
            for j, g in enumerate(layer):
                g = g * scale
                m[i][j] = own["b1"] * m[i][j] + (1 - own["b1"]) * g
                v[i][j] = own["b2"] * v[i][j] + (1 - own["b2"]) * g**2
                m_hat, v_hat = m[i][j] / (1 - own["b1"] ** t), v[i][j] / (1 - own["b2"] ** t)
                step = m_hat / (np.sqrt(v_hat) + own["eps"]) + own["weight_decay"] * weights[i][j]
                weights[i][j] = weights[i][j] - own["learning_rate"] * step
    assert abs(np.mean(losses) - mean_loss) < 1e-5
    for ours, theirs in zip(layers(final), weights, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.slow
def test_a_row_equals_a_plain_unvmapped_jax_loop():
    steps = 200
    task, own, params, final, mean_loss = population_row(steps, 3)
    tx = optax.chain(
        optax.clip_by_global_norm(own["clip"]),
        optax.adamw(own["learning_rate"], weight_decay=own["weight_decay"]),
    )
    opt_state, losses = tx.init(params), []
    value_and_grad = jax.jit(
        jax.value_and_grad(lambda p, x, y: task.loss(p, batch(x, y), jax.random.key(0), own)[0])
    )
    update = jax.jit(tx.update)
    for x, y in batches(task, own, steps):
        loss, grads = value_and_grad(params, x, y)
        updates, opt_state = update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        losses.append(float(loss))
    assert abs(np.mean(losses) - mean_loss) < 1e-5
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(final), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
