"""What proposers make of configs that screening stopped: their values are not those of whole trainings."""

import itertools

import pytest
from helpers.loops import LOOP

from jaxloop.experiments import space
from jaxloop.experiments.proposers.base import Known
from jaxloop.experiments.proposers.evolution import Evolution
from jaxloop.experiments.proposers.tpe import Tpe
from jaxloop.sweep import sweep

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
