"""A test's marker decides how programs compile, here and in the processes that it starts."""

import os

import pytest
from helpers.compiling import FUSED, OPTIMIZED, QUICK, UNOPTIMIZED, USERS_XLA_FLAGS, xla_flags

from jaxloop.core import population


@pytest.mark.optimized
def test_optimized_is_what_users_have():
    assert os.environ["XLA_FLAGS"] == USERS_XLA_FLAGS
    assert "optimization_level" not in USERS_XLA_FLAGS  # not even in a worker, which inherits changed flags
    assert population.EXACT_ON_CPU.items() >= OPTIMIZED.items()


@pytest.mark.fused
def test_fused_does_without_the_optimizations_of_llvm():
    assert os.environ["XLA_FLAGS"] == xla_flags(UNOPTIMIZED)
    assert population.EXACT_ON_CPU.items() >= FUSED.items()


def test_others_do_without_fusion_emitters_too():
    assert os.environ["XLA_FLAGS"] == xla_flags(QUICK)
    assert not population.EXACT_ON_CPU.keys() & OPTIMIZED.keys()
