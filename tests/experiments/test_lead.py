"""The lead of the best config over others: against SciPy, and on runs in which no config is better."""

import numpy as np
import pytest
from scipy import stats

from jaxloop.experiments.lead import ALPHA, Sample, leads, shrunk, welch
from jaxloop.storage.ranking import RankedConfig


def ranked(values):
    """Configs of (configs, seeds) values, the largest mean first."""
    errors = values.std(1, ddof=1) / np.sqrt(values.shape[1]) if values.shape[1] > 1 else [None] * len(values)
    found = [
        RankedConfig(str(number), {}, [], len(row), [], True, float(row.mean()), error, {})
        for number, (row, error) in enumerate(zip(values, errors, strict=True))
    ]
    return sorted(found, key=lambda config: -config.mean)


def test_an_interval_of_variances_as_they_are_is_welch_s():
    one, other = np.array([3.0, 5.0, 4.5, 4.0]), np.array([1.0, 1.1, 1.3])
    ours, theirs = (Sample(x.mean(), len(x), x.var(ddof=1), len(x) - 1) for x in (one, other))
    found = welch(ours, theirs, 1.0, 0.01)
    low, high = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.98)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.effect, found.seeds) == (one.mean() - other.mean(), 3)
    assert found.deviation == pytest.approx(np.sqrt(one.var(ddof=1) + other.var(ddof=1)))


@pytest.mark.parametrize("configs", [2, 3, 5])
def test_alpha_is_shared_by_all_pairs_and_less_is_better_in_mode_min(configs):
    values = np.random.default_rng(0).standard_normal((configs, 4))
    found = leads(ranked(values), "max")
    assert {lead.level for lead in found} == {ALPHA / (configs * (configs - 1))}
    assert all(lead.effect > 0 for lead in found)
    np.testing.assert_allclose(leads(ranked(-values)[::-1], "min"), found)


def test_without_noise_to_judge_by_there_is_no_interval():
    assert leads(ranked(np.array([[2.0], [1.0]])), "max") == [None]
    assert leads(ranked(np.array([[2.0, 2.0], [1.0, 1.0]])), "max") == [None]
    (close, far) = leads(ranked(np.array([[2.0, 2.0], [1.9, 1.9], [0.0, 1.0]])), "max")
    assert close.low < close.effect < close.high  # the others' noise is all that is known
    assert far.low < far.effect


def test_variances_are_shrunk_towards_their_prior():
    """They are drawn as Smyth (2004) assumes: 4 * 2 over chi-squared with 4 degrees of freedom."""
    random = np.random.default_rng(0)
    true = 4 * 2.0 / random.chisquare(4, 20_000)
    estimates, degrees = true * random.chisquare(9, 20_000) / 9, np.full(20_000, 9.0)
    found, freedom = shrunk(estimates, degrees)
    assert freedom == pytest.approx(13, rel=0.02)
    assert found == pytest.approx((4 * 2.0 + 9 * estimates) / 13, rel=0.05)
    equal, freedom = shrunk(2.0 * random.chisquare(9, 20_000) / 9, degrees)
    assert set(freedom) == {18}  # the prior counts for as much as a variance's own degrees, and no more
    assert equal.std() == pytest.approx(0.5 * 2.0 * np.sqrt(2 / 9), rel=0.05)


@pytest.mark.parametrize(("configs", "seeds"), [(4, 3), (16, 4), (64, 8)])
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_where_no_config_is_better_hardly_any_seems_so(configs, seeds, spread):
    """A lead over the worst of many is large by chance alone: alpha is shared by all pairs, not by the leads."""
    random, wrong, runs = np.random.default_rng(0), 0, 400
    for _ in range(runs):
        deviations = np.exp(spread * random.standard_normal((configs, 1)))
        values = deviations * random.standard_normal((configs, seeds))
        wrong += any(lead.low > 0 for lead in leads(ranked(values), "max"))
    assert wrong / runs < 0.09  # .05, .065 where variances differ, and what 400 runs add
