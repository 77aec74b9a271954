"""Which members a compiled program can train, also of those that join later."""

from dataclasses import replace

import pytest

from jaxloop.core.bucket import undivided
from jaxloop.core.size_classes import recorded
from jaxloop.sweep import sweep

SWEEP = """
[run]
task = "digits"
steps = 10
[hparams]
depth = 2
[axes]
width = { values = [1, 4, 16] }
activation = { values = ["relu", "tanh"] }
"""


@pytest.fixture
def swept():
    return sweep.parse(SWEEP)


@pytest.mark.parametrize(
    ("changed", "held"),
    [
        ({}, True),
        ({"width": 1}, True),
        ({"width": 16}, True),  # as large as what it is padded to
        ({"width": 17}, False),
        ({"width": 0}, False),
        ({"activation": "tanh"}, True),
        ({"activation": "gelu"}, False),  # no branch of the program
        ({"depth": 3}, False),
        ({"optimizer": "sgd"}, False),
        ({"learning_rate": 0.5, "seed": 7}, True),
        ({"clip": 1.0}, False),  # which the program has not
        ({"depth": 3, "width": 1, "activation": "relu"}, False),
    ],
)
def test_a_program_holds_members_that_differ_in_what_it_takes_as_arrays(swept, changed, held):
    (bucket,) = undivided(swept)
    assert bucket.holds({**swept.members[0], **changed}) is held


def test_a_program_is_the_same_in_whatever_order_its_hparams_are_given(swept):
    (bucket,) = undivided(swept)
    reordered = replace(bucket, static=dict(reversed(bucket.static.items())))
    assert list(reordered.static) != list(bucket.static)
    assert reordered.program == bucket.program


def test_a_program_does_not_hold_a_member_that_lacks_an_hparam(swept):
    (bucket,) = undivided(swept)
    assert not bucket.holds({name: value for name, value in swept.members[0].items() if name != "width"})


def test_a_member_that_joins_goes_to_the_first_size_class_that_holds_it(swept):
    widths = [member["width"] for member in swept.members]
    parts = [[at for at, width in enumerate(widths) if width in sizes] for sizes in ((1, 4), (16,))]
    (bucket,) = recorded(swept, [parts])
    small, large = bucket.size_classes
    assert bucket.add(6, {**swept.members[0], "width": 3})
    assert bucket.add(7, {**swept.members[0], "width": 16})
    assert not bucket.add(8, {**swept.members[0], "width": 5})  # the larger class has 16 wide alone
    assert (small.numbers[-1], large.numbers[-1], bucket.numbers[-2:]) == (6, 7, [6, 7])
    assert (bucket.class_of[6], bucket.class_of[7], 8 in bucket.class_of) == (0, 1, False)


def test_a_member_that_joins_a_program_without_size_classes_counts_once(swept):
    (bucket,) = undivided(swept)
    assert bucket.add(6, {**swept.members[0], "width": 3})
    assert bucket.numbers == [0, 1, 2, 3, 4, 5, 6]
