"""The nearest of the known names, word for word."""

import pytest

from jaxloop.sweep.suggest import nearest, not_one_of, unknown


@pytest.mark.parametrize(
    ("name", "known", "says"),
    [
        ("widht", ["depth", "width"], "; did you mean `width`?"),
        ("WIDTH", ["depth", "width"], "; did you mean `width`?"),
        ("LR", ["b1", "learning_rate"], "; did you mean `learning_rate`?"),
        ("seeds", ["steps", "seed"], "; did you mean `seed`?"),
        ("lr", ["b1", "b2"], ""),  # what is meant is not known here
        ("mlp", ["Mlp", "mlp"], "; did you mean `Mlp`?"),  # the first in order
        ("xyz", ["width"], ""),
        ("wi", ["width"], ""),  # too far
        ("wid", ["width"], "; did you mean `width`?"),
        (3, ["width"], ""),
    ],
)
def test_the_nearest_name(name, known, says):
    assert nearest(name, known) == says


def test_an_unknown_name_is_told_with_the_nearest_or_with_all():
    assert unknown("hparam", "widht", ["width", "depth"]) == "unknown hparam `widht`; did you mean `width`?"
    assert unknown("hparam", "x", ["width", "depth"]) == "unknown hparam `x`; known: depth, width"
    assert not_one_of("gird", ["grid", "zip"]) == "needs one of grid, zip, got 'gird'; did you mean `grid`?"
    assert not_one_of(5, ["grid", "zip"]) == "needs one of grid, zip, got 5"
