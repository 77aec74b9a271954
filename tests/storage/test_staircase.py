"""The incumbent's staircase, from a ledger made up."""

import math

import pytest

from jaxloop.storage.staircase import staircase


def experiment(number, turn, config, effect, half, **more):
    verdict = {"verdict": "success", "effect": effect, "low": effect - half, "high": effect + half}
    return {
        "kind": "experiment",
        "id": number,
        "round": turn,
        "proposer": "random",
        "config": config,
        **verdict,
        **more,
    }


def test_effects_and_squares_of_half_widths_add_up():
    ledger = [
        {"kind": "floor"},
        experiment(1, 1, {"b1": 0.8}, 0.5, 0.1, verdict="failure"),
        experiment(2, 1, {"b1": 0.7}, 0.2, 0.3),
        {"kind": "round", "round": 1, "experiments": 8, "incumbent": {"b1": 0.7}},
        {"kind": "round", "round": 2, "experiments": 16, "incumbent": {"b1": 0.7}},
        experiment(3, 3, {"b1": 0.6}, 0.1, 0.4),
        {"kind": "round", "round": 3, "experiments": 24, "incumbent": {"b1": 0.6}},
        experiment(25, 1, {"b1": 0.5}, 0.1, 0.1, proposer="try", verdict="tie"),
        experiment(26, 2, {"b1": 0.4}, 0.1, 0.1, proposer="try", task="new.py:task"),
        experiment(27, 3, {"b1": 0.6}, 0.1, 1.2, proposer="try"),
    ]
    steps = staircase(ledger)
    assert [(step.experiments, step.experiment) for step in steps] == [
        (0, None),
        (8, 2),
        (16, None),
        (24, 3),
        (27, 27),
    ]
    assert [step.effect for step in steps] == pytest.approx([0, 0.2, 0.2, 0.3, 0.4])
    widths = [0, 0.3, 0.3, 0.5, math.hypot(0.5, 1.2)]
    assert [(step.high - step.low) / 2 for step in steps] == pytest.approx(widths)
    assert [step.config for step in steps[1:]] == [{"b1": 0.7}, {"b1": 0.7}, {"b1": 0.6}, {"b1": 0.6}]


def test_a_try_is_no_success_of_the_round_of_its_number():
    ledger = [
        {"kind": "round", "round": 1, "experiments": 8, "incumbent": {"b1": 0.7}},
        experiment(9, 1, {"b1": 0.7}, 0.1, 0.1, proposer="try"),
    ]
    assert [(step.experiments, step.experiment) for step in staircase(ledger)] == [(0, None), (8, None), (9, 9)]
