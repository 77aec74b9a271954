"""What is said of a run's results: each finding beside the results that call for it."""

import json
import shlex

import numpy as np
import pytest
from conftest import TINY
from helpers.loops import LOOP
from helpers.stopping import Stopped, crash_at
from scipy import stats

import jaxloop
from jaxloop.experiments import advice, more_seeds, space
from jaxloop.experiments.lead import Lead
from jaxloop.sweep import sweep

RANDOM = 'population={sampler="random", members=4}'


def kinds(found):
    return [finding.kind for finding in found]


def of_kind(found, kind):
    return [finding for finding in found if finding.kind == kind]


@pytest.fixture(scope="module")
def looped(tmp_path_factory):
    """A loop whose best rates lie at the upper end, with an hparam that does nothing."""
    folder = tmp_path_factory.mktemp("looped")
    text = LOOP.replace("log = [1e-5, 1e-1]", "log = [1e-6, 3e-3]").replace("configs = 8", "configs = 24")
    (folder / "loop.toml").write_text(text)
    return jaxloop.loop(folder / "loop.toml", out=folder / "run")


def test_a_loop_s_axes_are_ranked_and_their_ends_told(looped, jaxloop_command):
    found = jaxloop.advice(looped.path)
    assert of_kind(found, "importance")[0].facts["hparams"] == ["learning_rate"]
    (boundary,) = [each for each in of_kind(found, "boundary") if each.facts["hparam"] == "learning_rate"]
    assert boundary.facts["end"] == "upper"
    shown = jaxloop_command("next", looped.path).stdout.splitlines()
    assert len(shown) == len(found)
    given = json.loads(jaxloop_command("next", looped.path, "--json").stdout)
    assert [each["kind"] for each in given] == kinds(found)


def test_of_a_sweep_it_says_how_many_configs_are_alike(tmp_path):
    text = TINY.replace("num = 3", "num = 7").replace("count = 2", "count = 3")
    run = jaxloop.run(sweep.parse(text, ('evaluate.metric="validation/loss"',)), out=tmp_path / "run")
    found = jaxloop.advice(run.path)
    (close,) = of_kind(found, "close")
    assert 0 <= close.facts["alike"] < 6
    assert of_kind(found, "importance")[0].facts == {"configs": 7}


@pytest.mark.slow
def test_gaps_dead_hparams_and_a_plateau_are_told(tmp_path):
    """Two values of an axis are proposed of three; `end_factor` does nothing where the schedule is constant."""
    text = (
        LOOP.split("[baseline]")[0]
        + "[axes]\nend_factor = { linear = [0.0, 1.0] }\n"
        + "weight_decay = { values = [1e-4, 1.1e-4, 1.2e-4, 1.3e-4] }\n"
        + "[evaluate]"
        + LOOP.split("[evaluate]")[1].replace("configs = 8", "configs = 3")
    )
    (tmp_path / "loop.toml").write_text(text)
    run = jaxloop.loop(tmp_path / "loop.toml", out=tmp_path / "run")
    found = jaxloop.advice(run.path)
    assert "end_factor" in {name for each in of_kind(found, "dead") for name in each.facts["hparams"]}
    assert of_kind(found, "untested")
    (plateau,) = of_kind(found, "plateau")
    assert plateau.facts["rounds"] == 2


def test_a_run_without_results_says_so(tmp_path, jaxloop_command):
    assert jaxloop_command("next", tmp_path).returncode == 3


def test_even_grids_have_no_gaps_and_nothing_lies_below_zero(tmp_path):
    axes = (
        "axes.learning_rate={log=[1e-3, 1e-1], num=5}",
        "axes.weight_decay={linear=[0.0, 1.0], num=5}",
        "axes.seed.count=1",
        "run.steps=20",
    )
    run = jaxloop.run(sweep.parse(TINY, (*axes, 'evaluate.metric="validation/loss"')), out=tmp_path / "run")
    found = jaxloop.advice(run.path)
    assert of_kind(found, "untested") == []
    best = run.ranking[0].hparams["weight_decay"]
    ends = [each.facts["value"] for each in of_kind(found, "boundary") if each.facts["hparam"] == "weight_decay"]
    assert ends == ([1.0] if best == 1.0 else [])


def test_the_seeds_that_separate_two_configs_show_their_difference_with_80_percent_power():
    random, level = np.random.default_rng(0), 1e-3
    seeds = more_seeds._seeds_to_separate(Lead(0.5, -0.2, 1.2, 3, 1.0, level))
    differences = 0.5 + random.standard_normal((4000, seeds))
    seen = stats.ttest_1samp(differences, 0, axis=1, alternative="greater").pvalue < level
    assert seen.mean() == pytest.approx(0.8, abs=0.03)
    assert more_seeds._seeds_to_separate(Lead(0.5, 0.1, 0.9, 3, 1.0, level)) is None  # it is shown already


def test_as_many_seeds_as_there_are_need_no_command(tmp_path, monkeypatch):
    monkeypatch.setattr(more_seeds, "_seeds_to_separate", lambda lead: 2)
    run = jaxloop.run(sweep.parse(TINY, ("run.steps=20",)), out=tmp_path / "run")
    (close,) = of_kind(jaxloop.advice(run.path), "close")
    assert close.says.endswith("about 2 seeds")


def test_seeds_that_would_tell_the_two_best_apart_are_a_command(tmp_path, monkeypatch):
    monkeypatch.setattr(more_seeds, "_seeds_to_separate", lambda lead: 9)
    run = jaxloop.run(sweep.parse(TINY, ("run.steps=20",)), out=tmp_path / "a run")
    (close,) = of_kind(jaxloop.advice(run.path), "close")
    assert close.says.endswith(f"about 9 seeds: `jaxloop resume '{run.path}' --set axes.seed.count=9`")
    words = shlex.split(close.says.split("`")[1])
    grown = jaxloop.resume(words[2], overrides=words[4:])
    assert len(grown.members) == 27


@pytest.mark.parametrize("drawn", [(), ('population={sampler="random", members=3}',), ("axes.seed.count=1",)])
def test_where_each_config_has_one_seed_more_are_advised(tmp_path, drawn):
    text = TINY.replace("seed = { count = 2 }\n", "").replace(
        ", num = 3", "" if "random" in str(drawn) else ", num = 3"
    )
    run = jaxloop.run(sweep.parse(text, ("run.steps=20", *drawn)), out=tmp_path / "run")
    (close,) = of_kind(jaxloop.advice(run.path), "close")
    assert close.says.startswith("one seed of a config cannot tell effects from noise: train 4 of each: ")
    words = shlex.split(close.says.split("`")[1])
    grown = jaxloop.resume(words[2], overrides=tuple(words[4::2]))
    assert len(grown.members) == 12
    assert {len(config.members) for config in grown.ranking} == {4}


@pytest.mark.parametrize(
    ("alike", "says"),
    [
        ([], "lies at the upper end of its axis, 0.1: widen it there"),
        ([0.1], "lies at the upper end of its axis, 0.1: widen it there"),
        ([0.1, 0.01], "upper end of its axis, 0.1, but other values of learning_rate may be as good"),
    ],
)
def test_an_axis_is_not_to_be_widened_where_its_middle_may_be_as_good(alike, says):
    swept = sweep.parse(TINY)
    configs = [{"learning_rate": rate} for rate in alike]
    (found,) = advice._boundaries(swept, space.of(swept), {"learning_rate": 0.1}, configs)
    assert found.says.endswith(says)


@pytest.mark.parametrize(
    ("low", "says"), [(0.1, "widen it there"), (-0.1, "other values of learning_rate may be as good")]
)
def test_a_lead_that_may_be_noise_is_no_reason_to_widen(tmp_path, monkeypatch, low, says):
    lead = Lead(0.2, low, 0.3, 2, 1.0, 0.01)
    monkeypatch.setattr(advice, "leads", lambda configs, mode: [lead] * (len(configs) - 1))
    rates = "axes.learning_rate={values=[1e-5, 1e-4, 1e-2]}"
    run = jaxloop.run(sweep.parse(TINY, (rates, "run.steps=20")), out=tmp_path / "run")
    (boundary,) = of_kind(jaxloop.advice(run.path), "boundary")
    assert boundary.says.endswith(says)


def test_a_gap_between_values_at_which_all_diverge_is_not_advised():
    searched = space.of(sweep.parse(TINY, ("axes.learning_rate={log=[1e-4, 1e4]}", RANDOM)))
    tried = [{"learning_rate": rate} for rate in (1e-4, 1e-2, 1e-1, 1e3, 1e4)]
    (gap,) = advice._untested(searched, tried, tried[:3])
    assert (gap.facts["low"], gap.facts["high"]) == pytest.approx((1e-1, 1e3))
    assert list(advice._untested(searched, tried, tried[:2])) == []


def test_of_a_loop_in_its_first_round_nothing_is_said_yet(tmp_path):
    (tmp_path / "loop.toml").write_text(LOOP)
    with pytest.raises(Stopped):
        jaxloop.loop(tmp_path / "loop.toml", out=tmp_path / "run", observe=crash_at(3))
    (found,) = jaxloop.advice(tmp_path / "run")
    assert found.says == "no experiment has been recorded yet: the first round has not ended"


def test_where_all_have_diverged_smaller_rates_are_advised(tmp_path):
    run = jaxloop.run(
        sweep.parse(TINY, ("axes.learning_rate={values=[1e30, 1e33]}", "hparams.optimizer=sgd")),
        out=tmp_path / "run",
    )
    assert {member.status for member in run.members} == {"diverged"}
    (found,) = of_kind(jaxloop.advice(run.path), "diverged")
    assert found.facts["configs"] == 2
    assert "learning rates below 1e+30" in found.says
    assert of_kind(jaxloop.advice(run.path), "untested") == []
