import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxloop.core import optimizer, schedules
from jaxloop.sweep.catalog import SCHEDULES
from jaxloop.sweep.optimizers import OPTIMIZERS
from jaxloop.sweep.sizes import Choice

STEPS, WARMUP, PEAK = 50, 10, 0.3


def rates(schedule, warmup=WARMUP, end=0.1):
    hparams = {"steps": STEPS, "warmup_steps": warmup, "schedule": Choice(0, (schedule,))}
    hparams |= {"end_factor": end, "decay_fraction": 0.2}
    return np.array([PEAK * schedules.schedule(jnp.int32(t), hparams) for t in range(STEPS)])


@pytest.mark.parametrize("warmup", [0, WARMUP])
def test_schedules_equal_optaxs(warmup):
    rest = STEPS - warmup

    def with_warmup(schedule):
        return optax.join_schedules([optax.linear_schedule(0.0, PEAK, max(warmup, 1)), schedule], [warmup])

    expected = {
        "constant": optax.constant_schedule(PEAK),
        "linear": optax.linear_schedule(PEAK, 0.1 * PEAK, rest),
        "cosine": optax.cosine_decay_schedule(PEAK, rest, alpha=0.1),
        "warmup_stable_decay": optax.linear_schedule(PEAK, 0.1 * PEAK, rest // 5, rest - rest // 5),
    }
    assert set(expected) == set(SCHEDULES)
    for name, schedule in expected.items():
        reference = [with_warmup(schedule)(t) for t in range(STEPS)]
        np.testing.assert_allclose(rates(name, warmup), np.array(reference), rtol=2e-6)


def test_norms_and_clipping_equal_optaxs():
    generator = np.random.default_rng(0)
    tree = {f"{n}": generator.normal(size=n).astype(np.float32) for n in (1, 15, 16, 17, 10_007)}
    tree["matrix"] = generator.normal(size=(7, 5)).astype(np.float32)
    np.testing.assert_allclose(optimizer.global_norm(tree), optax.global_norm(tree), rtol=1e-6)
    for most in (1.0, 1e6):
        ours, theirs = (
            jax.tree.leaves(tx.update(tree, tx.init(tree))[0])
            for tx in (optimizer.clip_by_global_norm(jnp.float32(most)), optax.clip_by_global_norm(most))
        )
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


PARAMS = {"kernel": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), "bias": np.linspace(0.1, 1, 4)}
PARAMS = jax.tree.map(lambda leaf: leaf.astype(np.float32), PARAMS)
LAYOUT = optimizer.Layout(
    {"kernel": True, "bias": False},
    {"kernel": 1, "bias": 0},
    {"kernel": optimizer.Shape((3, 4)), "bias": optimizer.Shape((4,))},
)


def transformed(hparams):
    return optimizer.transformation(hparams, hparams, LAYOUT)


def three_updates(tx):
    state, params = tx.init(PARAMS), PARAMS
    for _ in range(3):
        grads = jax.tree.map(lambda leaf: jnp.cos(3 * leaf), params)
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_traced_numbers_give_what_constants_give(name):
    numbers = {k: v for k, v in OPTIMIZERS[name].items() if isinstance(v, float)}
    other = {k: v for k, v in OPTIMIZERS[name].items() if not isinstance(v, float)}
    numbers |= {"momentum": 0.8} if "momentum" in numbers else {}
    constant = optax.chain(optax.clip_by_global_norm(0.5), optimizer.of_optax(name)(0.3, **numbers, **other))
    expected = jax.jit(lambda: three_updates(constant))()

    @jax.jit
    def with_traced(given):
        return three_updates(transformed({"optimizer": name, **other, **given}))

    traced = with_traced(jax.tree.map(jnp.float32, {**numbers, "learning_rate": 0.3, "clip": 0.5}))
    for ours, theirs, before in zip(*map(jax.tree.leaves, (traced, expected, PARAMS)), strict=True):
        # float32 holds 1 - b2 = 0.001 to 6e-5, which adam's bias correction divides by
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=3e-5)
        assert np.abs(theirs - before).max() > 1e-4


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_declared_arguments_and_defaults_are_optaxs(name):
    signature = inspect.signature(optimizer.of_optax(name)).parameters
    for argument, default in OPTIMIZERS[name].items():
        expected = signature[argument].default
        assert default == (0.0 if argument == "momentum" and expected is None else expected)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_only_weights_decay_if_asked(name):
    decayed = {}
    for on in ("all", "weights"):
        hparams = {"optimizer": name, "learning_rate": 0.1, **OPTIMIZERS[name], "weight_decay_on": on}
        decays = {name: 0.5 for name in hparams if name.endswith("weight_decay")}
        tx = transformed({**hparams, **decays})
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, PARAMS), tx.init(PARAMS), PARAMS)
        decayed[on] = {name: bool(np.abs(update).max() > 0) for name, update in updates.items()}
    assert decayed == {
        "all": {"kernel": True, "bias": True},
        "weights": {"kernel": True, "bias": False},
    }
