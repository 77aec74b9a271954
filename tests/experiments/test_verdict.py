"""Verdicts against SciPy's tests, their order, and what values that are not finite do to them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from jaxloop.experiments.verdict import Criteria, Outcome, judge

BETTER, WORSE = Criteria("max", 0.1), Criteria("min", 0.1)
RANDOM = np.random.default_rng(0)


def pair(effect, n=16, noise=0.1, seed=0):
    """A challenger and an incumbent, with differences around an effect."""
    random = np.random.default_rng(seed)
    incumbent = random.normal(size=n)
    return incumbent + effect + noise * random.normal(size=n), incumbent


@given(st.integers(2, 40), st.floats(-2, 2), st.floats(1e-4, 0.4), st.integers(0, 1000))
def test_p_and_interval_are_those_of_a_paired_t_test(n, effect, level, seed):
    challenger, incumbent = pair(effect, n, noise=1.0, seed=seed)
    found = judge(challenger, incumbent, BETTER, level=level, is_last=True)
    wanted = stats.ttest_rel(challenger, incumbent, alternative="greater")
    interval = stats.ttest_rel(challenger, incumbent).confidence_interval(1 - 2 * level)
    assert found.p == pytest.approx(wanted.pvalue, rel=1e-6, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)
    assert (found.p < level) == (found.low > 0)
    if n > 2:
        assert found.rho == pytest.approx(stats.pearsonr(challenger, incumbent).statistic)


@pytest.mark.parametrize(
    ("effect", "noise", "outcome"),
    [
        (0.5, 0.1, Outcome.SUCCESS),
        (-0.5, 0.1, Outcome.FAILURE),
        (0.02, 0.01, Outcome.TIE),  # better, and by less than matters
        (0.0, 0.0, Outcome.DEAD),
        (0.1, 2.0, Outcome.UNDECIDED),
    ],
)
@pytest.mark.parametrize("criteria", [BETTER, WORSE])
def test_each_outcome_in_both_directions(effect, noise, outcome, criteria):
    challenger, incumbent = pair(effect, noise=noise)
    if criteria.mode == "min":
        challenger, incumbent = -challenger, -incumbent
    found = judge(challenger, incumbent, criteria, level=0.01, is_last=True)
    assert found.outcome == outcome
    assert math.copysign(1, found.effect) == math.copysign(1, effect) or outcome == Outcome.UNDECIDED
    open_still = judge(challenger, incumbent, criteria, level=0.01, is_last=False).outcome
    assert open_still == (None if outcome == Outcome.UNDECIDED else outcome)


def test_a_constant_difference_is_no_tie_by_chance():
    found = judge([1.5, 2.5], [1.0, 2.0], BETTER, level=1e-6, is_last=False)
    assert (found.outcome, found.p, found.low, found.high) == (Outcome.SUCCESS, 0.0, 0.5, 0.5)


@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_value_that_is_not_finite_counts_as_the_worst_seen(mode):
    challenger, incumbent = pair(0.0, noise=0.5)
    worst = min if mode == "max" else max
    for lost in (math.nan, math.inf, -math.inf):
        found = judge([lost, *challenger[1:]], incumbent, Criteria(mode), level=0.05, is_last=True)
        filled = worst(*challenger[1:], *incumbent)
        wanted = judge([filled, *challenger[1:]], incumbent, Criteria(mode), level=0.05, is_last=True)
        assert found.not_finite == 1
        assert (found.outcome, found.p, found.n) == (wanted.outcome, wanted.p, 16)


def test_nothing_finite_is_a_crash():
    found = judge([math.nan] * 8, np.arange(8.0), BETTER, level=0.05, is_last=False)
    assert (found.outcome, found.not_finite) == (Outcome.CRASH, 8)


@pytest.mark.parametrize(("challenger", "incumbent"), [([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([], [])])
def test_too_few_or_unequal_seeds_are_refused(challenger, incumbent):
    with pytest.raises(ValueError, match="two or more pairs"):
        judge(challenger, incumbent, BETTER, level=0.05, is_last=True)
