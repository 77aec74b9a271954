"""What counts as reading an hparam."""

import pytest

from jaxloop.core.noting import NotingHparams

HPARAMS = {"learning_rate": 0.1, "steps": 10, "width": 8}


@pytest.mark.parametrize(
    ("use", "read"),
    [
        (lambda hparams: hparams["width"], {"width"}),
        (lambda hparams: hparams.get("width"), {"width"}),
        (lambda hparams: "width" in hparams, {"width"}),
        (lambda hparams: hparams | {"learning_rate": 1.0}, set()),
        (lambda hparams: (hparams | {"learning_rate": 1.0})["width"], {"width"}),
        (lambda hparams: hparams.copy()["width"], {"width"}),
        (lambda hparams: {**hparams}, set(HPARAMS)),
        (lambda hparams: list(hparams), set(HPARAMS)),
        (lambda hparams: {"width": 1} | hparams, set(HPARAMS)),
    ],
)
def test_what_is_read_is_noted(use, read):
    hparams = NotingHparams(HPARAMS, set())
    use(hparams)
    assert hparams.read == read


def test_a_merge_has_the_values_of_a_dict_s():
    assert (NotingHparams(HPARAMS, set()) | {"steps": 20}) == HPARAMS | {"steps": 20}
