"""Declared sizes and choices, and what a sweep writes for them."""

import numpy as np
import pytest

import jaxloop
from jaxloop.sweep.sizes import Choice, Size, plain


def test_a_declared_size_is_as_large_as_its_default():
    assert jaxloop.size(8) == Size(value=8, max=8)
    assert not jaxloop.size(8).is_padded
    assert Size(4, 8).is_padded
    assert plain(jaxloop.size(8)) == 8


def test_a_size_times_a_factor_is_padded_as_much():
    assert Size(3, 8).times(4) == Size(12, 32)


def test_a_declared_choice_is_its_first_name():
    assert jaxloop.choice("relu", "tanh") == Choice(index=0, names=("relu", "tanh"))
    assert plain(jaxloop.choice("relu", "tanh")) == "relu"
    assert plain(Choice(1, ("relu", "tanh"))) == "tanh"


@pytest.mark.parametrize(
    ("declare", "error", "message"),
    [
        (lambda: jaxloop.size(2.5), TypeError, "jaxloop.size: needs an integer, got 2.5"),
        (lambda: jaxloop.size("8"), TypeError, "jaxloop.size: needs an integer, got '8'"),
        (lambda: jaxloop.size(-1), ValueError, "jaxloop.size: needs 0 or more, got -1"),
        (lambda: jaxloop.choice(), ValueError, "jaxloop.choice: needs at least one name"),
        (lambda: jaxloop.size(True), TypeError, "jaxloop.size: needs an integer, got True"),
        (lambda: jaxloop.choice("a", "a"), ValueError, "jaxloop.choice: needs names that differ, got ['a', 'a']"),
        (lambda: jaxloop.choice("a", 2), TypeError, "jaxloop.choice: needs names, got 2"),
    ],
)
def test_a_declaration_that_means_nothing_is_refused_where_it_stands(declare, error, message):
    with pytest.raises(error) as caught:
        declare()
    assert str(caught.value) == message


def test_a_size_may_be_zero_or_an_integer_of_numpy():
    assert jaxloop.size(0) == Size(0, 0)
    assert repr(jaxloop.size(np.int64(3))) == "Size(value=3, max=3)"


def test_other_defaults_are_written_as_they_are():
    assert [plain(value) for value in (0.5, "mlp", True)] == [0.5, "mlp", True]
