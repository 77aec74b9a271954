import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from jaxloop.sweep.axes import Axis, ends, extremes, points, sample, size


@given(st.floats(1e-6, 1e3), st.floats(1.01, 1e6), st.integers(2, 40))
def test_log_keeps_its_ends_and_a_constant_ratio(low, ratio, num):
    values = points(Axis(log=(low, low * ratio), num=num), keeps_integers=False)
    assert len(values) == num
    assert values[0] == low
    assert values[-1] == low * ratio
    for a, b in itertools.pairwise(values):
        assert math.isclose(b / a, ratio ** (1 / (num - 1)), rel_tol=1e-6)


def test_integers_stay_integers():
    assert points(Axis(log=(1, 1024), num=11), keeps_integers=True) == [2**i for i in range(11)]
    assert points(Axis(linear=(1, 10), num=4), keeps_integers=True) == [1, 4, 7, 10]
    assert points(Axis(range=(2, 9, 3)), keeps_integers=True) == [2, 5, 8]
    assert all(type(v) is int for v in points(Axis(log=(16, 64), num=3), keeps_integers=True))
    assert points(Axis(linear=(0, 1), num=3), keeps_integers=False) == [0.0, 0.5, 1.0]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_a_grid_is_the_product_in_order(lengths):
    axes = {f"a{i}": Axis(values=list(range(n))) for i, n in enumerate(lengths)}
    found = sample(axes, "grid", None, 0, dict.fromkeys(axes, True))
    rows = [tuple(row.values()) for row in found]
    assert len(rows) == math.prod(lengths) == size(axes, "grid", None)
    assert rows == sorted(set(rows))  # each once, the last axis fastest


@given(st.sampled_from(["random", "sobol"]), st.integers(1, 40), st.integers(1, 4), st.integers(0, 9))
def test_drawn_members_stay_inside_and_repeat(sampler, configs, seeds, seed):
    axes = {"lr": Axis(log=(1e-4, 1e-1)), "width": Axis(linear=(4, 64)), "seed": Axis(count=seeds)}
    whole = {"lr": False, "width": True, "seed": True}
    found = sample(axes, sampler, configs * seeds, seed, whole)
    assert found == sample(axes, sampler, configs * seeds, seed, whole)
    assert len(found) == configs * seeds
    for row in found:
        assert 1e-4 <= row["lr"] <= 1e-1
        assert type(row["width"]) is int
        assert 4 <= row["width"] <= 64
    for block in range(0, len(found), seeds):  # a config's replicates differ in the seed alone
        assert [row["seed"] for row in found[block : block + seeds]] == list(range(seeds))
        assert len({row["lr"] for row in found[block : block + seeds]}) == 1


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(0, 99), st.data())
def test_random_draws_no_config_twice_and_may_draw_all(lengths, seed, data):
    kinds = [lambda n: Axis(values=[f"v{i}" for i in range(n)]), lambda n: Axis(range=(3, 3 + n))]
    axes = {f"a{i}": data.draw(st.sampled_from(kinds))(n) for i, n in enumerate(lengths)}
    whole, total = dict.fromkeys(axes, True), math.prod(lengths)
    count = data.draw(st.integers(1, total))
    found = sample(axes, "random", count, seed, whole)
    assert len({tuple(row.values()) for row in found}) == len(found) == count
    assert sample(axes, "random", total, seed, whole)[:count] == found  # a run that grows keeps its members
    with pytest.raises(ValueError, match=f"draws no config twice: needs at most {total} members"):
        sample(axes, "random", total + 1, seed, whole)


def test_random_draws_whole_numbers_of_a_linear_axis_without_replacement():
    found = sample({"width": Axis(linear=(4, 8))}, "random", 5, 0, {"width": True})
    assert sorted(row["width"] for row in found) == [4, 5, 6, 7, 8]
    with pytest.raises(ValueError, match="only 1 distinct configs"):  # all of it is one number in float32
        sample({"lr": Axis(linear=(1.0, 1.00000001))}, "random", 2, 0, {"lr": False})


@pytest.mark.parametrize(
    "axes",
    [
        {"seed": Axis(range=(0, 10**18))},
        {"seed": Axis(range=(10**18, 0, -7)), "lr": Axis(log=(1e-4, 1.0), num=10**12)},
        {"lr": Axis(linear=(0, 10**18), num=10**15)},
    ],
)
def test_a_draw_from_a_wide_range_lists_nothing(axes):
    whole = dict.fromkeys(axes, True)
    found = sample(axes, "random", 3, 0, whole)  # to list what there is would not end
    assert len(found) == 3
    assert all(0 <= value <= 10**18 for row in found for value in row.values())
    assert all(len(extremes(axis, True)) == 2 for axis in axes.values())


def test_replicates_are_not_listed_before_they_are_counted():
    with pytest.raises(ValueError, match="a multiple of the 1000000000000 replicates"):
        sample({"seed": Axis(count=10**12)}, "random", 4, 0, {"seed": True})


def test_the_ends_of_an_axis_are_its_least_and_greatest_value():
    for form, found in {
        "values": ([3, 1, 2], (1, 3)),
        "log": ((0.1, 10.0), (0.1, 10.0)),
        "linear": ((-1, 1), (-1, 1)),
        "range": ((5, 0, -2), (1, 5)),
        "count": (4, (0, 3)),
    }.items():
        written, both = found
        assert ends(Axis.model_validate({form: written})) == both


def test_sobol_fills_every_quarter():
    axes = {"a": Axis(linear=(0.0, 1.0)), "b": Axis(linear=(0.0, 1.0))}
    found = sample(axes, "sobol", 16, 3, dict.fromkeys(axes, False))
    cells = {(int(row["a"] * 4), int(row["b"] * 4)) for row in found}
    assert len(cells) == 16  # a (0, 2, 2)-net: one point in each of 4x4 cells


def test_zip_pairs_and_crosses_replicates():
    axes = {"a": Axis(values=[1, 2]), "b": Axis(values=[3, 4]), "seed": Axis(count=2)}
    found = sample(axes, "zip", None, 0, dict.fromkeys(axes, True))
    assert [(r["a"], r["b"], r["seed"]) for r in found] == [(1, 3, 0), (1, 3, 1), (2, 4, 0), (2, 4, 1)]
    with pytest.raises(ValueError, match="one length"):
        sample({"a": Axis(values=[1]), "b": Axis(values=[3, 4])}, "zip", None, 0, {"a": True, "b": True})


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"values": []},
        {"values": [1], "count": 2},
        {"log": (0, 1)},
        {"log": (2, 1)},
        {"values": [float("nan")]},
        {"linear": (0, float("inf"))},
        {"count": 0},
        {"range": (3, 3)},
        {"values": [1], "num": 3},
    ],
)
def test_bad_axes_are_refused(bad):
    with pytest.raises(ValidationError):
        Axis(**bad)


@pytest.mark.parametrize(
    ("axis", "whole", "most"),
    [
        ({"linear": [2, 5]}, True, 4),  # whole numbers, both ends included
        ({"log": [4, 7]}, True, 4),
        ({"values": [0.1, 0.1 + 1e-12, 0.2]}, False, 2),  # equal in float32
        ({"range": [0, 6, 2]}, True, 3),
    ],
)
def test_random_says_how_many_configs_there_are_to_draw(axis, whole, most):
    axes = {"x": Axis.model_validate(axis), "seed": Axis.model_validate({"count": 3})}
    kinds = {"x": whole, "seed": True}
    assert len(list(sample(axes, "random", 3 * most, 0, kinds))) == 3 * most
    with pytest.raises(ValueError, match=f"needs at most {3 * most} members, got {3 * most + 3}"):
        list(sample(axes, "random", 3 * most + 3, 0, kinds))


def test_random_may_draw_any_number_between_real_ends():
    axes = {"x": Axis.model_validate({"linear": [0, 1]})}
    assert len({value["x"] for value in sample(axes, "random", 500, 0, {"x": False})}) == 500
