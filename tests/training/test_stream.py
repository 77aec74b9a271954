"""Turns that devices begin before the host has read the last one."""

import math
import signal

import jax
import numpy as np
import pytest
from conftest import TINY

import jaxloop
from jaxloop.readers.verify import verify
from jaxloop.sweep import sweep
from jaxloop.training import train
from jaxloop.training.stream import Stream

# Six members in four slots: two diverge in their first turn, the others have budgets of their own.
QUEUED = (
    "axes.learning_rate={values=[0.01, 1e30, 0.03]}",
    "axes.steps={values=[60, 200]}",
    "run.evaluate_every=10",
    "axes.seed.count=1",
    "population.capacity=4",
    "checkpoint.every=1000",
    "checkpoint.best=validation/loss",
)


@pytest.fixture
def ahead(monkeypatch):
    """Count the turns that began before the last one was read, however long turns take."""
    counted = []

    def run_ahead(stream, run_ahead=Stream.run_ahead):
        run_ahead(stream)
        assert len(stream.flight.turns) <= 2
        counted.append(len(stream.flight.turns) - 1)

    monkeypatch.setattr(Stream, "run_ahead", run_ahead)
    monkeypatch.setattr(train, "SHORT_TURN", math.inf)
    return counted


def in_two_waves(**axes):
    """A sweep whose first members fill the slots and whose others wait, by the values of each."""
    values = (f"axes.{name}={{values={list(each)}}}" for name, each in axes.items())
    return sweep.parse(TINY, (*QUEUED, "population.sampler=zip", *values))


def content(run):
    """Everything that a run has measured, how its members ended, and what they ended with."""
    members = [(member.id, member.status, member.step, run.store.points(member.number)) for member in run.members]
    return members, [jax.tree.leaves(run.params(number)) for number in range(len(members))]


def test_turns_that_run_ahead_change_no_bit(tmp_path, monkeypatch, ahead):
    swept = sweep.parse(TINY, QUEUED)
    with jaxloop.run(swept, out=tmp_path / "ahead") as run:
        found, parameters = content(run)
    assert sum(ahead) > 10
    assert [status for _, status, *_ in found].count("diverged") == 2
    monkeypatch.setattr(train, "SHORT_TURN", 0.0)
    del ahead[:]
    with jaxloop.run(swept, out=tmp_path / "behind") as run:
        assert not sum(ahead)
        expected, behind = content(run)
    assert found == expected
    jax.tree.map(np.testing.assert_array_equal, parameters, behind)
    assert verify(tmp_path / "ahead")["problems"] == []


@pytest.mark.slow
def test_a_signal_waits_for_the_turn_ahead_and_loses_nothing(tmp_path, ahead):
    swept = sweep.parse(TINY, QUEUED)
    with jaxloop.run(swept, out=tmp_path / "whole") as run:
        expected, whole = content(run)

    sent = []

    def interrupt(progress):
        if sum(ahead) == 5 and not sent:  # a second one would end the process at once
            sent.append(progress.share_done)
            signal.raise_signal(signal.SIGTERM)

    del ahead[:]
    stopped = jaxloop.run(swept, out=tmp_path / "stopped", observe=interrupt)
    assert stopped.summary.status == "interrupted"
    assert stopped.summary.share_done > sent[0], "the turns in flight count"
    stopped.close()
    with jaxloop.resume(tmp_path / "stopped") as run:
        found, parameters = content(run)
    assert found == expected
    jax.tree.map(np.testing.assert_array_equal, parameters, whole)


@pytest.mark.slow
def test_a_member_that_waits_gets_the_slot_of_one_that_diverged(tmp_path, ahead):
    """Though a turn had begun ahead, and nobody's budget ends."""
    rates, steps = [0.01, 0.02, 0.03, 0.04, 1e30, 0.05], [60, 600, 600, 600, 600, 200]
    with jaxloop.run(in_two_waves(learning_rate=rates, steps=steps, seed=[0] * 6), out=tmp_path / "run") as run:
        turns = run.store.turns()
    assert turns[4] == (7, 7)
    assert turns[5] == (9, 28), "the turn ahead was the eighth"
    assert sum(ahead) > 10


@pytest.mark.slow
def test_where_all_diverge_while_a_turn_is_ahead_those_that_wait_are_trained(tmp_path, ahead):
    """The turn in which they diverged is recorded, though nobody is left in the next."""
    rates, seeds = [0.01] * 4 + [1e30] * 4 + [0.03] * 2, [0, 1, 2, 3] * 2 + [0, 1]
    statuses = ["finished"] * 4 + ["diverged"] * 4 + ["finished"] * 2
    with jaxloop.run(in_two_waves(learning_rate=rates, steps=[60] * 10, seed=seeds), out=tmp_path / "run") as run:
        assert [str(member.status) for member in run.members] == statuses
        assert [len(run.store.steps(number)) for number in range(10)] == [6] * 4 + [1] * 4 + [6] * 2
        assert run.summary.share_done == 1
    assert sum(ahead) > 6
    assert verify(tmp_path / "run")["problems"] == []
