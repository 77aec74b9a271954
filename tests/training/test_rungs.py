"""Successive halving: the rungs that a full grid's curves give, and the bits of members that nobody paused."""

from types import SimpleNamespace

import numpy as np
import pytest
from conftest import TINY
from helpers.grids import GRID, trained
from helpers.stopping import Stopped, crash_at

import jaxloop
from jaxloop.readers.verify import verify
from jaxloop.storage.records import Status
from jaxloop.sweep import sweep
from jaxloop.training.scheduler import Measured
from jaxloop.training.schedulers.halving import halving
from jaxloop.training.schedulers.rungs import per_program, rungs, shares

HALVED = ('population.scheduler="halving"',)


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("grid") / "run")


def survivors(grid):
    """The learning rates that are left after each rung, from the whole grid's curves."""
    curves = grid.curves("validation/loss")
    rates = np.array([member.hparams["learning_rate"] for member in grid.members])
    left, found = sorted(set(rates)), []
    for step, keep in ((10, 3), (30, 1)):
        at = grid.steps().tolist().index(step)
        means = {rate: np.nan_to_num(curves[rates == rate, at].mean(), nan=np.inf) for rate in left}
        left = sorted(left, key=means.get)[:keep]
        found.append(set(left))
    return found


@pytest.mark.parametrize("capacity", [4, pytest.param(24, marks=pytest.mark.slow)])
def test_the_best_third_goes_on_at_each_rung(capacity, grid, tmp_path):
    run = trained(tmp_path / "run", *HALVED, f"population.capacity={capacity}")
    first, last = survivors(grid)
    for member in run.members:
        rate = member.hparams["learning_rate"]
        steps = 90 if rate in last else 30 if rate in first else 10
        assert (member.step, member.status) == (steps, Status.FINISHED if rate in last else Status.STOPPED)
        recorded = {at: value for at, value in grid.store.points(member.number).items() if at[1] <= steps}
        assert run.store.points(member.number) == recorded
    assert verify(run.path)["problems"] == []
    assert sum(member.step for member in run.members) == 2 * (6 * 10 + 2 * 30 + 90)


@pytest.mark.slow
@pytest.mark.parametrize("turn", [1, 3, 5, 7, 10])
def test_a_crash_changes_no_decision(turn, grid, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        trained(folder, *HALVED, "population.capacity=4", observe=crash_at(turn))
    resumed = jaxloop.resume(folder)
    whole = trained(tmp_path / "whole", *HALVED, "population.capacity=4")
    assert [(m.status, m.step, m.metrics) for m in resumed.members] == [
        (m.status, m.step, m.metrics) for m in whole.members
    ]
    assert verify(folder)["problems"] == []


def test_who_diverges_behind_a_rung_keeps_its_value_there(tmp_path):
    """In its next step, at the same count of finite steps: it was promoted, and nobody else is in its place."""
    swept = sweep.parse(TINY, (*GRID, *HALVED))
    numbers = range(len(swept.members))
    facts = {"metric": "validation/loss", "mode": "min", "size_classes": [[list(numbers)]]}
    scheduler = per_program(swept, SimpleNamespace(**facts, members=list), halving)

    def at(step, members, value, diverged=False):
        count = len(members)
        scheduler.decide(
            Measured(
                members=np.array(members, np.int32),
                steps=np.full(count, step),
                metrics={"validation/loss": np.full(count, value, np.float32)},
                diverged=np.full(count, diverged),
                is_active=np.full(count, not diverged),
                hparams=swept.members,
            )
        )

    at(10, [0, 1], 0.1)  # the best config
    at(10, list(numbers)[2:], 0.5)
    at(10, [0], np.nan, diverged=True)
    (contest,) = scheduler.contests
    assert contest.values[0, 0] == pytest.approx(-0.1)
    assert contest.values[1, 0] == -np.inf


def test_rungs_are_shares_of_each_budget_at_the_end_of_a_chunk():
    assert [dict(rung) for rung in rungs({0: 270, 1: 90}, shares(27), 10)] == [
        {0: 10, 1: 10},
        {0: 30, 1: 10},
        {0: 90, 1: 30},
    ]
    assert rungs({0: 100}, shares(2), 10) == []
    assert rungs({0: 20, 1: 20}, shares(9), 20) == []
