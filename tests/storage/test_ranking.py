"""A value that is not finite never wins, is named, and decides nothing."""

import json
import math
import statistics

import jax
import pytest
from helpers import line

import jaxloop
from jaxloop import api
from jaxloop.errors import NotFoundError, SweepError
from jaxloop.storage.ranking import (
    direction_of,
    metrics_in_order,
    not_finite,
    ranked,
    require_metric,
    with_finite_mean,
)
from jaxloop.storage.records import Status
from jaxloop.storage.store import Store
from jaxloop.sweep import sweep
from jaxloop.training import create

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


MEASURED = {  # by learning rate: validation losses of three seeds, and what became of them
    0.1: ([0.5, 0.75, 1.0], "finished"),
    0.2: ([0.25, 0.5, 0.25], "finished"),
    0.3: ([0.125, 0.25, 0.5], "running"),
    0.4: ([0.0, 0.5, 1.0], "stopped"),
}


@pytest.fixture
def recorded(tmp_path):
    """A run whose values are made up, and written as a trained one's are."""
    text = line.changed(line.SWEEP, ("[0.1, 0.3]", str([*MEASURED])))
    swept = sweep.parse(text + "seed = { count = 3 }\n", folder=line.written(tmp_path).parent)
    create.create(swept, api.task_of(swept), tmp_path / "run", numbered=False)
    with Store(tmp_path / "run") as store:
        losses = [value for values, _ in MEASURED.values() for value in values]
        everyone = list(range(len(losses)))
        store.add_metrics(["train/loss", "test/loss", "validation/accuracy", "validation/loss"])
        with store.transaction():
            store.admit(everyone, 1)
            values = {"validation/loss": losses, "test/loss": [2 * loss for loss in losses]}
            store.record(1, everyone, [2] * len(losses), values)
            statuses = [status for _, status in MEASURED.values() for _ in range(3)]
            ended = {at: Status(status) for at, status in enumerate(statuses) if status != "running"}
            store.retire(1, ended, {})
        yield store


def test_configs_are_ranked_by_their_mean_with_its_standard_error(recorded):
    found = ranked(recorded)
    assert [config.hparams["learning_rate"] for config in found] == [0.2, 0.1]
    for config in found:
        values, _ = MEASURED[config.hparams["learning_rate"]]
        assert config.mean == pytest.approx(statistics.mean(values))
        assert config.standard_error == pytest.approx(statistics.stdev(values) / math.sqrt(3))
        assert config.metrics["test/loss"] == pytest.approx(2 * statistics.mean(values))
        assert "seed" not in config.hparams
        assert config.config == recorded.members()[config.members[0]].config
        assert (config.finished, config.complete, config.not_finite) == (3, True, [])
    assert [config.members for config in found] == [[3, 4, 5], [0, 1, 2]]


def test_those_that_have_not_finished_count_so_far_alone(recorded):
    assert [config.hparams["learning_rate"] for config in ranked(recorded, so_far=True)] == [0.3, 0.2, 0.4, 0.1]
    every = ranked(recorded, every=True)
    assert [config.hparams["learning_rate"] for config in every] == [0.2, 0.1, 0.3, 0.4]
    assert [config.mean is None for config in every] == [False, False, True, True]


def test_more_may_be_better_and_equal_means_keep_their_order(recorded):
    assert [config.hparams["learning_rate"] for config in ranked(recorded, mode="max")] == [0.1, 0.2]
    with recorded.transaction():
        recorded.record(2, [3, 4, 5], [2] * 3, {"validation/loss": [1.0, 0.75, 0.5]})
    assert [config.hparams["learning_rate"] for config in ranked(recorded)] == [0.1, 0.2]
    assert [config.hparams["learning_rate"] for config in ranked(recorded, mode="max")] == [0.1, 0.2]


def test_a_config_of_one_or_two_seeds(recorded):
    with recorded.transaction():
        recorded.retire(2, {0: Status.DIVERGED, 4: Status.DIVERGED, 5: Status.DIVERGED}, {})
    one, two = ranked(recorded)
    assert (two.finished, two.complete, one.finished) == (2, False, 1)
    assert two.standard_error == pytest.approx(statistics.stdev([0.75, 1.0]) / math.sqrt(2))
    assert one.standard_error is None


def test_a_mean_over_what_is_not_finite_is_no_number(recorded):
    with recorded.transaction():
        recorded.record(2, [3, 4], [2] * 2, {"test/loss": [math.inf, -math.inf]})
        recorded.record(2, [1], [2], {"validation/loss": [math.inf]})
    best, other = ranked(recorded)
    assert math.isnan(best.metrics["test/loss"])
    assert not_finite([best], "validation/loss") == []
    (note,) = not_finite([best, other], "validation/loss")
    assert note == "member 1 finished without a finite validation/loss: their values are not ranked"
    with recorded.transaction():
        recorded.record(3, [2], [2], {"validation/loss": [math.inf]})
    (note,) = not_finite(ranked(recorded), "validation/loss")
    assert note.startswith("members 1-2 finished")


def test_the_ranked_metric_comes_first_then_the_same_of_other_splits(recorded):
    assert metrics_in_order(recorded) == ["validation/loss", "test/loss", "train/loss", "validation/accuracy"]


def test_a_metric_of_another_split_has_the_runs_own_direction(recorded):
    assert direction_of(recorded, "test/loss") == "min"
    recorded.put(mode="max")
    assert direction_of(recorded, "test/loss") == "max"
    assert direction_of(recorded, "test/accuracy") == "max"
    assert direction_of(recorded, "test/loss", "min") == "min"
