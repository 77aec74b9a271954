"""Many members: bounded memory, few file descriptors. Each run is a process of its own, as a user's is."""

import json
import subprocess
import sys

import pytest
from conftest import JAXLOOP

import jaxloop

SWEEP = """
[run]
task = "digits"
steps = 20
evaluate_every = 10
[hparams]
model = "linear"
batch_size = 16
[axes]
learning_rate = { log = [1e-3, 1e-1], num = 2 }
seed = { count = 256 }
"""


def peak_memory(arguments):
    """Bytes that a run of the command had resident at most."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.slow
def test_ten_thousand_members_need_the_memory_of_five_hundred(tmp_path):
    (tmp_path / "many.toml").write_text(SWEEP)
    command = [JAXLOOP, "population", str(tmp_path / "many.toml")]
    few = peak_memory([*command, "--out", str(tmp_path / "few")])
    many = peak_memory([*command, "--set", "axes.seed.count=5000", "--out", str(tmp_path / "many")])
    run = jaxloop.load(tmp_path / "many")
    counts = run.store.counts()
    assert (counts["finished"], len(run.members)) == (10_000, 10_000)
    assert json.loads((run.path / "run.json").read_text())["capacity"] == 256
    assert many < 1.3 * few, f"{many / 2**20:.0f} MiB against {few / 2**20:.0f} MiB"
    # the five hundred are among the ten thousand, and the same to the bit
    index = [m.number for m in run.members if m.hparams["seed"] < 256]
    assert (
        run.curves("test/accuracy")[index, -1] == jaxloop.load(tmp_path / "few").curves("test/accuracy")[:, -1]
    ).all()


@pytest.mark.slow
def test_a_thousand_members_at_once_need_few_file_descriptors(tmp_path):
    (tmp_path / "many.toml").write_text(SWEEP)
    arguments = f"--set axes.seed.count=500 --set population.capacity=1000 --out {tmp_path / 'run'} --json"
    command = f"ulimit -n 256 && exec {JAXLOOP} population {tmp_path / 'many.toml'} {arguments}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["finished"] == 1000
    assert summary["capacity"] >= 1000
    assert len(list((tmp_path / "run" / "members").glob("*/events*"))) == 1000
