"""The lead of the best config over others: against SciPy, and on runs in which no config is better."""

import numpy as np
import pytest
from scipy import stats

from jaxloop.experiments.lead import ALPHA, leads, moderated
from jaxloop.storage.ranking import RankedConfig


def ranked(values):
    """Configs of (configs, seeds) values, the largest mean first."""
    errors = values.std(1, ddof=1) / np.sqrt(values.shape[1]) if values.shape[1] > 1 else [None] * len(values)
    found = [
        RankedConfig(str(number), {}, [], len(row), [], True, float(row.mean()), error, {})
        for number, (row, error) in enumerate(zip(values, errors, strict=True))
    ]
    return sorted(found, key=lambda config: -config.mean)


def test_without_what_is_usual_an_interval_is_welch_s():
    """Of two variances one is 0, and says nothing of what is usual."""
    values = np.array([[3.0, 5.0, 4.0], [1.0, 1.0, 1.0]])
    (found,) = leads(ranked(values), "max")
    margin = stats.t.isf(ALPHA / 2, 2) * np.sqrt(1 / 3)
    assert (found.effect, found.low, found.high) == pytest.approx((3.0, 3.0 - margin, 3.0 + margin))
    assert found.seeds == 3
    (opposite,) = leads(ranked(-values)[::-1], "min")
    assert opposite == pytest.approx(found)


def test_one_seed_has_no_interval():
    assert leads(ranked(np.array([[2.0], [1.0]])), "max") == [None]


def test_what_is_usual_is_found():
    """Variances drawn as Smyth (2004) assumes: 1/v is chi-squared with 4 degrees of freedom, over 4 times 2."""
    random = np.random.default_rng(0)
    true = 4 * 2.0 / random.chisquare(4, 20_000)
    degrees = np.full(20_000, 9.0)
    found, freedom = moderated(true * random.chisquare(9, 20_000) / 9, degrees)
    assert freedom[0] == pytest.approx(9 + 4, rel=0.1)
    assert np.log(found).mean() == pytest.approx(np.log((4 * 2.0 + 9 * true) / 13).mean(), abs=0.1)
    equal, freedom = moderated(2.0 * random.chisquare(9, 20_000) / 9, degrees)
    assert freedom[0] == 18  # what is usual weighs as much as a variance's own, and no more
    assert equal.std() < 0.6 * 2.0 * np.sqrt(2 / 9)


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
