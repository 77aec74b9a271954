"""What `--set` does to a sweep that was read."""

import pytest

from jaxloop.errors import SweepError
from jaxloop.sweep.overrides import override


def overridden(assignment, raw=None):
    raw = raw or {
        "run": {"steps": 4},
        "hparams": {"width": 8, "depth": 2},
        "axes": {"learning_rate": {"log": [1e-4, 1e-1], "num": 4}, "seed": {"count": 2}},
    }
    path = override(raw, assignment)
    return raw, path


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("run.steps=9", ("run", "steps"), 9),
        ("evaluate.metric=validation/loss", ("evaluate", "metric"), "validation/loss"),
        ("checkpoint.every=90s", ("checkpoint", "every"), "90s"),
        ("checkpoint.every=1.5h", ("checkpoint", "every"), "1.5h"),
        ("run.task=Mine.py:task", ("run", "task"), "Mine.py:task"),
        ("data.path='a=b'", ("data", "path"), "a=b"),
    ],
)
def test_a_value_is_put_where_its_key_says(assignment, path, value):
    raw, found = overridden(assignment)
    assert found == path
    for part in path:
        raw = raw[part]
    assert raw == value


def test_what_becomes_an_axis_is_no_longer_fixed_and_the_reverse():
    raw, _ = overridden("axes.width.values=[1, 2]")
    assert raw["axes"]["width"] == {"values": [1, 2]}
    assert raw["hparams"] == {"depth": 2}
    raw, _ = overridden("hparams.learning_rate=0.1")
    assert raw["hparams"]["learning_rate"] == 0.1
    assert list(raw["axes"]) == ["seed"]


def test_a_whole_section_leaves_the_other_as_it_is():
    raw, _ = overridden("axes={ width = { values = [1] } }")
    assert raw["hparams"] == {"width": 8, "depth": 2}
    raw, _ = overridden("hparams={ width = 9 }")
    assert raw["axes"].keys() == {"learning_rate", "seed"}


@pytest.mark.parametrize(
    ("form", "left"),
    [
        ("log=[1e-3, 1e-2]", {"log": [1e-3, 1e-2], "num": 4}),
        ("linear=[0, 1]", {"linear": [0, 1], "num": 4}),
        ("values=[0.1]", {"values": [0.1]}),
        ("num=2", {"log": [1e-4, 1e-1], "num": 2}),
    ],
)
def test_a_new_form_of_an_axis_replaces_the_old_one(form, left):
    raw, _ = overridden(f"axes.learning_rate.{form}")
    assert raw["axes"]["learning_rate"] == left


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("run.steps", "--set run.steps: needs section.key=value, such as run.steps=100"),
        ("=3", "--set =3: needs section.key=value, such as run.steps=100"),
        ("run..steps=3", "--set run..steps=3: needs section.key=value, such as run.steps=100"),
        ("run.steps.more=3", "--set run.steps.more=3: `steps` is a value, not a section"),
        ("run.steps=[1", "--set run.steps=[1: '[1' is not a TOML value"),
        ("run.steps=3x", "--set run.steps=3x: '3x' is not a TOML value"),
    ],
)
def test_what_cannot_be_put_is_told(assignment, says):
    with pytest.raises(SweepError) as raised:
        overridden(assignment)
    assert str(raised.value) == says
