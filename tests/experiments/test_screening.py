"""Screening by halving over steps: rungs are as whole curves have them, and no bit depends on who was stopped."""

import json
import math

import numpy as np
import pytest
from helpers.loops import CASES, LOOP
from helpers.stopping import Stopped, crash_at

import jaxloop
from jaxloop import api
from jaxloop.errors import SweepError
from jaxloop.readers.verify import verify
from jaxloop.storage.records import Status
from jaxloop.training import plan

EVERY_10 = ("run.evaluate_every=10", "checkpoint.every=10", "loop.screen_seeds=[1, 1]")
RACED = (*EVERY_10, "loop.rungs=[0.25, 0.5]")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    file = tmp_path_factory.mktemp("screening") / "loop.toml"
    file.write_text(LOOP)
    return file


@pytest.fixture(scope="module")
def raced(file):
    return jaxloop.loop(file, out=file.parent / "raced", overrides=RACED)


@pytest.fixture(scope="module")
def whole(file):
    return jaxloop.loop(file, out=file.parent / "whole", overrides=EVERY_10)


def records(run, kind):
    return [record for record in run.ledger if record["kind"] == kind]


def first_screened(run):
    """The members of the first stage of screening, in the order of the proposals."""
    stage = next(record for record in records(run, "stage") if record["stage"] == "screen")
    return [number for (number,) in stage["members"]]


def test_the_worse_half_stops_at_each_rung_as_whole_curves_have_it(raced, whole):
    steps, curves = whole.steps().tolist(), whole.curves("validation/loss")
    left = first_screened(whole)
    stopped_at = {}
    for rung, going_on in ((10, 4), (20, 2)):
        at_rung = curves[:, steps.index(rung)]
        best = sorted(left, key=lambda number: at_rung[number])[:going_on]
        stopped_at |= {whole.members[number].hparams["learning_rate"]: rung for number in set(left) - set(best)}
        left = best
    found = [raced.members[number] for number in first_screened(raced)]
    assert {m.hparams["learning_rate"]: m.step for m in found if m.status == Status.STOPPED} == stopped_at
    experiments = [record for record in records(raced, "experiment") if record["round"] == 1]
    assert {r["config"]["learning_rate"]: r["stopped_at"] for r in experiments if "stopped_at" in r} == stopped_at
    assert [r["verdict"] != "not promoted" for r in experiments] == ["stopped_at" not in r for r in experiments]


def test_all_that_a_member_measured_is_as_if_none_had_stopped(raced, whole):
    steps, curves = whole.steps().tolist(), whole.curves("validation/loss")
    for mine, theirs in zip(first_screened(raced), first_screened(whole), strict=True):
        ours = raced.curves("validation/loss")[mine]
        until = steps.index(raced.members[mine].step) + 1
        assert raced.members[mine].hparams == whole.members[theirs].hparams
        np.testing.assert_array_equal(ours[:until], curves[theirs, :until])
        assert np.isnan(ours[until:]).all()


def test_the_ledger_counts_the_steps_that_were_taken(raced):
    stages = [record["members"] for record in records(raced, "stage") if record["stage"] == "audit"]
    audited = {number for members in stages for row in members for number in row}
    taken = sum(member.step for member in raced.members if member.number not in audited)
    last = records(raced, "round")[-1]
    assert last["member_steps"] == taken
    assert last["trainings"] == len(raced.members) - len(audited)
    screened = [record for record in records(raced, "experiment") if record["round"] == 1]
    assert sum(record["screening_steps"] for record in screened) == 4 * 10 + 2 * 20 + 2 * 2 * 40
    for record in screened:
        member = raced.members[first_screened(raced)[screened.index(record)]]
        if "stopped_at" in record:
            assert record["screening_mean"] == member.metrics["validation/loss"]


@pytest.mark.slow
@pytest.mark.parametrize("turn", [3, 6, 9, 14])
def test_a_race_resumes_to_the_same_ledger_on_fewer_slots_too(turn, file, raced, tmp_path):
    few = (*RACED, "population.capacity=3")
    with pytest.raises(Stopped):
        jaxloop.loop(file, out=tmp_path / "run", overrides=few, observe=crash_at(turn))
    resumed = jaxloop.resume(tmp_path / "run")
    assert json.dumps(resumed.ledger) == json.dumps(raced.ledger)
    assert [(m.id, m.status, m.step, m.metrics) for m in resumed.members] == [
        (m.id, m.status, m.step, m.metrics) for m in raced.members
    ]
    assert verify(resumed.path)["problems"] == []


def test_a_plan_counts_what_rungs_save(file):
    planned, without = api.planned(file, RACED), api.planned(file, EVERY_10)
    assert (planned.loop.rungs, without.loop.rungs) == ([10, 20], [])
    of_screening = 8 * 0.25 + 4 * 0.25 + 2 * 0.5 + 2
    assert planned.loop.full_trainings_per_round == pytest.approx(of_screening + 3 * 6)
    assert planned.loop.trainings_per_round == 8 + 2 + 3 * 6
    assert without.loop.full_trainings_per_round == without.loop.trainings_per_round == 8 + 4 + 3 * 6
    assert planned.total_flops < without.total_flops
    assert "stopping at step 10, step 20" in plan.text(planned)


def test_where_no_chunk_ends_a_rung_is_refused(file):
    says = (
        "loop.rungs: 0.25 of 40 steps is step 10, where no chunk ends: .* to divide it, got 20; `rungs = .* nobody"
    )
    with pytest.raises(SweepError, match=says):
        api.planned(file, ("loop.rungs=[0.25, 0.5]",))


@pytest.fixture(scope="module")
def two_programs(file):
    (file.parent / "cases.toml").write_text(CASES)
    return jaxloop.loop(file.parent / "cases.toml", out=file.parent / "cases", overrides=RACED)


@pytest.mark.slow
def test_configs_compete_within_their_program(two_programs):
    curves, steps = two_programs.curves("validation/loss"), two_programs.steps().tolist()
    experiments = [record for record in records(two_programs, "experiment") if record["round"] == 1]
    members = dict(zip([record["id"] for record in experiments], first_screened(two_programs), strict=True))
    for optimizer in ("adamw", "sgd"):
        ours = [record for record in experiments if record["config"]["optimizer"] == optimizer]
        assert len(ours) > 2
        lost = {record["id"] for record in ours if record.get("stopped_at") == 10}
        by_value = sorted(ours, key=lambda record: curves[members[record["id"]], steps.index(10)])
        assert lost == {record["id"] for record in by_value[max(2, math.ceil(len(ours) / 2)) :]}
    assert two_programs.ledger[-1]["kind"] == "audit"
    with_bound = api.planned(file_of(two_programs), RACED).loop
    assert (
        with_bound.full_trainings_per_round
        == api.planned(file_of(two_programs), EVERY_10).loop.trainings_per_round
    )


def file_of(run):
    return run.path.parent / "cases.toml"


@pytest.mark.slow
@pytest.mark.parametrize("turn", [4, 8, 12])
def test_a_race_in_two_programs_resumes_to_the_same_ledger(turn, two_programs, tmp_path):
    few = (*RACED, "population.capacity=2")
    with pytest.raises(Stopped):
        jaxloop.loop(file_of(two_programs), out=tmp_path / "run", overrides=few, observe=crash_at(turn))
    resumed = jaxloop.resume(tmp_path / "run")
    assert json.dumps(resumed.ledger) == json.dumps(two_programs.ledger)


def test_who_diverges_before_a_rung_is_lost_there(file, tmp_path):
    """At rates where some diverge, no more go on than the rungs leave."""
    wild = (
        *RACED,
        "axes.learning_rate={log=[1e-1, 1e30]}",
        'hparams.optimizer="sgd"',
        "baseline.learning_rate=1e-1",
    )
    run = jaxloop.loop(file, out=tmp_path / "run", overrides=(*wild, "loop.rounds=1"))
    screened = records(run, "experiment")
    diverged = [run.members[number].status == Status.DIVERGED for number in first_screened(run)]
    assert sum(diverged) >= 3
    assert all("stopped_at" in record for record, lost in zip(screened, diverged, strict=True) if lost)
    assert sum("stopped_at" not in record for record in screened) == 2
    stages = [record for record in records(run, "stage") if record["stage"] == "screen"]
    assert [len(stage["members"]) for stage in stages] == [8, 2]
