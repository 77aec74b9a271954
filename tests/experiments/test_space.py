"""A search space: configs and their places are inverse to each other, cases included."""

import pytest
from helpers.loops import CASES, LOOP
from hypothesis import given
from hypothesis import strategies as st

from jaxloop.experiments import space
from jaxloop.experiments.proposers.grid import Grid
from jaxloop.sweep import sweep

SPACES = {name: space.of(sweep.parse(text)) for name, text in (("plain", LOOP), ("cases", CASES))}


@given(st.sampled_from(sorted(SPACES)), st.data())
def test_a_config_lies_where_it_was_drawn(name, data):
    searched = SPACES[name]
    drawn = {each: data.draw(st.floats(0, 1)) for each in searched.axes}
    config = searched.config(drawn)
    again = searched.config(searched.fractions(config))
    assert space.key(again) == space.key(config) or again == pytest.approx(config)


def test_a_config_has_its_own_case_s_hparams_alone():
    searched = SPACES["cases"]
    assert list(searched.axes) == [
        "width",
        "activation",
        "case",
        "adamw.learning_rate",
        "sgd.learning_rate",
        "sgd.momentum",
    ]
    middle = dict.fromkeys(searched.axes, 0.5)
    adamw, sgd = (searched.config({**middle, "case": place}) for place in (0.2, 0.8))
    assert adamw.keys() == {"width", "activation", "optimizer", "learning_rate", "clip"}
    assert sgd.keys() == {"width", "activation", "optimizer", "learning_rate", "momentum"}
    assert (adamw["learning_rate"], sgd["learning_rate"]) == (pytest.approx(1e-4), pytest.approx(1e-1))
    assert searched.values(sgd)["case"] == "sgd"


def test_a_grid_has_each_case_s_own_combinations():
    text = CASES.replace("log = [4, 16] }", "log = [4, 16], num = 2 }")
    for ends, num in (("log = [1e-5, 1e-3]", 3), ("log = [1e-2, 1e0]", 2), ("linear = [0.0, 0.95]", 2)):
        text = text.replace(ends, f"{ends}, num = {num}")
    searched = space.of(sweep.parse(text))
    configs = list(Grid().configs(searched, [], {}, 0))
    assert len(configs) == len({space.key(config) for config in configs}) == 4 * 3 + 4 * 4
