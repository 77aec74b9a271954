"""Which products are short enough for YNNPACK, and how many FLOPs they take, wherever in a step they stand."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import jaxloop
from jaxloop.core import products, size_classes
from jaxloop.core.costs import step_cost
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
    assert products.are_short(jax.make_jaxpr(step)(jnp.ones((rows, inputs)), jnp.ones((inputs, outputs)))) is short


def test_what_multiplies_nothing_is_short():
    assert products.are_short(jax.make_jaxpr(jnp.sin)(jnp.ones(5000)))


def until_converged(x, w):
    return lax.while_loop(lambda y: y.sum() < 9, lambda y: y @ w, x @ w)


def in_either_branch(x, w):
    return lax.cond(w[0, 0] > 0, lambda: ((x @ w) @ w.T).sum(), lambda: (x @ w).sum())


def convolution(x, w):
    return lax.conv_general_dilated(x[None], w[:, None], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))


@pytest.mark.parametrize(
    ("step", "products_of_24"),
    [(product, 1), (gradient, 2), (in_a_loop, 3), (in_a_branch, 1), (in_either_branch, 2), (in_a_call, 1)],
)
def test_flops_of_products_are_counted_as_often_as_they_are_computed(step, products_of_24):
    jaxpr = jax.make_jaxpr(step)(jnp.ones((4, 3)), jnp.ones((3, 2)))
    assert products.flops(jaxpr) == products_of_24 * 2 * (4 * 3 * 2)


def test_flops_of_a_batched_product_and_of_a_convolution():
    assert products.flops(jax.make_jaxpr(product)(jnp.ones((5, 4, 3)), jnp.ones((5, 3, 2)))) == 5 * 2 * (4 * 3 * 2)
    windows = jax.make_jaxpr(convolution)(jnp.ones((16, 1)), jnp.ones((3, 8)))
    assert products.flops(windows) == 2 * (16 * 3 * 8)  # each place, times a window of 3, for 8 channels


def test_flops_of_a_loop_that_may_turn_any_number_of_times_are_not_known():
    assert products.flops(jax.make_jaxpr(until_converged)(jnp.ones((4, 2)), jnp.ones((2, 2)))) is None
    counting = jax.make_jaxpr(lambda x: lax.while_loop(lambda y: y < 9, lambda y: y + 1, x))(0)
    assert products.flops(counting) == 0


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
    assert [step_cost(swept, task, part).has_short_products for part in bucket.size_classes] == [True, short]
    assert step_cost(swept, task, bucket).has_short_products is short
    gaps = [replay.train_alone(swept, task, run.store, member.number) for member in run.members]
    assert {gap["largest_difference"] for gap in gaps} == {0.0}
