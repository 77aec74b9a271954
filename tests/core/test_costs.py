"""What a member's step costs, by its trace."""

import pytest

from jaxloop.api import read
from jaxloop.core import costs
from jaxloop.core.bucket import undivided
from jaxloop.core.size_classes import recorded

SCANNING = """
import jax
import jax.numpy as jnp
import numpy as np

import jaxloop

x = np.linspace(-1, 1, 64, dtype=np.float32)
split = {"x": x, "y": x}

def loss(params, batch, key, hparams):
    def body(w, _):
        for _ in range(OPERATIONS):
            w = jnp.sin(w)
        return w, None

    w, _ = jax.lax.scan(body, params, length=3)
    return jnp.mean((batch["x"] * w - batch["y"]) ** 2), {}

task = jaxloop.Task(
    lambda key, hparams: jax.random.normal(key), loss, lambda params, batch, hparams: {"loss": params},
    jaxloop.Data(split, split, split),
)
"""
SWEEP = '[run]\ntask = "scanning.py:task"\nsteps = 4\nevaluate_every = 2\n[hparams]\nbatch_size = 8\n'


def operations_with(folder, count):
    folder.mkdir()
    (folder / "scanning.py").write_text(SCANNING.replace("OPERATIONS", str(count)))
    (folder / "sweep.toml").write_text(SWEEP)
    sweep, task = read(folder / "sweep.toml")
    return costs.operations(sweep, task, undivided(sweep)[0])


def test_operations_within_loops_count_once(tmp_path):
    """A sine in the loop is a sine and more in the step, which takes its gradient."""
    one, eleven = (operations_with(tmp_path / str(count), count) for count in (1, 11))
    assert 2 * 10 <= eleven - one <= 6 * 10


def test_a_program_keeps_in_use_what_its_costliest_branch_does(tiny):
    sweep, task = read(tiny, ("axes.width.values=[4,60]",))
    small = [number for number, member in enumerate(sweep.members) if member["width"] == 4]
    large = [number for number in range(len(sweep.members)) if number not in small]
    (bucket,) = recorded(sweep, [[small, large]])
    each = [costs.step_cost(sweep, task, part).working_set for part in bucket.classes]
    assert each[0] < each[1]
    assert costs.working_set(sweep, task, bucket) == pytest.approx(each[1])
