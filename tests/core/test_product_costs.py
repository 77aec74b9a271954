"""Which products are short enough for YNNPACK, and how many FLOPs they take, wherever they occur in a step."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import jaxloop
from jaxloop.core import product_costs, size_classes
from jaxloop.core.costs import products
from jaxloop.sweep import sweep
from jaxloop.training import replay


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
    assert (
        product_costs.are_short(jax.make_jaxpr(step)(jnp.ones((rows, inputs)), jnp.ones((inputs, outputs))))
        is short
    )


def test_what_multiplies_nothing_is_short():
    assert product_costs.are_short(jax.make_jaxpr(jnp.sin)(jnp.ones(5000)))


def until_converged(x, w):
    return lax.while_loop(lambda y: y.sum() < 9, lambda y: y @ w, x @ w)


def in_either_branch(x, w):
    return lax.cond(w[0, 0] > 0, lambda: ((x @ w) @ w.T).sum(), lambda: (x @ w).sum())


def convolution(x, w, groups=1):
    numbers = ("NWC", "WIO", "NWC")
    return lax.conv_general_dilated(
        x[None], w, (1,), "SAME", dimension_numbers=numbers, feature_group_count=groups
    )


@jax.custom_vjp
def with_own_gradient(x, w):
    return x @ w


with_own_gradient.defvjp(lambda x, w: (x @ w, (x, w)), lambda saved, g: (g @ saved[1].T, 2 * (saved[0].T @ g)))


def own_gradient(x, w):
    return jax.grad(lambda w: jnp.square(with_own_gradient(x, w)).sum())(w)


def gradient_of_a_loop(x, w):
    """Forward three products, backward as many for `w` alone."""
    each = jnp.stack([x, x, x])
    return jax.grad(lambda w: lax.scan(lambda t, x: (t + jnp.square(x @ w).sum(), None), 0.0, each)[0])(w)


def loop_in_a_loop(x, w):
    return lax.scan(lambda total, _: (total + in_a_loop(x, w), None), 0.0, length=5)[0]


def recomputed(x, w):
    """The product is computed again for the gradient of the square."""
    return jax.grad(lambda w: jax.checkpoint(lambda w: jnp.square(x @ w).sum())(w))(w)


def linear_solve(x, w):
    """Products of `w` are its operator's alone: what is computed solves by another product."""
    return lax.custom_linear_solve(lambda v: w.T @ (w @ v), x[0, :2], lambda _, b: (x @ w)[:2] @ b)


@pytest.mark.parametrize(
    ("step", "count"),
    [
        *((product, 1), (gradient, 2), (own_gradient, 3), (in_a_loop, 3), (loop_in_a_loop, 15)),
        *((gradient_of_a_loop, 6), (recomputed, 3), (in_a_branch, 1), (in_either_branch, 2), (in_a_call, 1)),
    ],
)
def test_flops_of_products_are_counted_as_often_as_they_are_computed(step, count):
    jaxpr = jax.make_jaxpr(step)(jnp.ones((4, 3)), jnp.ones((3, 2)))
    assert product_costs.flops(jaxpr) == count * 2 * (4 * 3 * 2)


def test_flops_of_a_batched_product_and_of_a_convolution():
    assert product_costs.flops(jax.make_jaxpr(product)(jnp.ones((5, 4, 3)), jnp.ones((5, 3, 2)))) == 5 * 2 * (
        4 * 3 * 2
    )
    windows = jax.make_jaxpr(convolution)(jnp.ones((16, 1)), jnp.ones((3, 1, 8)))
    assert product_costs.flops(windows) == 2 * (16 * 3 * 8)  # each place, times a window of 3, for 8 channels
    grouped = jax.make_jaxpr(functools.partial(convolution, groups=2))(jnp.ones((16, 4)), jnp.ones((3, 2, 8)))
    assert product_costs.flops(grouped) == 2 * (16 * 3 * 2 * 8)  # a channel sees the inputs of its group


def test_of_a_linear_solve_counts_what_is_computed():
    jaxpr = jax.make_jaxpr(linear_solve)(jnp.ones((4, 3)), jnp.ones((3, 2)))
    assert product_costs.flops(jaxpr) == 2 * (4 * 3 * 2) + 2 * (2 * 2)


def test_flops_of_a_loop_that_may_turn_any_number_of_times_are_not_known():
    assert product_costs.flops(jax.make_jaxpr(until_converged)(jnp.ones((4, 2)), jnp.ones((2, 2)))) is None

    def inside(x, w):
        return lax.scan(lambda y, _: (until_converged(y, w), None), x, length=2)[0]

    assert product_costs.flops(jax.make_jaxpr(inside)(jnp.ones((4, 2)), jnp.ones((2, 2)))) is None
    counting = jax.make_jaxpr(lambda x: lax.while_loop(lambda y: y < 9, lambda y: y + 1, x))(0)
    assert product_costs.flops(counting) == 0


SWEEP = """
[run]
task = "digits"
steps = 4
evaluate_every = 2
[hparams]
depth = 1
batch_size = 16
[axes]
width = {{ values = [8, {most}] }}
seed = {{ count = 2 }}
"""


@pytest.mark.slow
@pytest.mark.parametrize(("most", "short"), [(16, True), (1040, False)])
def test_members_of_all_size_classes_replay_by_their_program_s_library(most, short, tmp_path, monkeypatch):
    monkeypatch.setattr(size_classes, "COMPILE_SECONDS", 0.0)  # a class for each width
    run = jaxloop.run(sweep.parse(SWEEP.format(most=most)), out=tmp_path / "run")
    swept, task = run.sweep_and_task
    (bucket,) = size_classes.recorded(swept, run.store.size_classes)
    assert [products(swept, task, part).are_short for part in bucket.size_classes] == [True, short]
    assert products(swept, task, bucket).are_short is short
    gaps = [replay.train_alone(swept, task, run.store, member.number) for member in run.members]
    assert {gap["largest_difference"] for gap in gaps} == {0.0}
