"""The maximal update parametrization: nothing grows or shrinks with the width (Yang and Hu 2022, appendix D.1)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.flat import as_trees

from jaxloop import api
from jaxloop.core.assembly import one_member
from jaxloop.core.bucket import alone
from jaxloop.core.chunk import chunked
from jaxloop.core.shapes import params_shapes
from jaxloop.sweep import sweep

WIDTHS = [64, 256, 1024]


def activations(params, x, factor):
    """The two hidden layers' and the logits, in NumPy; `factor` is mup's of the width."""
    found = []
    for number in sorted(params["hidden"]):
        x = np.maximum(x @ params["hidden"][number]["kernel"] + params["hidden"][number]["bias"][None], 0)
        found.append(x)
    return [*found, x / factor @ params["out"]["kernel"] + params["out"]["bias"][None]]


def moved(parametrization, optimizer, rate):
    """(widths, layers): the root mean square by which three steps change each layer's activations."""
    swept = sweep.parse(
        f'[run]\ntask = "digits"\nsteps = 3\n[hparams]\noptimizer = "{optimizer}"\nbase_width = 64\n'
        f'learning_rate = {rate}\nparametrization = "{parametrization}"\nbatch_size = 64\n'
        f'[axes]\nwidth = {{ values = {WIDTHS}, kind = "static" }}\n'
    )
    task = api.task_of(swept)
    rows = []
    for number, width in enumerate(WIDTHS):
        bucket = alone(swept, number)
        one, _ = one_member(swept, task, bucket)

        @jax.jit
        def run(columns, data, one=one):
            before = one.init(columns)
            after, _ = chunked(one, 3).step(columns, before, data)
            return jnp.stack([before.learner.params, after.learner.params])

        params = as_trees(
            run(bucket.columns(swept.members[number]), task.data.splits()), params_shapes(task, bucket)
        )
        factor = width / 64 if parametrization == "mup" else 1
        before, after = (
            activations(jax.tree.map(lambda leaf, row=row: leaf[row], params), task.data.test["x"], factor)
            for row in (0, 1)
        )
        rows.append([np.sqrt(np.mean((b - a) ** 2)) for a, b in zip(before, after, strict=True)])
    return np.array(rows)


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 2e-3), ("sgd", 0.02)])
def test_three_steps_move_every_layer_equally_at_any_width_in_mup_alone(optimizer, rate):
    standard, mup = moved("standard", optimizer, rate), moved("mup", optimizer, rate)
    np.testing.assert_allclose(mup[0], standard[0], rtol=1e-3)  # equal at the base width
    assert (mup.max(0) / mup.min(0) < 2).all()
    ratio = standard[-1] / standard[0]
    assert max(ratio.max(), (1 / ratio).max()) > 3
