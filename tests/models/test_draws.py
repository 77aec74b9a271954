"""Random arrays that do not depend on their padding, and are random."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from jaxloop.models.draws import truncated_normal, uniform

KEY = jax.random.key(0, impl="threefry2x32")
shapes = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), min_size=0, max_size=4)


@pytest.mark.slow
@given(shapes)
@settings(max_examples=8)
def test_a_smaller_array_is_the_first_corner_of_a_larger_one(sizes):
    small = uniform(KEY, [own for own, _ in sizes])
    large = uniform(KEY, [own + more for own, more in sizes])
    np.testing.assert_array_equal(small, large[tuple(slice(own) for own, _ in sizes)])


@pytest.mark.parametrize("shape", [(40_000,), (200, 200), (20, 50, 40), (10, 20, 10, 20)])
def test_values_are_independent_and_of_their_distribution(shape):
    other = uniform(jax.random.fold_in(KEY, 1), shape)
    values = np.asarray(uniform(KEY, shape))
    assert stats.kstest(values.ravel(), "uniform").pvalue > 1e-3
    assert 0.0 < values.min() < 1e-3 < 1 - 1e-3 < values.max() < 1.0
    assert len(np.unique(values)) > 0.99 * values.size
    assert abs(stats.pearsonr(values.ravel(), np.ravel(other))[0]) < 0.02
    for axis in range(len(shape)):
        lag = np.moveaxis(values, axis, 0)
        assert abs(stats.pearsonr(lag[1:].ravel(), lag[:-1].ravel())[0]) < 0.02
    normal = np.ravel(truncated_normal(KEY, shape))
    cut = 2 / stats.truncnorm.std(-2, 2)
    assert stats.kstest(normal * 2 / cut, stats.truncnorm(-2, 2).cdf).pvalue > 1e-3
    assert normal.std() == pytest.approx(1.0, abs=0.02)


def test_what_cannot_be_counted_is_told():
    with pytest.raises(ValueError, match="four axes"):
        uniform(KEY, (1, 1, 1, 1, 1))
    with pytest.raises(ValueError, match="65536"):
        uniform(KEY, (1, 1, 70_000))
