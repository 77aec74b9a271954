"""Importances of functions whose answer is known, and of none."""

import numpy as np
import pytest

from jaxloop.experiments.importance import FEWEST, importances

NAMES = "abcd"
FUNCTIONS = {
    "one hparam": (lambda x: -((x[:, 0] - 0.3) ** 2), [("a",)]),
    "an hparam of separate values": (lambda x: (x[:, 3] > 2 / 3) + 1e-3 * x[:, 1], [("d",)]),
    "a pair alone": (lambda x: -((x[:, 0] - x[:, 1]) ** 2), [("a", "b")]),
}


def found(values, places):
    configs = [dict(zip(NAMES, row, strict=True)) for row in places.tolist()]
    return importances(configs, values.tolist(), {"d": 3})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_sets_the_best_apart_comes_first(name):
    function, first = FUNCTIONS[name]
    places = np.random.default_rng(0).random((200, 4))
    ranking = found(function(places), places)
    assert [each.hparams for each in ranking[: len(first)]] == first
    assert ranking[0].exceeds_chance
    assert sum(each.share for each in ranking) == pytest.approx(1)


def test_of_noise_nothing_exceeds_chance_but_one_time_in_twenty():
    random = np.random.default_rng(0)
    flagged = 0
    for _ in range(60):
        places, values = random.random((60, 4)), random.normal(size=60)
        flagged += any(each.exceeds_chance for each in found(values, places))
    assert flagged <= 8  # 3 are expected; more than 8 happen once in 200


def test_few_configs_tell_nothing_and_nan_is_the_worst():
    places = np.random.default_rng(0).random((FEWEST - 1, 4))
    assert found(places[:, 0], places) == []
    places = np.random.default_rng(0).random((200, 4))
    assert found(np.where(places[:, 0] > 0.9, np.nan, places[:, 0]), places)[0].hparams == ("a",)
