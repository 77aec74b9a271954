"""How hparams enter a program, and which a copy may change."""

import pytest

from jaxloop.sweep import sweep
from jaxloop.sweep.axes import Axis
from jaxloop.sweep.hparams import is_tunable, kind_of
from jaxloop.sweep.sizes import choice, size


@pytest.mark.parametrize(
    ("name", "default", "kind"),
    [
        ("learning_rate", 0.1, "traced"),
        ("steps", 100, "traced"),
        ("seed", 0, "traced"),
        ("width", size(8), "padded"),
        ("schedule", choice("constant", "linear"), "switched"),
        ("layers", 3, "static"),
        ("nesterov", False, "static"),
        ("optimizer", "adam", "static"),
    ],
)
def test_a_defaults_type_is_its_kind(name, default, kind):
    assert kind_of(name, default) == kind


@pytest.mark.parametrize(
    ("axis", "default", "tunable"),
    [
        ({"log": [1e-3, 1e-1]}, 0.1, True),
        ({"values": [0.1, 1]}, 0.1, True),
        ({"values": [0.1, 1], "kind": "static"}, 0.1, False),
        ({"values": ["a", "b"]}, "a", False),
        ({"values": [0.1, "none"]}, 0.1, False),
        ({"values": [1, 2]}, 1, False),
        ({"range": [1, 3]}, None, False),
    ],
)
def test_a_copy_may_change_numbers_that_a_program_takes_as_they_come(axis, default, tunable):
    assert is_tunable(Axis.model_validate(axis), default) is tunable


def test_a_metric_is_ranked_as_the_sweep_says_where_it_is_the_sweeps_own():
    text = '[run]\ntask = "digits"\nsteps = 1\n[evaluate]\nmetric = "validation/loss"\nmode = "max"\n'
    document = sweep.parse(text).document
    assert document.mode_of("validation/loss") == "max"
    assert document.mode_of("test/loss") == "min"
    assert document.mode_of("validation/accuracy") == "max"
    assert document.mode_of("train/grad_norm") is None
