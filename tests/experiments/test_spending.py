"""A loop's tests together spend no more than alpha; power against simulation and the table of the protocol."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from jaxloop.experiments.spending import Spending, power, seeds_needed


@given(st.one_of(st.none(), st.integers(1, 20)), st.integers(1, 40), st.floats(0.001, 0.2))
def test_without_successes_all_levels_sum_to_alpha_at_most(rounds, comparisons, alpha):
    plan = Spending(alpha, rounds)
    levels = [
        plan.level(plan.of_round(number), look, comparisons)
        for number in range(1, 200)
        for look in range(len(plan.looks))
        for _ in range(comparisons)
    ]
    assert sum(levels) <= alpha * (1 + 1e-9)
    assert sum(levels) > 0.99 * alpha


def test_what_successes_free_is_handed_on():
    plan = Spending(0.05, 3)
    first = plan.of_round(1)
    assert first == pytest.approx(0.05 / 3)
    assert plan.of_round(2, plan.recycled(first, 2, 4)) == pytest.approx(0.05 / 3 + 0.05 / 6)
    assert plan.recycled(first, 0, 4) == 0
    by_round = Spending(0.05, 3, control="round")
    assert [by_round.of_round(number) for number in (1, 2, 9)] == [0.05] * 3
    assert by_round.recycled(0.05, 4, 4) == 0


@pytest.mark.parametrize(("effect", "pairs", "level"), [(0.5, 16, 0.05), (1.0, 8, 0.01), (0.2, 32, 0.05)])
def test_power_is_the_share_of_t_tests_that_see_the_effect(effect, pairs, level):
    differences = np.random.default_rng(0).normal(effect, size=(20_000, pairs))
    seen = stats.ttest_1samp(differences, 0, axis=1, alternative="greater").pvalue < level
    assert power(effect, pairs, level) == pytest.approx(seen.mean(), abs=0.012)


@pytest.mark.parametrize("effect", [0.1, 0.5, 1.0, 3.0])
def test_seeds_needed_are_the_fewest(effect):
    level = 0.05 / 3 / 4
    pairs = seeds_needed(effect, level)
    assert pairs is not None
    assert power(effect, pairs, level) >= 0.8
    assert pairs == 2 or power(effect, pairs - 1, level) < 0.8
    assert seeds_needed(1e-6, level) is None
