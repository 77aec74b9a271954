"""What proposers make of what is known: of configs that screening stopped, and of axes that list their values."""

import itertools
import random
from collections import Counter

import pytest
from helpers.loops import CASES, LOOP

from jaxloop.experiments import space
from jaxloop.experiments.proposers.base import Known
from jaxloop.experiments.proposers.evolution import Evolution
from jaxloop.experiments.proposers.random import Random
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


@pytest.fixture
def letters():
    """A space of eight letters and a number, and 120 configs of it."""
    searched = space.Space(
        {"x": Axis(values=list("abcdefgh")), "y": Axis(linear=(0.0, 1.0))}, {"x": True, "y": False}
    )
    draws = random.Random(0)
    return searched, [searched.config({"x": draws.random(), "y": draws.random()}) for _ in range(120)]


def proposed(searched, tried, count=160):
    pytest.importorskip("optuna")
    return list(itertools.islice(Tpe().configs(searched, tried, tried[0].config, seed=0), count))


def test_tpe_takes_listed_values_as_categories(letters):
    searched, configs = letters
    tried = [Known(config, float(config["x"] == "d") + config["y"] / 100) for config in configs]
    tried.append(Known({"x": "z", "y": 0.5}, 2.0))  # what a try compared may be no value of the axis
    counts = Counter(config["x"] for config in proposed(searched, tried))
    assert counts["d"] > 60
    assert (counts["c"] + counts["e"]) / 2 < 1.5 * sum(counts[x] for x in "abfgh") / 5  # no more than others


def test_tpe_proposes_some_configs_at_random_and_others_than_random_does(letters):
    searched, configs = letters
    tried = [Known(config, float(config["x"] == "d") - abs(config["y"] - 0.5)) for config in configs]
    found = proposed(searched, tried)
    far = sum(config["x"] != "d" and abs(config["y"] - 0.5) > 0.25 for config in found)
    assert far > 22  # the model alone gives 14 to 18, and all at random would be 70
    at_random = itertools.islice(Random().configs(searched, tried, configs[0], seed=0), 160)
    assert not [config for config in at_random if config in found]


def test_tpe_ignores_configs_of_other_cases_on_an_axis_of_one_case():
    searched = space.of(sweep.parse(CASES))
    draws = random.Random(0)
    configs = [searched.config({name: draws.random() for name in searched.axes}) for _ in range(120)]
    tried = [
        Known(config, 1.0 if config["optimizer"] == "sgd" else -abs(place(searched, config) - HIGH))
        for config in configs
    ]
    found = [config for config in proposed(searched, tried) if config["optimizer"] == "adamw"]
    assert len(found) > 4
    half_way = [0.4 < place(searched, config) < 0.6 for config in found]  # where those of other cases would be
    assert sum(half_way) < len(found) / 2


def place(searched, config):
    """How far along its own axis the learning rate of AdamW is."""
    return searched.fractions(config)["adamw.learning_rate"]
