"""Pad or bucket, by estimated cost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxloop import api
from jaxloop.core import size_classes
from jaxloop.sweep import sweep


def planned(steps, axes, hparams=""):
    swept = sweep.parse(
        f'[run]\ntask = "digits"\nsteps = {steps}\n[hparams]\n{hparams}\n[axes]\nseed = {{ count = 8 }}\n{axes}\n'
    )
    task = api.task_of(swept)
    return swept, task, size_classes.buckets(swept, task)


@pytest.mark.parametrize(
    ("steps", "widths", "programs", "classes"),
    [
        (10, "values = [16, 512]", 1, 1),  # a compilation costs more than the padding
        (100_000, "values = [16, 512]", 1, 2),  # the padding costs more
        (10_000, "values = [510, 512]", 1, 1),  # hardly any padding
        (100_000, 'values = [16, 512], kind = "padded"', 1, 1),
        (10, 'values = [16, 512], kind = "static"', 2, 2),
    ],
)
def test_padding_is_weighed_against_compiling(steps, widths, programs, classes):
    _, _, buckets = planned(steps, f"width = {{ {widths} }}")
    assert len(buckets) == programs
    assert sum(len(bucket.size_classes) for bucket in buckets) == classes


@given(st.integers(1, 200_000), st.lists(st.integers(1, 600), min_size=1, max_size=5, unique=True))
@settings(max_examples=5)
def test_every_member_has_one_size_class_that_holds_it(steps, widths):
    swept, _, (bucket,) = planned(steps, f"width = {{ values = {widths} }}")
    classes = bucket.size_classes
    assert sorted(number for part in classes for number in part.numbers) == list(range(len(swept.members)))
    for number, hparams in enumerate(swept.members):
        seen = classes[bucket.class_of[number]].hparams(bucket.columns(hparams))["width"]
        assert hparams["width"] == seen.value <= seen.max <= bucket.sizes.get("width", seen.max)


def test_the_share_of_padding_is_that_of_parameters_times_batch():
    swept, task, (bucket,) = planned(10, "batch_size = { values = [25, 100] }")
    assert size_classes.padding_waste(swept, task, bucket) == pytest.approx(1 - (25 + 100) / 200)


def test_an_optimizer_that_padding_would_change_gets_a_program_for_each_size():
    _, _, buckets = planned(10, "width = { values = [16, 32] }", 'optimizer = "adafactor"')
    assert len(buckets) == 2
