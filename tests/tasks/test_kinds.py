"""Kinds of training runs, each a sweep that ships: a member ends where a plain loop over it does."""

import ast

import jax
import numpy as np
import pytest
from conftest import ROOT
from helpers import plain
from helpers.kinds import KINDS

import jaxloop
from jaxloop import api
from jaxloop.training import replay

SHORT = ("run.steps=100", "run.evaluate_every=50", "checkpoint.keep=all")
# Small enough that 100 steps do not amplify what compilers round differently, by Adam's division or at a kink.
RATES = "axes.learning_rate={values=[1e-5, 1e-4]}"
SMOOTH = "hparams.eps=1e-3"
TOLERANCE = 1e-6  # relative, of each array of parameters
COMPILED = {
    "gan_ring": pytest.mark.optimized,  # amplifies to more than that what a lack of optimizations changes
    "ppo_cartpole": pytest.mark.optimized,
    "byol": pytest.mark.fused,  # else its replay, in a group of its own, has other bits
}


@pytest.fixture(autouse=True)
def as_users_have_it():
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_adds_at_most_15_lines_to_plain_jax(kind):
    """What a single run's code would not have: the statements of the module that name jaxloop."""
    module = ast.parse((ROOT / "sweeps" / "tasks" / f"{kind}.py").read_text())
    ours = [
        statement
        for statement in module.body
        if not isinstance(statement, ast.FunctionDef)
        and any(getattr(node, "id", getattr(node, "name", None)) == "jaxloop" for node in ast.walk(statement))
    ]
    assert 2 <= sum(statement.end_lineno - statement.lineno + 1 for statement in ours) <= 15


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=COMPILED.get(kind, ())) for kind in KINDS])
def test_a_member_ends_where_a_plain_loop_does(kind, tmp_path):
    overrides = [*SHORT, *KINDS[kind]]
    swept, _ = api.read(ROOT / "sweeps" / f"{kind}.toml", tuple(overrides))
    axes = {name: axis for name, axis in swept.document.axes.items() if name != "learning_rate"}
    overrides += [f"axes.{name}.num=2" for name, axis in axes.items() if axis.num and axis.num > 3]
    overrides += ["axes.seed={count=2}"] if "seed" in swept.document.axes else []
    overrides += [RATES] if "learning_rate" in swept.document.axes else []
    overrides += [SMOOTH] if kind not in ("lbfgs", "own_optimizer") else []
    run = jaxloop.run(ROOT / "sweeps" / f"{kind}.toml", out=tmp_path / "run", overrides=tuple(overrides))
    assert {member.status for member in run.members} == {"finished"}
    assert not [note for note in run.summary.notes if "twins" in note]
    swept, task = run.sweep_and_task
    last = len(run.members) - 1
    state, _ = plain.trained(swept, task, last, init_as_one_program=kind == "gan_ring")
    wanted = task.params(state) if task.params else state[0] if task.stateful_loss else state
    for (path, mine), other in zip(
        jax.tree_util.tree_leaves_with_path(run.params(last)), jax.tree.leaves(wanted), strict=True
    ):
        apart = np.linalg.norm(mine - np.asarray(other)) / max(1e-3, np.linalg.norm(other))
        assert apart <= TOLERANCE, jax.tree_util.keystr(path)
    again = replay.train_alone(swept, task, run.store, 0)
    assert (again["largest_difference"], again["missing"]) == (0.0, 0)
