"""What proposers make of what is known: of configs that screening stopped, and of axes that list their values."""

import itertools
import random
from collections import Counter

import pytest
from helpers.loops import CASES, LOOP

from jaxloop.experiments import space
from jaxloop.experiments.proposers.base import Known
from jaxloop.experiments.proposers.evolution import Evolution
from jaxloop.experiments.proposers.tpe import Tpe
from jaxloop.sweep import sweep
from jaxloop.sweep.axes import Axis

LOW, HIGH = 0.2, 0.8  # places on the axis of the learning rate


@pytest.fixture
def searched():
    return space.of(sweep.parse(LOOP))


def known(searched, stopped_at):
    """Configs of low rates that trained to their ends, and better ones of high rates."""
    places = [(LOW, 0.0, None), (HIGH, 1.0, stopped_at)]
    return [
        Known(
            searched.config({"learning_rate": place + at / 400, "width": at / 40, "activation": at % 2}),
            value,
            stop,
        )
        for at, (place, value, stop) in itertools.product(range(40), places)
    ]


@pytest.mark.parametrize("proposer", [Evolution, Tpe])
@pytest.mark.parametrize(("stopped_at", "wanted"), [(None, HIGH), (20, LOW)])
def test_a_stopped_config_is_no_example_however_good_its_last_value(proposer, stopped_at, wanted, searched):
    if proposer is Tpe:
        pytest.importorskip("optuna")
    tried = known(searched, stopped_at)
    found = itertools.islice(proposer().configs(searched, tried, tried[0].config, seed=0), 40)
    places = sorted(searched.fractions(config)["learning_rate"] for config in found)
    other = LOW + HIGH - wanted
    assert sum(abs(place - wanted) < 0.3 for place in places) > sum(abs(place - other) < 0.3 for place in places)


def test_tpe_takes_listed_values_each_by_itself_and_proposes_some_at_random():
    pytest.importorskip("optuna")
    searched = space.Space(
        {"x": Axis(values=list("abcdefgh")), "y": Axis(linear=(0.0, 1.0))}, {"x": True, "y": False}
    )
    draws = random.Random(0)
    configs = [searched.config({"x": draws.random(), "y": draws.random()}) for _ in range(120)]
    tried = [Known(config, float(config["x"] == "d") + draws.random() / 100) for config in configs]
    tried.append(Known({"x": "z", "y": 0.5}, 2.0))  # what a try compared may be no value of the axis
    proposed = Counter(
        config["x"] for config in itertools.islice(Tpe().configs(searched, tried, configs[0], 0), 80)
    )
    assert proposed["d"] > 30
    assert (proposed["c"] + proposed["e"]) / 2 < 2 * sum(proposed[x] for x in "abfgh") / 5  # no more than others


def test_tpe_learns_of_an_axis_of_a_case_from_that_case_alone():
    pytest.importorskip("optuna")
    searched = space.of(sweep.parse(CASES))
    draws = random.Random(0)
    configs = [searched.config({name: draws.random() for name in searched.axes}) for _ in range(120)]
    tried = [
        Known(config, 1.0 if config["optimizer"] == "sgd" else -abs(place(searched, config) - HIGH))
        for config in configs
    ]
    found = itertools.islice(Tpe().configs(searched, tried, configs[0], 0), 120)
    places = [place(searched, config) for config in found if config["optimizer"] == "adamw"]
    assert len(places) > 4
    assert sum(0.4 < at < 0.6 for at in places) < len(places) / 2  # where an axis is half-way for want of a value


def place(searched, config):
    """How far along its own axis the learning rate of AdamW is."""
    return searched.fractions(config)["adamw.learning_rate"]
