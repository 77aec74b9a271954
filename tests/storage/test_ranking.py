"""A value that is not finite never wins, is named, and decides nothing."""

import json

import jax
import pytest
from helpers import line

import jaxloop
from jaxloop.errors import NotFoundError, SweepError
from jaxloop.storage.ranking import direction_of, not_finite, ranked, require_metric, with_finite_mean

SCORE = """
def score(bad):
    return jnp.where(bad > 1.5, VALUE, jnp.where(bad > 0.5, jnp.nan, 1.0 - bad))

task ="""
BAD = line.changed(
    line.LINE,
    ('return {"loss"', 'return {"score": score(hparams["bad"]), "loss"'),
    ("\ntask =", SCORE),
    ("split))", 'split), hparams={"bad": 0.0})'),
)
SWEEP = """
[run]
task = "line.py:task"
steps = 2
evaluate_every = 1
[hparams]
batch_size = 8
[axes]
bad = { values = [2.0, 1.0, 0.25, 0.0] }
seed = { count = 2 }
[evaluate]
metric = "validation/score"
mode = "max"
[checkpoint]
keep = "best:1"
"""


def bad_run(folder, value="jnp.inf", mode="max", overrides=()):
    text = line.changed(SWEEP, ('mode = "max"', f'mode = "{mode}"'))
    file = line.written(folder, task=BAD.replace("VALUE", value), sweep=text)
    return jaxloop.run(file, out=folder / "run", overrides=overrides)


@pytest.mark.parametrize(("value", "mode"), [("jnp.inf", "max"), ("-jnp.inf", "min"), ("jnp.inf", "min")])
def test_infinities_and_nan_come_last_and_their_neighbours_keep_their_parameters(tmp_path, value, mode):
    run = bad_run(tmp_path, value, mode)
    finite = [0.0, 0.25] if mode == "max" else [0.25, 0.0]
    configs = ranked(run.store)
    assert [config.hparams["bad"] for config in configs] == [*finite, 2.0, 1.0]
    assert [config.mean for config in configs] == [1.0 - bad for bad in finite] + [None, None]
    assert [config.complete for config in configs] == [True, True, False, False]
    (told,) = not_finite(configs, "validation/score")
    assert told == "members 0-3 finished without a finite validation/score: their values are not ranked"
    assert told in run.summary.notes
    assert len(run.summary.best) == 2
    winners = configs[0].members
    assert all(jax.tree.leaves(run.params(number)) for number in winners)
    with pytest.raises(NotFoundError):
        run.params(next(number for number in range(8) if number not in winners))


def test_where_nothing_is_finite_nothing_is_deleted(tmp_path, jaxloop_command):
    run = bad_run(tmp_path, overrides=("axes.bad.values=[1.0, 2.0]",))
    assert with_finite_mean(ranked(run.store)) == []
    assert any("`keep` deletes no final parameters" in note for note in run.summary.notes)
    assert jax.tree.leaves(run.params(3))
    shown = jaxloop_command("best", run.path, "--json")
    assert [row["mean"] for row in json.loads(shown.stdout)] == [None, None]
    assert "members 0-3 finished without a finite" in shown.stderr


def test_a_config_with_one_seed_that_is_not_finite_is_incomplete(tmp_path):
    with_seed = BAD.replace('score(hparams["bad"])', "score(jnp.where(hparams['seed'] > 0, hparams['bad'], 0.0))")
    file = line.written(tmp_path, task=with_seed.replace("VALUE", "jnp.inf"), sweep=SWEEP)
    configs = ranked(jaxloop.run(file, out=tmp_path / "run").store)
    assert [config.complete for config in configs] == [True, True, False, False]
    assert [config.mean for config in configs] == [1.0, 0.875, 1.0, 1.0]
    assert all(config.standard_error is None for config in configs[2:])


def test_a_metric_has_the_direction_that_is_asked_for_or_the_runs_or_its_names(tmp_path):
    with bad_run(tmp_path, mode="min") as run:
        assert direction_of(run.store, "validation/score") == "min"
        assert direction_of(run.store, "test/score") == "min"
        assert direction_of(run.store, "test/score", "max") == "max"
        assert direction_of(run.store, "validation/loss") == "min"
        assert direction_of(run.store, "validation/accuracy") == "max"
        with pytest.raises(SweepError, match="cannot infer a direction for `train/grad_norm`: set --mode to max"):
            direction_of(run.store, "train/grad_norm")
        require_metric(run.store, "validation/score")
        require_metric(run.store, "validation/loss")
        with pytest.raises(NotFoundError, match="no metric 'validation/los'; did you mean `validation/loss`"):
            require_metric(run.store, "validation/los")
        with pytest.raises(NotFoundError, match="no metric 'loss'; did you mean `validation/loss`"):
            require_metric(run.store, "loss")
        with pytest.raises(NotFoundError, match=r"no metric 'xyz/q'; there are .*validation/score"):
            require_metric(run.store, "xyz/q")
