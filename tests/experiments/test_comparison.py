"""Two runs compared, paired by seed: against SciPy, and against themselves."""

import math

import pytest
from conftest import TINY
from helpers.stopping import crashed
from scipy import stats

import jaxloop
from jaxloop.errors import NotFoundError
from jaxloop.experiments import comparison
from jaxloop.experiments.verdict import Outcome
from jaxloop.sweep import sweep


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, overrides in {
        "first": ("axes.seed.count=4",),
        "second": ("axes.seed.count=3", "hparams.batch_size=64"),
        "alone": ("axes.seed.count=1",),
        "other": ("axes.learning_rate={values=[0.5]}", "axes.seed.count=2"),
    }.items():
        jaxloop.run(sweep.parse(TINY, overrides), out=folder / name).close()
    return folder


def test_effects_and_intervals_are_those_of_a_paired_t_test(runs):
    found = jaxloop.compare(runs / "first", runs / "second", metric="validation/loss", mode="min")
    assert [each.seeds for each in found.differences] == [3, 3, 3]
    assert found.only == (0, 0)
    assert found.hparams == {"batch_size": (32, 64)}
    with jaxloop.load(runs / "first") as first, jaxloop.load(runs / "second") as second:
        for each in found.differences:
            ours = [first.members[number].metrics["validation/loss"] for number in each.members[0]]
            theirs = [second.members[number].metrics["validation/loss"] for number in each.members[1]]
            seeds = [
                [run.members[n].hparams["seed"] for n in side]
                for run, side in zip((first, second), each.members, strict=True)
            ]
            assert seeds == [[0, 1, 2], [0, 1, 2]]
            test = stats.ttest_rel(ours, theirs)  # less is better: ours minus theirs
            interval = test.confidence_interval(1 - 0.05 / 3)
            assert each.effect == pytest.approx(sum(ours) / 3 - sum(theirs) / 3)
            assert (each.low, each.high) == pytest.approx(tuple(interval))
            assert (each.verdict == Outcome.SUCCESS) == (interval.low > 0)
            assert (each.verdict == Outcome.FAILURE) == (interval.high < 0)


def test_a_run_equals_itself_to_the_bit(runs):
    found = jaxloop.compare(runs / "first", runs / "first")
    assert {each.verdict for each in found.differences} == {Outcome.DEAD}
    assert (found.hparams, found.provenance) == ({}, {})


def test_one_seed_gives_a_difference_and_no_verdict(runs):
    found = jaxloop.compare(runs / "first", runs / "alone")
    assert [(each.seeds, each.verdict) for each in found.differences] == [(1, None)] * 3
    assert all(each.effect == 0 and math.isnan(each.low) for each in found.differences)


def test_options_of_the_data_that_differ_are_named(runs, tmp_path):
    swept = sweep.parse(TINY, ("data.label_noise=0.5", "run.steps=20"))
    jaxloop.run(swept, out=tmp_path / "noisy").close()
    found = jaxloop.compare(runs / "first", tmp_path / "noisy")
    assert found.provenance["data.label_noise"] == (0.0, 0.5)


@pytest.mark.parametrize(
    ("first", "second", "is_told"),
    [
        ("mnist1d", "mnist1d", False),
        ("mnist1d", "digits", True),
        ("mnist1d", "mine.py:task", True),
        ("old/mine.py:task", "new/mine.py:task", False),
    ],
)
def test_runs_of_different_tasks_are_told_apart_but_not_two_codes(first, second, is_told):
    found = comparison._caution(first, second)
    assert (first in found and second in found) == is_told == bool(found)


def test_runs_without_a_config_in_common_have_nothing_to_compare(runs):
    found = jaxloop.compare(runs / "first", runs / "other")
    assert (found.differences, found.only) == ([], (3, 1))


def test_what_cannot_be_compared_is_told(runs):
    with pytest.raises(NotFoundError, match=r"no metric 'made/up'; both runs have .*validation/loss"):
        jaxloop.compare(runs / "first", runs / "second", metric="made/up")
    with pytest.raises(NotFoundError, match=r"no metric 'validation/losses'; did you mean `validation/loss`"):
        jaxloop.compare(runs / "first", runs / "second", metric="validation/losses")


def test_a_member_that_diverged_counts_as_the_worst_value_and_is_told(tmp_path):
    """Its last finite value, of the steps before, is no result."""
    for name, rates in {"a": "[1e-3, 1e-2]", "b": "[1e-3, 1e30]"}.items():
        jaxloop.run(sweep.parse(TINY, (f"axes.learning_rate={{values={rates}}}",)), out=tmp_path / name).close()
    with jaxloop.load(tmp_path / "b") as run:
        run.store.connection.execute(
            "update members set hparams = json_set(hparams, '$.learning_rate', 0.01) where number > 1"
        )
        run.store.connection.commit()
    found = jaxloop.compare(tmp_path / "a", tmp_path / "b")
    (lost,) = [each for each in found.differences if each.lost != (0, 0)]
    assert lost.lost == (0, 2)
    assert lost.verdict == Outcome.CRASH
    assert lost.said() == "crash; 2 diverged in the second"


def test_members_without_a_result_are_left_out_and_counted(runs, tmp_path):
    crashed(tmp_path / "run", turn=1)
    found = jaxloop.compare(runs / "first", tmp_path / "run")
    assert (found.differences, found.unfinished) == ([], (0, 6))


def test_the_command_prints_verdicts_and_what_differs(runs, jaxloop_command):
    done = jaxloop_command("compare", runs / "first", runs / "second")
    assert done.returncode == 0
    assert "3 configs in both runs" in done.stdout
    assert "differs: batch_size: 32 in the first, 64 in the second" in done.stdout
