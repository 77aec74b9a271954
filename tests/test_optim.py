import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxloop import optim
from jaxloop.declared import OPTIMIZERS, SCHEDULES

STEPS, WARMUP, PEAK = 50, 10, 0.3


def rates(schedule, warmup=WARMUP, end=0.1):
    hparams = {"steps": STEPS, "warmup_steps": warmup, "schedule": schedule, "learning_rate": PEAK}
    hparams |= {"end_factor": end, "decay_fraction": 0.2}
    return np.array([optim.learning_rate(jnp.int32(t), hparams) for t in range(STEPS)])


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


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_traced_numbers_give_what_constants_give(name):
    params, grads = jnp.linspace(-1.0, 1.0, 7), jnp.linspace(3.0, -2.0, 7)
    numbers = {k: v for k, v in OPTIMIZERS[name].items() if not isinstance(v, bool)}
    other = {k: v for k, v in OPTIMIZERS[name].items() if isinstance(v, bool)}
    given = numbers | {"learning_rate": 0.02, "clip": 0.5} | ({"momentum": 0.8} if "momentum" in numbers else {})

    def two_updates(tx):
        state, p = tx.init(params), params
        for _ in range(2):
            updates, state = tx.update(grads, state, p)
            p = optax.apply_updates(p, updates)
        return p

    arguments = {k: v for k, v in given.items() if k not in ("learning_rate", "clip")}
    constant = optax.chain(optax.clip_by_global_norm(0.5), getattr(optax, name)(0.02, **arguments, **other))
    expected = jax.jit(lambda: two_updates(constant))()
    traced = jax.jit(lambda given: two_updates(optim.optimizer({"optimizer": name, **other, **given})))(
        {k: jnp.float32(v) for k, v in given.items()}
    )
    # float32 holds 1 - b2 = 0.001 to 6e-5; adam's bias correction divides by it
    np.testing.assert_allclose(traced, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(expected - params).max() > 1e-3


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_declared_arguments_and_defaults_are_optaxs(name):
    signature = inspect.signature(getattr(optax, name)).parameters
    for argument, default in OPTIMIZERS[name].items():
        expected = signature[argument].default
        assert default == (0.0 if argument == "momentum" and expected is None else expected)
