"""Population-based training on the toy problem of its paper (Jaderberg et al. 2017, figure 2)."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers.stopping import Stopped, crash_at

import jaxloop
from jaxloop.errors import SweepError
from jaxloop.readers.verify import verify
from jaxloop.storage.records import Status
from jaxloop.sweep import sweep
from jaxloop.training import replay
from jaxloop.training.peak import own_steps
from jaxloop.training.scheduler import Measured
from jaxloop.training.schedulers.pbt import Pbt

TOY = """
import jax.numpy as jnp
import numpy as np
import jaxloop

rows = {"x": np.zeros((4, 1), np.float32)}

def init(key, hparams):
    return jnp.array([0.9, 0.9])

def loss(params, batch, key, hparams):
    weights = jnp.stack([hparams["h0"], hparams["h1"]])
    return jnp.sum(weights * params**2) - 1.2, {}

def metrics(params, batch, hparams):
    return {"q": 1.2 - jnp.sum(params**2)}

task = jaxloop.Task(init, loss, metrics, jaxloop.Data(rows, rows, rows), hparams={"h0": 1.0, "h1": 1.0})
"""
SWEEP = """
[run]
task = "toy.py:task"
steps = 400
evaluate_every = 4
[hparams]
optimizer = "sgd"
learning_rate = 0.01
batch_size = 1
[axes]
h0 = { linear = [0, 1], num = 2 }
h1 = { values = [1.0, 0.0] }
[population]
sampler = "zip"
scheduler = "pbt"
[evaluate]
metric = "validation/q"
mode = "max"
[checkpoint]
every = 40
"""


@pytest.fixture
def toy(tmp_path):
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "toy.toml").write_text(SWEEP)
    return tmp_path / "toy.toml"


def state(run):
    return [(member.id, member.status, member.step, member.metrics) for member in run.members]


@pytest.mark.slow
def test_it_reaches_what_no_fixed_schedule_does(toy, tmp_path):
    """Two workers, each of which can move one of two parameters; the optimum needs both."""
    fixed = jaxloop.run(toy, out=tmp_path / "fixed", overrides=('population.scheduler="budget"',))
    assert max(member.metrics["validation/q"] for member in fixed.members) < 0.4
    run = jaxloop.run(toy, out=tmp_path / "run", overrides=("run.steps=800",))
    finished = [member for member in run.members if member.status == Status.FINISHED]
    assert len(finished) == 2
    assert max(member.metrics["validation/q"] for member in finished) == pytest.approx(1.2, abs=1e-3)


@pytest.mark.slow
def test_a_lineage_replays_and_survives_a_crash(toy, tmp_path):
    short = ("run.steps=80",)
    run = jaxloop.run(toy, out=tmp_path / "run", overrides=short)
    last = run.members[-1]
    assert last.parent is not None
    assert sum(own_steps(run.store).values()) == run.store.member_steps
    found = replay.train_alone(*run.sweep_and_task, run.store, last.number)
    assert (found["largest_difference"], found["missing"]) == (0.0, 0)
    assert verify(run.path)["problems"] == []
    with pytest.raises(Stopped):
        jaxloop.run(toy, out=tmp_path / "crashed", overrides=short, observe=crash_at(13))
    assert state(jaxloop.resume(tmp_path / "crashed")) == state(run)


@pytest.mark.slow
@pytest.mark.parametrize("turn", [4, 7])
def test_with_few_slots_a_crash_changes_nothing(toy, tmp_path, turn):
    """More members than slots: a copy takes a slot before those that have not begun, after a restart too."""
    settings = (
        "run.steps=24",
        "axes.h0.num=6",
        "axes.h1.values=[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]",
        "population.capacity=4",
    )
    run = jaxloop.run(toy, out=tmp_path / "run", overrides=settings)
    with pytest.raises(Stopped):
        jaxloop.run(toy, out=tmp_path / "crashed", overrides=settings, observe=crash_at(turn))
    assert state(jaxloop.resume(tmp_path / "crashed")) == state(run)


def test_no_two_losers_become_the_same_copy():
    """Ten members, one axis: two losers that drew alike would be one member."""
    text = '[run]\ntask = "digits"\nsteps = 4\nevaluate_every = 1\n[population]\nscheduler = "pbt"\n[axes]\n'
    swept = sweep.parse(text + "learning_rate = { log = [1e-3, 1e-1], num = 10 }\n")
    store = SimpleNamespace(metric="validation/loss", mode="min")
    for step in range(1, 200):
        values = np.arange(10, dtype=np.float32)
        measured = Measured(
            members=np.arange(10, dtype=np.int32),
            steps=np.full(10, step),
            metrics={"validation/loss": values},
            diverged=np.zeros(10, bool),
            is_active=np.ones(10, bool),
            hparams=swept.members,
        )
        decisions = Pbt(swept, store).decide(measured)
        drawn = [(join.like, join.hparams["learning_rate"]) for join in decisions.join]
        assert len(drawn) == len(set(drawn)) == len(decisions.stop) == 2


def test_it_needs_an_axis_that_a_copy_may_change():
    text = '[run]\ntask = "digits"\nsteps = 4\n[axes]\nseed = { count = 2 }\n[population]\nscheduler = "pbt"\n'
    with pytest.raises(SweepError, match=r"population\.scheduler: pbt needs an axis of numbers"):
        sweep.parse(text)
