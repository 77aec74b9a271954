"""A padded member equals the same member unpadded, for every model and optimizer; its padding is exactly zero."""

import functools

import jax
import numpy as np
import pytest
from helpers.flat import as_trees
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from jaxloop import api
from jaxloop.core import padding
from jaxloop.core.assembly import one_member
from jaxloop.core.bucket import alone, undivided
from jaxloop.core.chunk import chunked
from jaxloop.core.shapes import params_shapes
from jaxloop.sweep import sweep
from jaxloop.sweep.sizes import Size

STEPS, CHUNK = 100, 10
SIZES = {  # by model: the sizes of two members, the first smaller in each
    "mlp": {"width": [5, 16], "depth": [2, 3], "batch_size": [24, 40]},
    "cnn": {"channels": [3, 8], "batch_size": [24, 40]},
    "gru": {"width": [3, 6], "batch_size": [24, 40]},
    "linear": {"batch_size": [24, 40]},
    "transformer": {
        "width": [6, 16],
        "depth": [1, 2],
        "heads": [1, 3],
        "head_width": [2, 6],
        "batch_size": [24, 40],
    },
}
RATES = {"sgd": 0.05, "adamw": 1e-3, "muon": 1e-2, "lion": 1e-3}


@functools.cache
def digits():
    return api.task_of(sweep.parse('[run]\ntask = "digits"\nsteps = 1'))


def trained(swept, bucket, steps=STEPS):
    """All members of a bucket vmapped: (M, steps / CHUNK) losses, and their parameters with padding."""
    task = digits()
    one, _ = one_member(swept, task, bucket)
    step = jax.vmap(chunked(one, CHUNK).step, in_axes=(0, 0, None))
    rows = [bucket.columns(swept.members[number]) for number in bucket.numbers]
    columns = {name: np.stack([row[name] for row in rows]) for name in bucket.traced}

    @jax.jit
    def run(columns, data):
        def body(state, _):
            state, metrics = step(columns, state, data)
            return state, metrics["loss"]

        return jax.lax.scan(body, jax.vmap(one.init)(columns), None, length=steps // CHUNK)

    state, losses = run(columns, task.data.splits())
    return np.asarray(losses).T, as_trees(state.learner.params, params_shapes(task, bucket))


def written(model, optimizer, sizes, extra=""):
    axes = "\n".join(f"{name} = {{ values = {values} }}" for name, values in sizes.items())
    return sweep.parse(
        f'[run]\ntask = "digits"\nsteps = {STEPS}\n[hparams]\nmodel = "{model}"\noptimizer = "{optimizer}"\n'
        f'learning_rate = {RATES[optimizer]}\n{extra}\n[axes]\n{axes}\n[population]\nsampler = "zip"\n'
    )


def assert_equals_unpadded(swept, number, padded_losses, padded_params, steps=STEPS):
    own = alone(swept, number)
    losses, params = trained(swept, own, steps)
    np.testing.assert_allclose(padded_losses, losses[0], rtol=1e-5)
    shapes = params_shapes(digits(), own)
    cropped = padding.cropped(padded_params, shapes)
    for ours, theirs in zip(jax.tree.leaves(cropped), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(ours, theirs[0], atol=2e-4)
    total = sum(np.count_nonzero(leaf) for leaf in jax.tree.leaves(padded_params))
    assert total == sum(np.count_nonzero(leaf) for leaf in jax.tree.leaves(cropped)), "the padding is not zero"


PAIRS = [  # every model and every optimizer; `test_any_combination_padded_equals_unpadded` draws from all pairs
    *(("mlp", optimizer) for optimizer in RATES),
    *(("linear", "adamw"), ("cnn", "adamw"), ("gru", "lion"), ("transformer", "muon")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "optimizer"), PAIRS)
def test_padded_equals_unpadded(model, optimizer):
    swept = written(model, optimizer, SIZES[model])
    (bucket,) = undivided(swept)
    assert set(bucket.sizes) == set(SIZES[model])
    losses, params = trained(swept, bucket)
    assert losses[0, -1] < losses[0, 0]
    assert_equals_unpadded(swept, 0, losses[0], jax.tree.map(lambda leaf: leaf[0], params))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mlp", "transformer"])
def test_scanned_layers_compute_what_unrolled_ones_do(model):
    sizes = {"depth": [2, 3]}
    found, products = [], []
    for scanned in ("true", "false"):
        swept = written(
            model, "adamw", sizes, extra=f"dropout = 0.1\nwidth = 16\nbatch_size = 32\nscan_layers = {scanned}"
        )
        (bucket,) = undivided(swept)
        found.append(trained(swept, bucket, steps=20)[0])
        one, hparams = one_member(swept, digits(), bucket)
        program = jax.make_jaxpr(chunked(one, 1).step)(
            hparams, jax.eval_shape(one.init, hparams), digits().data.splits()
        )
        products.append(str(program).count("dot_general"))
    np.testing.assert_allclose(*found, rtol=1e-5)
    assert products[0] < products[1]


def test_two_sizes_in_one_axis_cannot_be_padded():
    def shapes_of(flat):
        def shapes(sizes):
            return {"kernel": jax.ShapeDtypeStruct((2 * sizes["a"] + sizes["b"] + 1, *flat(sizes)), np.float32)}

        return shapes

    sizes = {"a": Size(2, 4), "b": Size(3, 3)}
    (extent,) = jax.tree.leaves(padding.extents(shapes_of(lambda n: (n["b"], n["a"])), {"a": 4, "b": 3}))
    assert extent.own(sizes) == (2 * 2 + 3 + 1, 3, 2)
    with pytest.raises(ValueError, match=r"axis 1 of params\['kernel'\] needs to be an axis for each of a, b"):
        padding.extents(shapes_of(lambda n: (n["a"] * n["b"],)), {"a": 4, "b": 3})


@st.composite
def combinations(draw):
    """A model, an optimizer, and for each size of the model two values; the member that has the smaller ones."""
    model, optimizer = draw(st.sampled_from(list(SIZES))), draw(st.sampled_from(list(RATES)))
    sizes = {}
    for name in SIZES[model]:
        values = st.integers(1, 4) if name in ("depth", "heads") else st.integers(1, 12)
        if (model, name) == ("transformer", "width"):  # norms over two numbers turn rounding into chaos
            values = st.integers(4, 12)
        values = values.map(lambda n: 2 * n) if name == "head_width" else values
        sizes[name] = draw(st.lists(values, min_size=2, max_size=2, unique=True))
    return model, optimizer, sizes, draw(st.integers(0, 1))


@pytest.mark.slow
@given(combinations())
@settings(max_examples=1, phases=[Phase.explicit, Phase.generate])  # shrinking takes minutes
def test_any_combination_padded_equals_unpadded(combination):
    model, optimizer, sizes, number = combination
    swept = written(model, optimizer, sizes)
    (bucket,) = undivided(swept)
    losses, params = trained(swept, bucket, steps=20)
    assert_equals_unpadded(
        swept, number, losses[number], jax.tree.map(lambda leaf: leaf[number], params), steps=20
    )
