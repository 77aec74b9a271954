"""A loop end to end: verdicts follow from what the store holds, seeds never meet, a kill changes nothing."""

import csv
import json
import math

import numpy as np
import pytest
from conftest import TINY
from helpers.loops import CASES, LOOP
from helpers.stopping import Stopped, crash_at

import jaxloop
from jaxloop import api
from jaxloop.errors import SweepError
from jaxloop.experiments import space
from jaxloop.experiments.verdict import Criteria, judge
from jaxloop.formatting import value
from jaxloop.readers import board
from jaxloop.readers.terminal.ledger import standing
from jaxloop.readers.verify import verify
from jaxloop.storage import aggregates
from jaxloop.storage.overview import overview
from jaxloop.training import plan


@pytest.fixture(scope="module")
def looped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("looped")
    (folder / "loop.toml").write_text(LOOP)
    return jaxloop.loop(folder / "loop.toml", out=folder / "run")


def records(run, kind):
    return [record for record in run.ledger if record["kind"] == kind]


def test_a_loop_finds_a_better_config_and_audits_it(looped):
    kinds = [record["kind"] for record in looped.ledger if record["kind"] not in ("experiment", "stage")]
    assert kinds == [
        *("floor", "proposals", "round", "proposals", "round", "audit"),
    ]
    (audit,) = records(looped, "audit")
    assert audit["verdict"] == "success"
    assert audit["incumbent"]["learning_rate"] > 1e-3
    assert len(records(looped, "experiment")) == 16
    assert looped.summary.programs == 1  # of all widths and activations that may come
    assert verify(looped.path)["problems"] == []


def test_each_verdict_follows_from_the_members_values(looped):
    values = {}
    for member in looped.members:
        config = tuple(member.hparams[name] for name in ("learning_rate", "width", "activation"))
        values[config, member.hparams["seed"]] = member.metrics.get("validation/loss", math.nan)
    judged = [record for record in records(looped, "experiment") if record["verdict"] != "not promoted"]
    assert len(judged) == 4
    for record in judged:
        challenger, incumbent = (
            [values[tuple(record[whose].values()), seed] for seed in record["seeds"]]
            for whose in ("config", "incumbent")
        )
        again = judge(challenger, incumbent, Criteria("min", 0.01), level=record["level"], is_last=True)
        assert str(again.outcome) == record["verdict"]
        assert (again.effect, again.p, again.n) == (record["effect"], record["p"], record["n"])


def test_seeds_of_screening_confirmation_and_audit_never_meet(looped):
    confirmation = [set(record["seeds"]) for record in records(looped, "experiment") if "seeds" in record]
    audit = set(records(looped, "audit")[0]["seeds"])
    rest = {member.hparams["seed"] for member in looped.members} - set.union(*confirmation) - audit
    assert rest == {0, 1, 2, 3}
    assert not set.union(*confirmation) & audit
    rounds = [record["round"] for record in records(looped, "experiment") if "seeds" in record]
    assert not set.union(*confirmation[: rounds.count(1)]) & set.union(*confirmation[rounds.count(1) :])


def test_a_plan_bounds_what_a_loop_trains(looped, tmp_path):
    (tmp_path / "loop.toml").write_text(LOOP)
    planned = api.planned(tmp_path / "loop.toml")
    assert planned.loop.trainings_per_round == 8 + 4 + 2 * 2 + (2 + 1) * 6
    assert planned.loop.floor_and_audit_trainings == 4 + 2 * 4
    assert planned.loop.trainings() == 80 >= len(looped.members)
    assert "80 trainings in 2 rounds" in plan.text(planned)
    open_ended = api.planned(tmp_path / "loop.toml", ('loop.rounds="open"', "loop.budget.seconds=9"))
    assert (open_ended.loop.rounds, open_ended.loop.trainings()) == (None, 12 + 34)
    assert api.planned(tmp_path / "loop.toml", ("loop.rounds=0",)).loop.trainings() == 4
    once = api.planned(tmp_path / "loop.toml", ("loop.screen_seeds=[1]",))
    assert once.loop.trainings_per_round == 8 + (2 + 1) * 6
    (program,) = planned.programs  # the baseline is 8 wide, the space up to 16
    assert 0.3 < program.padding < 0.7


def test_screening_on_one_seed_promotes_by_it(tmp_path):
    (tmp_path / "loop.toml").write_text(LOOP)
    overrides = ("loop.screen_seeds=[1]", "loop.rounds=1")
    run = jaxloop.loop(tmp_path / "loop.toml", out=tmp_path / "run", overrides=overrides)
    found = sorted(records(run, "experiment"), key=lambda record: record["screening_mean"])
    assert {record["screening_seeds"] for record in found} == {1}
    assert [record["verdict"] != "not promoted" for record in found] == [True] * 2 + [False] * 6
    assert [stage["stage"] for stage in records(run, "stage")][:2] == ["floor", "screen"]


@pytest.mark.slow
@pytest.mark.parametrize("turn", [1, 2, 5, 9, 14, 19])
def test_a_loop_that_crashes_resumes_to_the_same_ledger(turn, looped, tmp_path):
    (tmp_path / "loop.toml").write_text(LOOP)
    with pytest.raises(Stopped):
        jaxloop.loop(tmp_path / "loop.toml", out=tmp_path / "run", observe=crash_at(turn))
    with jaxloop.load(tmp_path / "run") as stopped:
        assert overview(stopped.store).share_done is None or not stopped.ledger
    resumed = jaxloop.resume(tmp_path / "run")
    assert overview(resumed.store).share_done == 1
    assert json.dumps(resumed.ledger) == json.dumps(looped.ledger)
    assert [(m.id, m.metrics) for m in resumed.members] == [(m.id, m.metrics) for m in looped.members]
    assert verify(resumed.path)["problems"] == []


def test_the_ledger_names_the_members_of_each_stage(looped):
    stages = records(looped, "stage")
    assert [stage["stage"] for stage in stages[:4]] == ["floor", "screen", "screen", "screen"]
    assert {number for stage in stages for row in stage["members"] for number in row} == set(
        range(len(looped.members))
    )
    for stage in stages:
        for row in stage["members"]:
            assert [looped.members[number].hparams["seed"] for number in row] == stage["seeds"]


def test_criteria_cannot_change_after_the_first_round(looped):
    for changed, says in (
        ("loop.rounds=3", "loop.rounds: needs to stay 2, as the run's members have it, got 3"),
        ("loop.budget.seconds=9", "loop.budget.seconds: needs to stay None, .* got 9"),
        ("verdict.alpha=0.1", "verdict.alpha: needs to stay 0.05, .* got 0.1"),
        ('evaluate.mode="max"', "evaluate.mode: needs to stay 'auto', .* got 'max'"),
        ("verdict.smallest_effect=0.0", "verdict.smallest_effect: needs to stay 0.01, .* got 0.0"),
        ("baseline.width=4", "baseline.width: needs to stay 8, .* got 4"),
    ):
        with pytest.raises(SweepError, match=says):
            jaxloop.resume(looped.path, overrides=(changed,))


@pytest.mark.slow
def test_an_hparam_that_does_nothing_is_a_dead_one(tmp_path):
    text = (
        LOOP.split("[baseline]")[0]
        + '[axes]\nwarmup_steps = { values = [0] }\nschedule = { values = ["constant"] }\n'
    )
    text = text + "end_factor = { linear = [0.0, 1.0] }\n" + "[evaluate]" + LOOP.split("[evaluate]")[1]
    (tmp_path / "loop.toml").write_text(text)
    run = jaxloop.loop(tmp_path / "loop.toml", out=tmp_path / "run")
    judged = [record["verdict"] for record in records(run, "experiment") if record["verdict"] != "not promoted"]
    assert set(judged) == {"tie (dead hparam)"}
    assert records(run, "audit")[0]["verdict"] == "no success to audit"


def test_a_loop_and_a_plain_sweep_have_their_own_commands(tmp_path, jaxloop_command):
    (tmp_path / "loop.toml").write_text(LOOP)
    (tmp_path / "plain.toml").write_text(TINY)
    for verb, file, says in (("population", "loop.toml", "has a [loop]"), ("loop", "plain.toml", "has no [loop]")):
        done = jaxloop_command(verb, tmp_path / file)
        assert done.returncode == 2
        assert says in done.stderr


def test_the_panel_says_where_a_loop_stands(looped):
    before = looped.ledger[: [record["kind"] for record in looped.ledger].index("round")]
    assert standing(before) == []
    incumbent, verdicts = standing(looped.ledger)
    (audit,) = records(looped, "audit")
    assert f"learning_rate={audit['incumbent']['learning_rate']:.4g}" in incumbent
    effects = [record["effect"] for record in records(looped, "experiment") if record["verdict"] == "success"]
    assert any(f", {effect:+.4g} [" in incumbent for effect in effects)
    last = records(looped, "round")[-1]
    assert verdicts.endswith(
        f"16 experiments in {last['trainings']} trainings; alpha left {last['alpha_left']:.4f}"
    )


def test_the_best_configs_of_a_loop_stand_beside_what_it_found(looped, jaxloop_command):
    said = jaxloop_command("best", looped.path).stdout
    (audit,) = records(looped, "audit")
    assert said.index("best by validation/loss") < said.index("the loop's own result")
    assert f"{audit['effect']:+.4g}, 90% interval [{audit['low']:+.4g}, {audit['high']:+.4g}]" in said


def test_tensorboard_shows_several_configs_of_a_loop(looped):
    shown = [space.key({**member.hparams, "seed": 0}) for member in board._best(looped.store, board.BEST)]
    assert board.BEST - board.MANY < len(shown) <= board.BEST
    assert len(set(shown)) >= board.BEST // board.MANY
    most = max(len(config.members) for config in looped.ranking)
    assert max(map(shown.count, shown)) <= min(most, board.MANY)


def test_tensorboard_s_tables_name_the_incumbent_and_the_audit(looped, tmp_path):
    shown = aggregates._Writer(tmp_path, "", looped.store, aggregates.BEST)._tables().split("\n\n")
    (audit,) = records(looped, "audit")
    now = ", ".join(f"{name}={value(each)}" for name, each in audit["incumbent"].items())
    assert shown[1].replace("&#95;", "_") == f"**Incumbent**: {now}"
    interval = f"[{audit['low']:+.4g}, {audit['high']:+.4g}]"
    assert shown[2] == f"**Audit**: success, {audit['effect']:+.4g} {interval} over the baseline on 4 fresh seeds"
    heading, _, first, *_ = shown[4].replace("&#95;", "_").splitlines()
    cells = dict(zip(heading.split(" | "), first.split(" | "), strict=True))
    best = looped.ranking[0]
    assert cells["± s.e."] == f"{best.standard_error:.4g}"
    assert cells["validation/loss"] == f"{best.mean:.4g}"


def test_a_loop_ends_with_its_headline(looped, jaxloop_command):
    said = jaxloop_command("resume", looped.path).stdout
    (audit,) = records(looped, "audit")
    assert f"{audit['effect']:+.4g}, " in said
    assert "over the baseline in test/loss, audited on 4 fresh seeds" in said
    assert f"jaxloop ledger {looped.path}" in said
    assert "validation/loss" not in said  # no table of configs that saw unlike numbers of seeds


def test_the_ledger_is_shown(looped, jaxloop_command):
    shown = jaxloop_command("ledger", looped.path)
    assert "16 experiments" in shown.stdout
    assert "audit on the test split: success" in shown.stdout
    rows = list(csv.DictReader(jaxloop_command("ledger", looped.path, "--csv").stdout.splitlines()))
    experiments = [record for record in looped.ledger if record["kind"] == "experiment"]
    assert [json.loads(row["config"]) for row in rows] == [record["config"] for record in experiments]
    assert len(rows) == 16
    found = json.loads(jaxloop_command("ledger", looped.path, "--json").stdout)
    assert len(found) == len(looped.ledger)
    assert np.isfinite(found[1]["sd"])


@pytest.mark.parametrize(
    ("budget", "says", "experiments"),
    [
        ("experiments = 6", "the budget of 6 experiments is spent", 6),
        ("member_steps = 1000", "the budget of 1000 member-steps is spent", 8),
        ("seconds = 0.001", "the budget of 0.001 seconds is spent", 0),
    ],
)
def test_a_spent_budget_ends_the_rounds(budget, says, experiments, tmp_path):
    text = LOOP.replace("rounds = 2", f'rounds = "open"\nbudget = {{ {budget} }}')
    (tmp_path / "loop.toml").write_text(text)
    run = jaxloop.loop(tmp_path / "loop.toml", out=tmp_path / "run")
    assert len(records(run, "experiment")) == experiments
    assert [record["why"] for record in records(run, "end")] == [says]
    assert records(run, "audit")


def test_a_grid_is_proposed_in_order_until_it_ends(tmp_path):
    axes = LOOP.replace("[1e-5, 1e-1]", "[1e-5, 1e-1], num = 3").replace("[4, 16]", "[4, 16], num = 2")
    (tmp_path / "loop.toml").write_text(axes.replace("rounds = 2", 'rounds = 2\nproposer = "grid"'))
    run = jaxloop.loop(tmp_path / "loop.toml", out=tmp_path / "run")
    proposed = [record["config"] for record in records(run, "experiment")]
    assert len(proposed) == 12
    assert [config["learning_rate"] for config in proposed] == pytest.approx([1e-5] * 4 + [1e-3] * 4 + [1e-1] * 4)
    assert [config["width"] for config in proposed[:4]] == [4, 4, 16, 16]


@pytest.mark.slow
def test_cases_are_searched_each_along_its_own_axes(tmp_path):
    """Two optimizers, two programs: configs have their own optimizer's hparams, and a kill changes nothing."""
    (tmp_path / "loop.toml").write_text(CASES)
    run = jaxloop.loop(tmp_path / "loop.toml", out=tmp_path / "run")
    assert run.summary.programs == 2
    optimizers = {member.hparams["optimizer"] for member in run.members}
    assert optimizers == {"adamw", "sgd"}
    for member in run.members:
        is_sgd = member.hparams["optimizer"] == "sgd"
        assert ("momentum" in member.hparams) == is_sgd
        assert ("clip" in member.hparams) == ("b1" in member.hparams) == (not is_sgd)
        low, high = (1e-2, 1.0) if is_sgd else (1e-5, 1e-3)
        is_baseline = member.number < 4
        assert is_baseline or low <= member.hparams["learning_rate"] <= high
    assert records(run, "audit")
    assert verify(run.path)["problems"] == []
    with pytest.raises(Stopped):
        jaxloop.loop(tmp_path / "loop.toml", out=tmp_path / "crashed", observe=crash_at(12))
    resumed = jaxloop.resume(tmp_path / "crashed")
    assert json.dumps(resumed.ledger) == json.dumps(run.ledger)
    assert [(m.id, m.metrics) for m in resumed.members] == [(m.id, m.metrics) for m in run.members]
