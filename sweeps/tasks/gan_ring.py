"""A generative adversarial network (Goodfellow et al. 2014) that learns eight Gaussians on a ring.

Two networks with an optimizer each: the task takes its own steps. `modes` counts the Gaussians with a hundredth of
all samples or more, `quality` is the share of samples within three standard deviations of one.
"""

import jax
import jax.numpy as jnp
import optax

import jaxloop

MODES, STDDEV, NOISE, UNITS, BATCH, SAMPLES = 8, 0.05, 8, 64, 128, 2000
ANGLES = 2 * jnp.pi * jnp.arange(MODES) / MODES
CENTERS = jnp.stack([jnp.cos(ANGLES), jnp.sin(ANGLES)], 1)


def network(key, inputs, outputs):
    keys, sizes = jax.random.split(key, 3), [inputs, UNITS, UNITS, outputs]
    return [
        {"w": jax.random.normal(key, (n, m)) * (2 / n) ** 0.5, "b": jnp.zeros(m)}
        for key, n, m in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def apply(layers, x):
    for layer in layers[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ layers[-1]["w"] + layers[-1]["b"]


def optimizers(hparams, step):
    slower = hparams | {"learning_rate": hparams["learning_rate"] * hparams["generator_factor"]}
    return jaxloop.optimizer(slower, step), jaxloop.optimizer(hparams, step)


def init(key, hparams):
    for_generator, for_critic = jax.random.split(key)
    generator, critic = network(for_generator, NOISE, 2), network(for_critic, 2, 1)
    tx, critic_tx = optimizers(hparams, 0)
    return {
        "generator": generator,
        "critic": critic,
        "opt_state": tx.init(generator),
        "critic_opt_state": critic_tx.init(critic),
    }


def update(state, batch, key, step, hparams):
    mode, spread, noise = jax.random.split(key, 3)
    real = CENTERS[jax.random.randint(mode, (BATCH,), 0, MODES)] + STDDEV * jax.random.normal(spread, (BATCH, 2))
    z = jax.random.normal(noise, (BATCH, NOISE))

    def critic_loss(critic, generator):
        fake = apply(critic, apply(generator, z))
        return jax.nn.softplus(-apply(critic, real)).mean() + jax.nn.softplus(fake).mean()

    def generator_loss(generator, critic):
        return jax.nn.softplus(-apply(critic, apply(generator, z))).mean()

    tx, critic_tx = optimizers(hparams, step)
    critic_value, grads = jax.value_and_grad(critic_loss)(state["critic"], state["generator"])
    updates, critic_opt_state = critic_tx.update(grads, state["critic_opt_state"], state["critic"])
    critic = optax.apply_updates(state["critic"], updates)
    value, grads = jax.value_and_grad(generator_loss)(state["generator"], critic)
    updates, opt_state = tx.update(grads, state["opt_state"], state["generator"])
    generator = optax.apply_updates(state["generator"], updates)
    new = {
        "generator": generator,
        "critic": critic,
        "opt_state": opt_state,
        "critic_opt_state": critic_opt_state,
    }
    return new, {"critic_loss": critic_value, "generator_loss": value}


def metrics(state, batch, hparams):
    samples = apply(state["generator"], jax.random.normal(jax.random.key(0), (SAMPLES, NOISE)))
    distances = jnp.linalg.norm(samples[:, None] - CENTERS, axis=-1)
    near = jax.nn.one_hot(distances.argmin(1), MODES) * (distances.min(1) < 3 * STDDEV)[:, None]
    return {"modes": jnp.sum(near.mean(0) >= 0.01), "quality": near.sum(1).mean(), "shares": near.mean(0)}


task = jaxloop.Task(
    init,
    update=update,
    metrics=metrics,
    params=lambda state: {"generator": state["generator"], "critic": state["critic"]},
    hparams={"generator_factor": 1.0},
)
