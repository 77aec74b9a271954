"""Proximal policy optimization (Schulman et al. 2017) on CartPole-v1, as PureJaxRL (Lu et al. 2022) trains it.

A member is an agent with its environments: a step of the sweep is one update, of NUM_ENVS x NUM_STEPS frames. The
cart and pole are those of Barto, Sutton and Anderson 1983, with Gymnasium's constants.
"""

import jax
import jax.numpy as jnp
import optax

import jaxloop
from jaxloop.models import drawn

NUM_ENVS, NUM_STEPS, EPOCHS, MINIBATCHES = 4, 128, 4, 4
GAMMA, LAMBDA, CLIP, VALUE_COEFFICIENT = 0.99, 0.95, 0.2, 0.5
OBSERVED, ACTIONS, LIMIT = 4, 2, 500


def reset(key):
    return jax.random.uniform(key, (OBSERVED,), minval=-0.05, maxval=0.05)


def env_step(key, cart, time, action):
    """Return the next state and time, and whether the episode ended; a new one begins at once."""
    _, speed, angle, spin = cart
    force = jnp.where(action == 1, 10.0, -10.0)
    push = (force + 0.05 * spin**2 * jnp.sin(angle)) / 1.1
    turn = (9.8 * jnp.sin(angle) - jnp.cos(angle) * push) / (0.5 * (4 / 3 - 0.1 * jnp.cos(angle) ** 2 / 1.1))
    pull = push - 0.05 * turn * jnp.cos(angle) / 1.1
    cart = cart + 0.02 * jnp.stack([speed, pull, spin, turn])
    time += 1
    done = (jnp.abs(cart[0]) > 2.4) | (jnp.abs(cart[2]) > 12 * jnp.pi / 180) | (time >= LIMIT)
    return jnp.where(done, reset(key), cart), jnp.where(done, 0, time), done


def network(key, inputs, width, outputs, scale):
    """Draw two hidden layers of a padded width and a linear one, whose initial weights are small by `scale`."""
    sizes = [jaxloop.Size(inputs, inputs), width, width, jaxloop.Size(outputs, outputs)]
    stddevs = [(2 / inputs) ** 0.5, (2 / width.value) ** 0.5, scale / width.value**0.5]
    shapes = zip(jax.random.split(key, 3), sizes[:-1], sizes[1:], stddevs, strict=True)
    return [{"w": drawn(key, [n, m], stddev), "b": jnp.zeros(m.max)} for key, n, m, stddev in shapes]


def init(key, hparams):
    actor, critic, start = jax.random.split(key, 3)
    params = {
        "actor": network(actor, OBSERVED, hparams["width"], ACTIONS, 0.01),
        "critic": network(critic, OBSERVED, hparams["width"], 1, 1.0),
    }
    return {
        "params": params,
        "opt_state": jaxloop.optimizer(hparams, 0).init(params),
        "cart": jax.vmap(reset)(jax.random.split(start, NUM_ENVS)),
        "time": jnp.zeros(NUM_ENVS, jnp.int32),
        "return": jnp.zeros(NUM_ENVS),  # of the last whole episode; the reward is 1 a frame
    }


def apply(layers, x):
    for layer in layers[:-1]:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return x @ layers[-1]["w"] + layers[-1]["b"]


def act(params, cart):
    return jax.nn.log_softmax(apply(params["actor"], cart)), apply(params["critic"], cart)[..., 0]


def rollout(state, key):
    def frame(carry, key):
        cart, time, returns = carry
        choose, *keys = jax.random.split(key, NUM_ENVS + 1)
        logits, value = act(state["params"], cart)
        action = jax.random.categorical(choose, logits)
        log_prob = jnp.take_along_axis(logits, action[:, None], 1)[:, 0]
        after, next_time, done = jax.vmap(env_step)(jnp.stack(keys), cart, time, action)
        seen = {"cart": cart, "action": action, "log_prob": log_prob, "value": value, "done": done}
        return (after, next_time, jnp.where(done, time + 1.0, returns)), seen

    start = (state["cart"], state["time"], state["return"])
    return jax.lax.scan(frame, start, jax.random.split(key, NUM_STEPS))


def advantages(seen, last_value):
    """Generalized advantage estimates (Schulman et al. 2016), backwards in time."""

    def back(carry, frame):
        advantage, next_value = carry
        alive = 1.0 - frame["done"]
        delta = 1.0 + GAMMA * next_value * alive - frame["value"]
        advantage = delta + GAMMA * LAMBDA * alive * advantage
        return (advantage, frame["value"]), advantage

    return jax.lax.scan(back, (jnp.zeros(NUM_ENVS), last_value), seen, reverse=True)[1]


def loss(params, frames, hparams):
    logits, value = act(params, frames["cart"])
    log_prob = jnp.take_along_axis(logits, frames["action"][:, None], 1)[:, 0]
    ratio = jnp.exp(log_prob - frames["log_prob"])
    advantage = (frames["advantage"] - frames["advantage"].mean()) / (frames["advantage"].std() + 1e-8)
    policy = -jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage).mean()
    near = frames["value"] + jnp.clip(value - frames["value"], -CLIP, CLIP)
    errors = jnp.maximum((value - frames["target"]) ** 2, (near - frames["target"]) ** 2)
    entropy = -(jnp.exp(logits) * logits).sum(-1).mean()
    total = policy + VALUE_COEFFICIENT * 0.5 * errors.mean() - hparams["entropy_coefficient"] * entropy
    return total, entropy


def update(state, batch, key, step, hparams):
    acting, shuffling = jax.random.split(key)
    (cart, time, returns), seen = rollout(state, acting)
    _, last_value = act(state["params"], cart)
    seen["advantage"] = advantages(seen, last_value)
    seen["target"] = seen["advantage"] + seen["value"]
    frames = jax.tree.map(lambda x: x.reshape(NUM_ENVS * NUM_STEPS, *x.shape[2:]), seen)
    tx = jaxloop.optimizer(hparams, step)

    def minibatch(carry, rows):
        params, opt_state = carry
        chosen = jax.tree.map(lambda x: x[rows], frames)
        (value, entropy), grads = jax.value_and_grad(loss, has_aux=True)(params, chosen, hparams)
        updates, opt_state = tx.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), (value, entropy)

    def epoch(carry, key):
        order = jax.random.permutation(key, NUM_ENVS * NUM_STEPS)
        return jax.lax.scan(minibatch, carry, order.reshape(MINIBATCHES, -1))

    start = (state["params"], state["opt_state"])
    (params, opt_state), (losses, entropies) = jax.lax.scan(epoch, start, jax.random.split(shuffling, EPOCHS))
    state = {"params": params, "opt_state": opt_state, "cart": cart, "time": time, "return": returns}
    return state, {"return": returns.mean(), "loss": losses.mean(), "entropy": entropies.mean()}


task = jaxloop.Task(
    init,
    update=update,
    params=lambda state: state["params"],
    hparams={"width": jaxloop.size(64), "entropy_coefficient": 0.01},
)
