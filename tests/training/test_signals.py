"""A turn that hangs, whatever the cause, ends by signals; LAPACK, which hung, does not."""

import os
import signal
import subprocess
import time

import pytest
from conftest import JAXLOOP
from helpers import line

import jaxloop
from jaxloop.readers.verify import verify
from jaxloop.training import signals

# The "clock" moves by one learning rate a step; in the third it naps for an hour, in XLA's own thread.
HANGS = line.changed(
    line.LINE,
    (
        "def init",
        "def nap(clock):\n    import time\n    time.sleep(3600 * (clock > 2.5))\n    return clock\n\ndef init",
    ),
    ('"b": jnp.zeros(())', '"b": jnp.zeros(()), "clock": jnp.zeros(())'),
    (
        ".mean(), {}",
        """.mean() - params["clock"] + jax.pure_callback(
        nap, jax.ShapeDtypeStruct((), jnp.float32), jax.lax.stop_gradient(params["clock"]),
        vmap_method="sequential"), {}""",
    ),
)
SWEEP = line.changed(line.SWEEP, ("[0.1, 0.3]", "[1.0]"), ("steps = 4", "steps = 9")) + "[checkpoint]\nevery = 2\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_turn_that_hangs_is_told_of_and_a_second_signal_ends_it(tmp_path, number):
    file = line.written(tmp_path, task=HANGS, sweep=SWEEP)
    command = [JAXLOOP, "population", str(file), "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    until = time.monotonic() + 120
    while not list((tmp_path / "run" / "checkpoints").rglob("SHA256SUMS")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    time.sleep(2)  # the next turn has begun, and hangs
    os.kill(process.pid, number)
    assert process.stderr.readline() == signals.STOPPING
    began = time.monotonic()
    assert process.stderr.readline() == signals.STUCK
    assert 0.5 < (time.monotonic() - began) / signals.GRACE_SECONDS < 3
    os.kill(process.pid, number)
    process.communicate(timeout=10)
    assert process.returncode in (128 + number, -number)
    assert verify(tmp_path / "run")["problems"] == []
    with jaxloop.load(tmp_path / "run") as run:
        assert [(member.status, member.step) for member in run.members] == [("running", 2)]


MATRICES = """
import jax
import jax.numpy as jnp
import numpy as np

import jaxloop

x = np.random.default_rng(0).normal(size=(64, 24)).astype(np.float32)
split = {"x": x, "y": x.sum(1)}
CALLS = {
    "qr": lambda a: jnp.linalg.qr(a)[0],
    "eigh": lambda a: jnp.linalg.eigh(a + a.T)[1],
    "svd": lambda a: jnp.linalg.svd(a)[0],
    "cholesky": lambda a: jnp.linalg.cholesky(a @ a.T + jnp.eye(len(a))),
    "solve": lambda a: jnp.linalg.solve(a, a.T),
    "fft": lambda a: jnp.fft.fft2(a).real,
}

def six_times(call, key):  # large enough that LAPACK would divide a batch of them among threads
    return [call(jax.random.normal(each, (96, 96))) for each in jax.random.split(key, 6)]

def init(key, hparams):
    keys = jax.random.split(key, len(CALLS))
    made = {name: six_times(call, each) for (name, call), each in zip(CALLS.items(), keys)}
    return {"w": jnp.concatenate([jnp.stack(found)[:, 0, :4].ravel() for found in made.values()])[:24]}

def loss(params, batch, key, hparams):
    spread = sum(jnp.abs(found).mean() for call in CALLS.values() for found in six_times(call, key))
    return jnp.square(batch["x"] @ params["w"] - batch["y"]).mean(), {"spread": spread}

def metrics(params, batch, hparams):
    return {"loss": jnp.square(batch["x"] @ params["w"] - batch["y"]).mean()}

task = jaxloop.Task(init, loss, metrics, jaxloop.Data(split, split, split))
"""


@pytest.mark.slow
@pytest.mark.optimized
@pytest.mark.parametrize("devices", [1, 2, 4])
def test_lapack_calls_at_once_do_not_wait_for_each_other(tmp_path, jaxloop_command, devices):
    file = line.written(tmp_path, task=MATRICES, sweep=line.SWEEP + "seed = { count = 8 }\n")
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags}
    done = jaxloop_command("population", file, "--out", tmp_path / "run", env=environment, timeout=240)
    assert done.returncode == 0, done.stderr
    with jaxloop.load(tmp_path / "run") as run:
        assert run.store.devices == devices
        spread = run.curves("train/spread")
        assert (spread[:8] == spread[8:]).all()  # of equal seeds, in whatever lanes
        assert len(set(spread[:8, 0].tolist())) == 8
