"""When a checkpoint is due: no more than an interval after the last one, and without waiting where it can."""

import pytest

from jaxloop.sweep import sweep
from jaxloop.training import checkpoint_policy
from jaxloop.training.checkpoint_policy import CheckpointPolicy, Due

SWEEP = '[run]\ntask = "digits"\nsteps = 100\nevaluate_every = 10\n[checkpoint]\nevery = {every}\n'


def policy(every, turn=0):
    return CheckpointPolicy(sweep.parse(SWEEP.format(every=every)).document, turn)


@pytest.mark.parametrize(
    ("every", "due"),
    [
        (10, [2, 2, 2, 2]),  # each turn
        (20, [0, 2, 0, 2]),
        (25, [0, 2, 0, 2]),  # one turn later would be too late
        (5, [2, 2, 2, 2]),  # as often as there are turns
    ],
)
def test_by_steps_a_checkpoint_is_taken_at_the_last_turn_within_the_interval(every, due):
    found, chosen = [], policy(every, turn=7)
    for turn in range(8, 12):
        found.append(chosen.due(turn, 1.0))
        if found[-1]:
            chosen.taken(turn)
    assert found == [Due(each) for each in due]


def test_a_long_interval_is_written_beside_the_turn_after_it():
    chosen = policy(120)
    assert [chosen.due(turn, 1.0) for turn in (10, 11, 12)] == [Due.NOT_YET, Due.BESIDE, Due.AT_ONCE]


@pytest.mark.parametrize(
    ("seconds", "turn_seconds", "due"),
    [(3.0, 0.5, Due.NOT_YET), (9.2, 0.5, Due.BESIDE), (9.7, 0.5, Due.AT_ONCE), (6.0, 5.0, Due.AT_ONCE)],
)
def test_by_time_it_counts_the_seconds_since_the_last(seconds, turn_seconds, due, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(checkpoint_policy.time, "monotonic", lambda: now[0])
    chosen = policy('"10s"')
    now[0] += seconds
    assert chosen.due(1, turn_seconds) == due
    chosen.taken(1)
    assert chosen.due(2, 0.5) == Due.NOT_YET


@pytest.mark.parametrize(
    ("seconds", "turn_seconds", "far"), [(0.0, 5.1, False), (0.0, 4.0, True), (8.0, 0.4, True)]
)
def test_a_checkpoint_is_far_if_none_comes_due_in_twice_the_time_of_a_turn(
    seconds, turn_seconds, far, monkeypatch
):
    now = [100.0]
    monkeypatch.setattr(checkpoint_policy.time, "monotonic", lambda: now[0])
    chosen = policy('"10s"')
    now[0] += seconds
    assert chosen.is_far(1, turn_seconds) is far
    assert policy(120).is_far(9, 1.0)
    assert not policy(120).is_far(11, 1.0)


def test_an_interval_of_ten_turns_is_written_beside_the_next():
    assert [policy(100).due(turn, 1.0) for turn in (8, 9)] == [Due.NOT_YET, Due.BESIDE]
    assert [policy(90).due(turn, 1.0) for turn in (8, 9)] == [Due.NOT_YET, Due.AT_ONCE]
