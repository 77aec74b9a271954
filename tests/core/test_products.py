"""Which products are short enough for YNNPACK, wherever in a step they stand."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import jaxloop
from jaxloop.core import products, size_classes
from jaxloop.core.costs import has_short_products
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
    assert [has_short_products(swept, task, part) for part in bucket.size_classes] == [True, short]
    assert has_short_products(swept, task, bucket) is short
    gaps = [replay.train_alone(swept, task, run.store, member.number) for member in run.members]
    assert {gap["largest_difference"] for gap in gaps} == {0.0}
