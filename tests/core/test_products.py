"""Which products are short enough for YNNPACK, wherever in a step they stand."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from jaxloop.core import products


def product(x, w):
    return x @ w


def gradient(x, w):
    return jax.grad(lambda w: jnp.square(x @ w).sum())(w)


def in_a_loop(x, w):
    return lax.scan(lambda total, _: (total + (x @ w).sum(), None), 0.0, length=3)[0]


def in_a_branch(x, w):
    return lax.cond(w[0, 0] > 0, lambda: (x @ w).sum(), lambda: 0.0)


def in_a_call(x, w):
    return jax.jit(product)(x, w)


@pytest.mark.parametrize("step", [product, gradient, in_a_loop, in_a_branch, in_a_call])
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs", "short"),
    [(1024, 8, 1024, True), (1025, 8, 8, False), (8, 1025, 8, False), (8, 8, 1025, False)],
)
def test_a_long_operand_is_found_in_any_direction(step, rows, inputs, outputs, short):
    assert products.are_short(jax.make_jaxpr(step)(jnp.ones((rows, inputs)), jnp.ones((inputs, outputs)))) is short


def test_what_multiplies_nothing_is_short():
    assert products.are_short(jax.make_jaxpr(jnp.sin)(jnp.ones(5000)))
