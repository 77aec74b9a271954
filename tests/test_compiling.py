"""A test's marker decides how programs compile, here and in the processes that it starts."""

import os

import pytest
from helpers.compiling import OPTIMIZED, UNFUSED, UNOPTIMIZED, USERS_XLA_FLAGS, xla_flags

from jaxloop.core import population


@pytest.mark.optimized
def test_optimized_is_what_users_have():
    assert os.environ["XLA_FLAGS"] == USERS_XLA_FLAGS
    assert "optimization_level" not in USERS_XLA_FLAGS  # not even in a worker, which inherits changed flags
    assert population.EXACT_ON_CPU.items() >= OPTIMIZED.items()


def test_others_do_without_the_optimizations_of_llvm():
    assert os.environ["XLA_FLAGS"] == xla_flags(UNOPTIMIZED)
    assert not population.EXACT_ON_CPU.keys() & OPTIMIZED.keys()


@pytest.mark.unfused
def test_unfused_does_without_fusion_emitters_too():
    assert os.environ["XLA_FLAGS"] == xla_flags(UNOPTIMIZED | UNFUSED)
    assert population.EXACT_ON_CPU.items() >= UNFUSED.items()
