"""Declared sizes and choices, and what a sweep writes for them."""

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


def test_other_defaults_are_written_as_they_are():
    assert [plain(value) for value in (0.5, "mlp", True)] == [0.5, "mlp", True]
