"""A strict process: two CPU devices, rank promotion raises, and small sweeps to run for real."""

import os
import subprocess
import sys
from pathlib import Path

from helpers.compiling import FUSED, OPTIMIZED, QUICK, UNOPTIMIZED, USERS_XLA_FLAGS, xla_flags

ROOT = Path(__file__).parent.parent
JAXLOOP = str(Path(sys.executable).parent / "jaxloop")
os.environ["XLA_FLAGS"] = xla_flags(QUICK)
# Tests share compiled programs, with the processes they start too, unless a marker gives them other options.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "xla"))
os.environ.setdefault("XDG_CACHE_HOME", str(ROOT / ".pytest_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import jax
import pytest
from hypothesis import settings
from jaxlib import xla_client  # after JAX, which tells it to log no more than warnings

import jaxloop
from jaxloop.core import population
from jaxloop.sweep import sweep

xla_client.CompileOptions()  # XLA parses its flags once a process: now, before a test's hook changes them
EXACT_ON_CPU = population.EXACT_ON_CPU

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")

settings.register_profile("jaxloop", deadline=None)  # a first call may compile
settings.load_profile("jaxloop")

TINY = """
[run]
task = "digits"
steps = 60
evaluate_every = 20
[hparams]
width = 16
depth = 2
batch_size = 32
[axes]
learning_rate = { log = [1e-3, 1e-1], num = 3 }
seed = { count = 2 }
[checkpoint]
every = 20
"""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Choose how populations compile, before fixtures train any: here, and in processes that the test starts."""
    if item.get_closest_marker("optimized"):
        options, flags = OPTIMIZED, USERS_XLA_FLAGS
    elif item.get_closest_marker("fused"):
        options, flags = FUSED, xla_flags(UNOPTIMIZED)
    else:
        options, flags = {}, xla_flags(QUICK)
    population.EXACT_ON_CPU = EXACT_ON_CPU | options
    os.environ["XLA_FLAGS"] = flags


@pytest.fixture
def tiny(tmp_path):
    """A sweep of six members that trains in a second."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run of that sweep that nothing has interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    jaxloop.run(sweep.parse(TINY), out=folder).close()
    return folder


@pytest.fixture
def jaxloop_command():
    """Runs the installed command as a user does: a process of its own."""

    def run(*arguments, cwd=ROOT, **kwargs):
        command = [JAXLOOP, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, **kwargs)

    return run
