"""A change of code as a hypothesis: both codes train the same config on the same seeds, in runs of their own."""

import json
import shutil

import numpy as np
import pytest
from helpers import line
from helpers.stopping import Stopped, crash_at

import jaxloop
from jaxloop.errors import SweepError

LOOP = """
[run]
task = "line.py:task"
steps = 20
evaluate_every = 10
[hparams]
batch_size = 8
optimizer = "sgd"
[baseline]
learning_rate = 0.01
[axes]
learning_rate = { log = [1e-3, 1e-1] }
[evaluate]
metric = "validation/loss"
[loop]
rounds = 0
floor_seeds = 4
[verdict]
looks = [4, 8]
shares = [0.5, 0.5]
[checkpoint]
keep = "none"
"""
WRONG = line.changed(line.LINE, (' + params["b"]', ""))  # it forgets the bias


@pytest.fixture
def loop(tmp_path):
    """A loop of a task that is wrong, which has measured its noise floor."""
    (tmp_path / "line.py").write_text(WRONG)
    (tmp_path / "loop.toml").write_text(LOOP)
    jaxloop.loop(tmp_path / "loop.toml", out=tmp_path / "run").close()
    (tmp_path / "right.py").write_text(line.LINE)
    return tmp_path


def attempt(folder, task="right.py", **options):
    return jaxloop.attempt(folder / "run", (), "a bias", task=f"{folder / task}:task", **options)


@pytest.mark.slow
def test_the_better_code_is_a_success_on_paired_seeds(loop):
    record = attempt(loop)
    assert (record["verdict"], record["n"]) == ("success", 4)
    assert record["changed"] == {"task": f"{loop / 'right.py'}:task"}
    with jaxloop.load(loop / "run") as ours, jaxloop.load(loop / "run-try-1") as theirs:
        by_seed = [
            {member.hparams["seed"]: member.metrics["validation/loss"] for member in run.members}
            for run in (ours, theirs)
        ]
        assert theirs.store.counts()["finished"] == 4
    differences = [by_seed[0][seed] - by_seed[1][seed] for seed in record["seeds"]]
    assert record["effect"] == pytest.approx(np.mean(differences))


@pytest.mark.slow
def test_the_same_code_is_a_dead_tie_and_the_next_look_adds_seeds(loop):
    (loop / "same.py").write_text(WRONG + "\n# a comment\n")
    assert attempt(loop, "same.py")["verdict"] == "tie (dead hparam)"
    (loop / "other.py").write_text(
        line.changed(WRONG, ("jax.random.normal(key, (1,))", "jax.random.normal(key, (1,)) * 1.01"))
    )
    record = attempt(loop, "other.py")
    assert record["n"] in (4, 8)
    with jaxloop.load(loop / "run-try-2") as other:
        assert len(other.members) == record["n"]


@pytest.mark.slow
@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_try_that_crashes_ends_when_the_loop_is_resumed(loop, turn, tmp_path_factory):
    with pytest.raises(Stopped):
        attempt(loop, observe=crash_at(turn))
    resumed = jaxloop.resume(loop / "run").ledger[-1]
    assert resumed["verdict"] == "success"
    with jaxloop.load(loop / "run") as run:
        assert json.dumps(run.ledger).count('"experiment"') == 1


def test_a_task_that_cannot_be_tried_records_nothing(loop):
    (loop / "broken.py").write_text("task = 3\n")
    for task, says in (("missing.py", "no file"), ("broken.py", "broken.py")):
        with pytest.raises(SweepError, match=says):
            attempt(loop, task)
    with pytest.raises(SweepError, match=r"needs FILE\.py:NAME"):
        jaxloop.attempt(loop / "run", (), "x", task="right.py")
    with jaxloop.load(loop / "run") as run:
        assert [record["kind"] for record in run.ledger] == ["stage", "floor"]


@pytest.mark.slow
def test_the_command_tries_code(loop, jaxloop_command):
    words = ("try", loop / "run", "--task", f"{loop / 'right.py'}:task", "--because", "a bias", "--json")
    done = jaxloop_command(*words)
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (0, "success")
    assert jaxloop_command("try", loop / "run", "--because", "nothing").returncode == 2


def test_a_verdict_stands_without_the_other_run_and_a_stale_one_is_refused(loop, tmp_path):
    """What the other task measured is in the ledger; a folder that another loop left is nobody's result."""
    first = attempt(loop)
    shutil.rmtree(loop / "run-try-1")
    (loop / "wrong.py").write_text(WRONG + "\n# the same\n")
    (loop / "run-try-2").mkdir()
    (loop / "run-try-2" / "left").touch()
    with pytest.raises(SweepError, match="exists already"):
        attempt(loop, "wrong.py")
    shutil.rmtree(loop / "run-try-2")
    assert attempt(loop, "wrong.py")["verdict"] == "tie (dead hparam)"
    with jaxloop.load(loop / "run") as run:
        assert next(record for record in run.ledger if record["kind"] == "experiment") == first
