"""Killed, or out of disk, at any write, fsync or rename: what was saved is whole, and resumes to the same bits.

`JAXLOOP_EVERY_FAULT=1` tries every one of them, 5 every fifth; otherwise a sample, another in each test run.
"""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import ROOT
from helpers.draws import draws

import jaxloop

HERE = ROOT / "tests" / "helpers"
LINE = """
import jax
import jax.numpy as jnp
import numpy as np

import jaxloop

x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
split = {"x": x, "y": (3 * x + 1)[:, 0]}

def errors(params, batch):
    return jnp.square(batch["x"] @ params["w"] + params["b"] - batch["y"])

task = jaxloop.Task(
    lambda key, hparams: {"w": jax.random.normal(key, (1,)), "b": jnp.zeros(())},
    lambda params, batch, key, hparams: (errors(params, batch).mean(), {}),
    lambda params, batch, hparams: {"loss": errors(params, batch).mean()},
    jaxloop.Data(split, split, split),
)
"""
SWEEP = """
[run]
task = "line.py:task"
steps = 6
evaluate_every = 2
[hparams]
batch_size = 8
optimizer = "sgd"
[axes]
learning_rate = { values = [0.1, 0.3, 1e30] }
steps = { values = [2, 6] }
[population]
capacity = 4
[checkpoint]
every = 2
"""
SAMPLE, KILLS, OF_A_LOOP = (8, 50, 30) if "JAXLOOP_EVERY_FAULT" in os.environ else (6, 15, 8)
LOOP = """
[run]
task = "line.py:task"
steps = 4
evaluate_every = 2
[hparams]
batch_size = 8
optimizer = "sgd"
[baseline]
learning_rate = 1e-3
[axes]
learning_rate = { log = [1e-4, 1e30] }
[loop]
rounds = 2
configs = 6
promote = 2
floor_seeds = 4
audit_seeds = 4
[verdict]
looks = [3, 6]
shares = [0.4, 0.6]
[checkpoint]
every = 6
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="faults.c is preloaded as Linux does it")


class Commands:
    """`jaxloop` commands in forks of a process in which faults.c is preloaded."""

    def __init__(self, folder: Path):
        library = folder / "faults.so"
        source = str(HERE / "faults.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), source, "-ldl"], check=True)
        (folder / "line.py").write_text(LINE)
        (folder / "line.toml").write_text(SWEEP)
        (folder / "loop.toml").write_text(LOOP)
        self.server = subprocess.Popen(
            [sys.executable, str(HERE / "forked.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, "LD_PRELOAD": str(library)},
        )

    def __call__(self, *words, faults_in: Path | None = None, n: int = 0, error: int = 0) -> dict:
        assert self.server.stdin
        assert self.server.stdout
        request = {"words": list(map(str, words)), "folder": str(faults_in or ""), "n": n, "error": error}
        print(json.dumps(request), file=self.server.stdin, flush=True)
        return json.loads(self.server.stdout.readline())


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    started = Commands(tmp_path_factory.mktemp("commands"))
    yield started
    started.server.stdin.close()
    started.server.stdout.close()
    started.server.wait()


@pytest.fixture(scope="module")
def whole(commands, tmp_path_factory):
    """A run that nothing disturbs, and its number of writes."""
    folder = tmp_path_factory.mktemp("whole")
    done = commands("population", "line.toml", "--out", folder / "run", faults_in=folder)
    assert done["code"] == 0, done["said"]
    assert done["count"] > 300
    return told(folder / "run"), done["count"]


def told(folder):
    """All that a run tells of its members: records, curves, final parameters."""
    with jaxloop.load(folder) as run:
        records = [(member.id, member.status, member.step, member.metrics) for member in run.members]
        curves = {metric: run.curves(metric) for metric in run.store.metric_names()}
        params = [jax.tree.leaves(run.params(member)) for member in run.members]
    return records, curves, params


def same(ours, theirs):
    assert ours[0] == theirs[0]
    assert ours[1].keys() == theirs[1].keys()
    for metric in ours[1]:
        np.testing.assert_array_equal(ours[1][metric], theirs[1][metric])
    for mine, yours in zip(ours[2], theirs[2], strict=True):
        assert all((a == b).all() for a, b in zip(mine, yours, strict=True))


def has_begun(run):
    if not run.exists():
        return False
    with jaxloop.load(run) as loaded:
        return loaded.store.status != "created"


def faults(count, sample=SAMPLE):
    """The numbers of the writes to fail at."""
    if stride := os.environ.get("JAXLOOP_EVERY_FAULT"):
        return range(1, count + 1, int(stride))
    return sorted(draws().sample(range(1, count + 1), sample))


def died_at(n, done):
    """Whether a command was killed at its n-th write; the last few are not there in every run of it."""
    return done["code"] == -signal.SIGKILL or (done["code"] == 0 and done["count"] < n)


def resumed(commands, folder, n):
    """What a run tells after it was resumed from what fault `n` left, if that was a run."""
    words = ["resume", folder / "run"] if (folder / "run").exists() else []
    done = commands(*(words or ["population", "line.toml", "--out", folder / "run"]))
    assert done["code"] == 0, (n, done["said"])
    verified = commands("verify", folder / "run")
    assert verified["code"] == 0, (n, verified["said"])
    return told(folder / "run")


@pytest.mark.slow
def test_killed_at_any_write_a_run_resumes_to_the_same_bits(commands, whole, tmp_path):
    for n in faults(whole[1]):
        folder = tmp_path / str(n)
        killed = commands("population", "line.toml", "--out", folder / "run", faults_in=folder, n=n)
        assert died_at(n, killed), (n, killed)
        same(resumed(commands, folder, n), whole[0])
        shutil.rmtree(folder)


@pytest.mark.slow
def test_killed_while_it_resumes_a_run_resumes_to_the_same_bits(commands, whole, tmp_path):
    for n in faults(whole[1] // 2):
        folder = tmp_path / str(n)
        commands("population", "line.toml", "--out", folder / "run", faults_in=folder, n=whole[1] // 2)
        killed = commands("resume", folder / "run", faults_in=folder, n=n)
        assert died_at(n, killed), (n, killed)
        same(resumed(commands, folder, n), whole[0])
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
def test_a_disk_that_fails_from_any_write_on_ends_a_run_that_resumes(commands, whole, tmp_path, error):
    """It is full, or has turned read-only; before a run has begun that is the user's choice of a disk."""
    counted = commands("population", "line.toml", "--out", tmp_path / "0" / "run", faults_in=tmp_path, error=error)
    for n in faults(counted["count"], SAMPLE // 2):
        folder = tmp_path / str(n)
        stopped = commands("population", "line.toml", "--out", folder / "run", faults_in=folder, n=n, error=error)
        unwritable = error == errno.EROFS and not has_begun(folder / "run")
        assert stopped["code"] in ((0, 2, 5) if unwritable else (0, 5)), (n, stopped)
        if stopped["code"] == 0:  # all was saved by then: SQLite tidies up as it closes, and need not
            assert n > 0.8 * stopped["count"], (n, stopped)
            same(told(folder / "run"), whole[0])
        assert "Traceback" not in stopped["said"], (n, stopped["said"])
        same(resumed(commands, folder, n), whole[0])
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
def test_a_disk_that_fails_while_a_run_resumes_ends_it_and_it_resumes(commands, whole, tmp_path, error):
    for n in faults(whole[1] // 2, SAMPLE // 2):
        folder = tmp_path / str(n)
        commands("population", "line.toml", "--out", folder / "run", faults_in=folder, n=whole[1] // 2)
        stopped = commands("resume", folder / "run", faults_in=folder, n=n, error=error)
        early = any(name in stopped["said"] for name in (".lock", ".owner", "unable to open"))
        # before it trains, a path that cannot be written is the user's; a store may also not open later on
        assert stopped["code"] in ((2, 4, 5) if early else (0, 5)), (n, stopped)
        assert "Traceback" not in stopped["said"], (n, stopped["said"])
        same(resumed(commands, folder, n), whole[0])
        shutil.rmtree(folder)


@pytest.mark.slow
def test_killed_while_it_grows_a_run_has_its_new_members_or_not(commands, tmp_path):
    grown = ["--set", "axes.seed.count=2"]
    assert commands("population", "line.toml", *grown, "--out", tmp_path / "whole")["code"] == 0
    for n in faults(60, SAMPLE // 2):
        folder = tmp_path / str(n)
        assert commands("population", "line.toml", "--out", folder / "run")["code"] == 0
        killed = commands("resume", folder / "run", *grown, faults_in=folder, n=n)
        assert died_at(n, killed), (n, killed)
        assert commands("verify", folder / "run")["code"] in (0, 4)  # its sweep may not be shown yet
        with jaxloop.load(folder / "run") as left:
            assert len(left.members) in (6, 12)
        assert commands("resume", folder / "run", *grown)["code"] == 0
        assert commands("verify", folder / "run")["code"] == 0
        same(sorted_by_id(told(folder / "run")), sorted_by_id(told(tmp_path / "whole")))
        shutil.rmtree(folder)


def sorted_by_id(found):
    """The same with the members in an order that does not depend on when they joined the run."""
    records, curves, params = found
    order = sorted(range(len(records)), key=lambda number: records[number][0])
    return (
        [records[number] for number in order],
        {metric: curve[order] for metric, curve in curves.items()},
        [params[number] for number in order],
    )


@pytest.mark.slow
def test_random_kills_of_a_run_of_64_members(commands, tmp_path):
    grid = ["axes.learning_rate={log=[0.01, 0.5], num=16}", "axes.steps.values=[10, 90]", "axes.seed.count=2"]
    settings = [word for setting in (*grid, "checkpoint.every=10") for word in ("--set", setting)]
    assert commands("population", "line.toml", *settings, "--out", tmp_path / "whole")["code"] == 0
    run, kills, random = tmp_path / "run", 0, draws()
    while kills < KILLS:
        words = ["resume", run] if run.exists() else ["population", "line.toml", *settings, "--out", run]
        n = random.randrange(1, 250)
        done = commands(*words, faults_in=tmp_path, n=n)
        assert died_at(n, done), done
        kills += done["code"] == -signal.SIGKILL
        if done["code"] == 0:
            same(told(run), told(tmp_path / "whole"))
            shutil.rmtree(run)
    same(resumed(commands, tmp_path, "last"), told(tmp_path / "whole"))


@pytest.mark.slow
def test_random_kills_of_a_loop(commands, tmp_path):
    """No experiment is lost or counted twice: ledger, alpha and verdicts are those of a loop left alone."""
    begin = ["loop", "loop.toml", "--out"]
    done = commands(*begin, tmp_path / "whole", faults_in=tmp_path)
    assert done["code"] == 0, done["said"]
    run, kills, most, random = tmp_path / "run", 0, done["count"] // 2, draws()
    while kills < OF_A_LOOP:
        words = ["resume", run] if run.exists() else [*begin, run]
        n = random.randrange(1, most)
        done = commands(*words, faults_in=tmp_path, n=n)
        assert died_at(n, done), done
        kills += done["code"] == -signal.SIGKILL
        if done["code"] == 0:
            assert ledger(run) == ledger(tmp_path / "whole")
            shutil.rmtree(run)
    if not run.exists():
        commands(*begin, run)
    assert commands("resume", run)["code"] == 0
    assert ledger(run) == ledger(tmp_path / "whole")
    same(told(run), told(tmp_path / "whole"))
    verified = commands("verify", run)
    assert verified["code"] == 0, verified["said"]


def ledger(folder):
    with jaxloop.load(folder) as run:
        return json.dumps(run.ledger)


@pytest.mark.slow
def test_a_disk_that_is_full_indeed(commands, whole, tmp_path):
    """A small file system of its own, with ever more room: each time the run goes on from what was saved."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = 200
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(disk)]
    if subprocess.run(mounted, capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here; the fault shim tells of a full disk at any write")
    try:
        codes = []
        while not codes or codes[-1]:
            run = disk / "run"
            words = ["resume", run] if run.exists() else ["population", "line.toml", "--out", run]
            done = commands(*words)
            codes.append(done["code"])
            assert done["code"] in (0, 5), done
            assert "Traceback" not in done["said"]
            size += 700
            subprocess.run(["mount", "-o", f"remount,size={size}k", str(disk)], check=True)
        assert codes.count(5) >= 2
        same(told(disk / "run"), whole[0])
    finally:
        subprocess.run(["umount", str(disk)], check=True)
