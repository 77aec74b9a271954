"""PPO, whose state is an agent with its environments: exact like any other member, padded and killed."""

import signal
import subprocess
import time

import jax
import numpy as np
import pytest
from conftest import JAXLOOP, ROOT

import jaxloop
from jaxloop.storage.store import Store
from jaxloop.training import replay

pytestmark = [pytest.mark.slow, pytest.mark.optimized]
PPO = ROOT / "sweeps" / "ppo_cartpole.toml"
SHORT = ("run.steps=6", "run.evaluate_every=2", "checkpoint.every=2", "population.capacity=32")
METRICS = ("train/return", "train/loss", "train/entropy")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """64 agents on 32 slots, which nothing has interrupted."""
    with jax.numpy_rank_promotion("allow"):
        yield jaxloop.run(PPO, out=tmp_path_factory.mktemp("ppo") / "run", overrides=SHORT)


def test_64_agents_in_one_program_are_each_what_they_are_alone(whole):
    assert (whole.summary.programs, whole.summary.finished) == (1, 64)
    with jax.numpy_rank_promotion("allow"):
        for number in (0, 37, 63):
            again = replay.train_alone(*whole.sweep_and_task, whole.store, number)
            assert (again["largest_difference"], again["missing"]) == (0.0, 0)


def test_killed_in_the_middle_they_resume_to_the_same_bits(whole, tmp_path):
    settings = [part for setting in SHORT for part in ("--set", setting)]
    process = subprocess.Popen([JAXLOOP, "population", PPO, "--out", tmp_path / "run", *settings])
    while process.poll() is None:
        time.sleep(0.02)
        if (tmp_path / "run" / "run.sqlite").exists():
            with Store(tmp_path / "run") as store:
                if store.checkpoint["turn"] >= 2:
                    process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    with jax.numpy_rank_promotion("allow"), jaxloop.resume(tmp_path / "run") as resumed:
        assert resumed.summary.finished == 64
        for metric in METRICS:
            np.testing.assert_array_equal(resumed.curves(metric), whole.curves(metric))


def test_a_padded_network_trains_as_one_of_its_own_size(tmp_path):
    with jax.numpy_rank_promotion("allow"):
        few = (*SHORT, "axes.seed={count=2}", "axes.learning_rate={values=[1e-4]}")
        few = (*few, "axes.entropy_coefficient={values=[0.01]}", "checkpoint.keep=all")
        mixed = jaxloop.run(PPO, out=tmp_path / "mixed", overrides=(*few, "axes.width={values=[16, 24]}"))
        alone = jaxloop.run(PPO, out=tmp_path / "alone", overrides=(*few, "hparams.width=16"))
    assert mixed.summary.programs == 1
    narrow = [member for member in mixed.members if member.hparams["width"] == 16]
    for mine, other in zip(narrow, alone.members, strict=True):
        leaves = [jax.tree.leaves(run.params(member)) for run, member in ((mixed, mine), (alone, other))]
        for a, b in zip(*leaves, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
