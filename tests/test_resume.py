"""A run that goes on elsewhere, with more members, or with what has changed since it began."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import TINY
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import jaxloop
from jaxloop import disk, lock, planned, sweep
from jaxloop.errors import DamagedError, LockedError, ResourceError, SweepError
from jaxloop.report import ranked, run_json
from jaxloop.store import Store
from jaxloop.stream import Stream
from jaxloop.verify import verify

JAXLOOP = str(Path(sys.executable).parent / "jaxloop")
TASK = """
import jaxloop
from jaxloop.tasks import digits

task = digits()
"""


class Stopped(Exception):
    """What ends a run in the middle, as a crash would."""


def crash_at(turn):
    told = []

    def observe(progress):
        told.append(progress)
        if len(told) == turn:
            raise Stopped

    return observe


def crashed(folder, *overrides, turn=2):
    with pytest.raises(Stopped):
        jaxloop.run(sweep.parse(TINY, overrides), out=folder, observe=crash_at(turn))
    return folder


def same(ours, theirs, numbers, **tolerance):
    """Some members of one run, by number, are those of another with the same hparams."""
    with jaxloop.load(ours) as mine, jaxloop.load(theirs) as yours:
        where = {member.id: member.number for member in yours.members}
        for number in numbers:
            other = where[mine.members[number].id]
            for metric in yours.store.metric_names():
                np.testing.assert_allclose(mine.curves(metric)[number], yours.curves(metric)[other], **tolerance)
            pairs = zip(
                *(jax.tree.leaves(run.params(n)) for run, n in ((mine, number), (yours, other))), strict=True
            )
            for a, b in pairs:
                np.testing.assert_allclose(a, b, **tolerance)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    jaxloop.run(sweep.parse(TINY), out=folder).close()
    return folder


@pytest.mark.parametrize("capacity", [4, 32])
def test_a_run_goes_on_at_another_capacity(tmp_path, whole, capacity):
    """With fewer slots than members in training, some of these wait with what they have."""
    run = crashed(tmp_path / "run")
    with jaxloop.resume(run, overrides=(f"population.capacity={capacity}", "population.width=2")) as resumed:
        assert resumed.summary["capacity"] == min(capacity, 8)
    same(run, whole, range(6), rtol=0, atol=0)
    assert verify(run)["problems"] == []


def test_members_that_wait_with_what_they_have_are_saved(tmp_path, whole):
    run = crashed(tmp_path / "run", turn=1)
    smaller = ("population.capacity=4", "population.width=2")
    with pytest.raises(Stopped):
        jaxloop.resume(run, overrides=smaller, observe=crash_at(1))
    found = verify(run)
    assert (found["problems"], found["checked"]["checkpoints"]) == ([], 2)
    jaxloop.resume(run).close()
    same(run, whole, range(6), rtol=0, atol=0)
    assert verify(run)["problems"] == []


@pytest.mark.slow
def test_a_run_goes_on_on_another_number_of_devices(tmp_path, whole, jaxloop_command):
    run = crashed(tmp_path / "run")
    done = jaxloop_command("resume", run, "--json", env={**os.environ, "JAX_NUM_CPU_DEVICES": "1"})
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["devices"] == 1
    assert "devices 2 -> 1): last bits may differ" in summary["notes"][0]
    assert "last bits may differ" in done.stderr
    same(run, whole, range(6), rtol=1e-4, atol=1e-5)


def test_a_finished_run_gets_more_members(tmp_path):
    run = tmp_path / "run"
    jaxloop.run(sweep.parse(TINY), out=run).close()
    before = {path: path.stat().st_mtime_ns for path in (run / "finished").rglob("*") if path.is_file()}
    with jaxloop.load(run) as loaded:
        rates = sorted({member.hparams["learning_rate"] for member in loaded.members})
    grown = ("axes.seed.count=3", f"axes.learning_rate.values={[*rates, 0.03]}")
    with jaxloop.resume(run, overrides=grown) as resumed:
        assert resumed.summary["finished"] == 12
        assert resumed.summary["status"] == "finished"
        numbers = [member.number for member in resumed.members]
        assert numbers == list(range(12))
        assert len({member.id for member in resumed.members}) == 12
    assert all(path.stat().st_mtime_ns == written for path, written in before.items())
    fresh = tmp_path / "fresh"
    jaxloop.run(sweep.parse(TINY, grown), out=fresh).close()
    same(run, fresh, range(12), rtol=0, atol=0)
    assert verify(run)["problems"] == []
    assert sweep.load(run / "sweep.toml").document.axes["seed"].count == 3
    with jaxloop.load(run) as loaded:  # its own sweep has the members in another order
        assert [m.hparams for m in loaded.members] == loaded.sweep_and_task[0].members
        assert len(ranked(loaded.store)) == 4


@pytest.mark.slow
def test_a_run_that_grows_may_be_unfinished(tmp_path):
    run = crashed(tmp_path / "run")
    with pytest.raises(Stopped):
        jaxloop.resume(run, overrides=("axes.seed.count=4",), observe=crash_at(1))
    jaxloop.resume(run).close()
    fresh = tmp_path / "fresh"
    jaxloop.run(sweep.parse(TINY, ("axes.seed.count=4",)), out=fresh).close()
    same(run, fresh, range(12), rtol=0, atol=0)
    assert verify(run)["problems"] == []


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("axes.seed.count=1", "3 of its 6 members are not in this sweep"),
        ("run.steps=80", "6 of its 6 members are not in this sweep"),
        ("run.evaluate_every=10", "run.evaluate_every: needs to stay 20"),
        ("evaluate.batch_size=10", "evaluate.batch_size: needs to stay 1000"),
        ("data.seed=5", "data: needs to stay"),
        ("axes.seed.count=nine", "axes.seed.count"),
    ],
)
def test_what_a_run_may_not_become_is_refused(tmp_path, whole, override, told):
    before = sorted((path, path.read_bytes()) for path in whole.rglob("*") if path.suffix in (".toml", ".json"))
    with pytest.raises(SweepError, match=told):
        jaxloop.resume(whole, overrides=(override,))
    after = sorted((path, path.read_bytes()) for path in whole.rglob("*") if path.suffix in (".toml", ".json"))
    assert before == after


@pytest.mark.slow
def test_a_fork_is_a_run_of_its_own(tmp_path, whole, jaxloop_command):
    with jaxloop.fork(whole, overrides=("run.steps=40",), out=tmp_path / "fork") as fork:
        assert {member.step for member in fork.members} == {40}
        assert fork.store.get("forked_from") == str(whole)
    other = ("hparams.optimizer=sgd", "run.steps=20")  # which takes no b1, that was written out for adamw
    with jaxloop.fork(whole, overrides=other, out=tmp_path / "sgd") as fork:
        assert {member.hparams["optimizer"] for member in fork.members} == {"sgd"}
    done = jaxloop_command("fork", whole, "--set", "run.steps=20", "--json")
    assert json.loads(done.stdout)["run"] == f"{whole}-2"
    assert json.loads((whole.parent / "run-2" / "run.json").read_text())["forked_from"] == str(whole)


@pytest.mark.parametrize("every", ["20", "50", "60", "10", "200"])
def test_no_turn_ends_past_the_interval_between_checkpoints(tmp_path, monkeypatch, every):
    """Whatever kills a turn, what is lost is at most an interval, or the turn itself where that is longer."""
    lost = []

    def begin(stream, begin=Stream.begin):
        with Store(tmp_path / "run") as store:
            checkpoint = store.get("checkpoint", {"turn": 0})["turn"]
        turn = 1 + int(stream.slots.steps[stream.slots.seated].max(initial=0)) // 20
        lost.append(20 * (turn - checkpoint))
        return begin(stream)

    monkeypatch.setattr(Stream, "begin", begin)
    overrides = (f"checkpoint.every={every}", "run.steps=240", "axes.seed.count=1", "population.capacity=3")
    assert jaxloop.run(sweep.parse(TINY, overrides), out=tmp_path / "run").summary["finished"] == 3
    assert len(lost) == 13  # the last finds nobody left
    assert max(lost) == max(20, int(every) // 20 * 20)


@pytest.mark.parametrize("changed", ["code", "data", "jax", "sweep"])
def test_drift_is_shown_and_refused(tmp_path, monkeypatch, changed):
    (tmp_path / "mine.py").write_text(TASK)
    (tmp_path / "tiny.toml").write_text(TINY.replace('"digits"', '"mine.py:task"'))
    run = tmp_path / "run"
    with pytest.raises(Stopped):
        jaxloop.run(tmp_path / "tiny.toml", overrides=("run.steps=100",), out=run, observe=crash_at(2))
    if changed == "code":
        (tmp_path / "mine.py").write_text(TASK + "# a comment\n")
    elif changed == "data":
        code = TASK + "task.data.train['x'][0, 0] += 1\n"
        (tmp_path / "mine.py").write_text(code)
    elif changed == "jax":
        with Store(run) as store:
            store.put(origins=[{**store.get("origins")[0], "jax": "0.9.0"}])
    else:
        (run / "sweep.toml").write_text((run / "sweep.toml").read_text().replace("steps = 100", "steps = 90"))
    told = {"code": "code: was", "data": "data: was", "jax": "jax: was 0.9.0, is", "sweep": r"\+steps = 90"}
    with pytest.raises(DamagedError, match=told[changed]) as refused:
        jaxloop.resume(run)
    assert "--allow-drift" in str(refused.value)
    assert "jaxloop fork" in str(refused.value)
    assert ("+# a comment" in str(refused.value)) == (changed == "code")
    with jaxloop.load(run) as loaded:
        assert loaded.store.counts()["finished"] == 0
    with pytest.raises(Stopped):
        jaxloop.resume(run, allow_drift=True, observe=crash_at(2))
    with jaxloop.resume(run) as resumed:  # accepted once, it is no drift any more
        assert resumed.summary["finished"] == 6
        (drift,) = resumed.store.get("drift", [])
    assert drift["turn"] == 2
    assert verify(run)["problems"] == []


def test_a_task_that_gains_an_hparam_has_drifted_and_is_still_read(tmp_path):
    (tmp_path / "mine.py").write_text(TASK)
    (tmp_path / "tiny.toml").write_text(TINY.replace('"digits"', '"mine.py:task"'))
    run = tmp_path / "run"
    with pytest.raises(Stopped):
        jaxloop.run(
            tmp_path / "tiny.toml", overrides=("axes.steps.values=[20, 60]",), out=run, observe=crash_at(2)
        )
    more = "import dataclasses\ntask = dataclasses.replace(task, hparams={**task.hparams, 'extra': 0.5})\n"
    (tmp_path / "mine.py").write_text(TASK + more)
    with jaxloop.load(run) as loaded:
        assert loaded.params(0)
    with pytest.raises(DamagedError, match="code: was"):
        jaxloop.resume(run)
    with jaxloop.resume(run, allow_drift=True) as resumed:
        assert resumed.summary["finished"] == 12
    assert verify(run)["problems"] == []


def test_what_is_refused_leaves_no_drift_behind(tmp_path):
    (tmp_path / "mine.py").write_text(TASK)
    (tmp_path / "tiny.toml").write_text(TINY.replace('"digits"', '"mine.py:task"'))
    run = crashed_at = tmp_path / "run"
    with pytest.raises(Stopped):
        jaxloop.run(tmp_path / "tiny.toml", out=crashed_at, observe=crash_at(2))
    (tmp_path / "mine.py").write_text(TASK + "# a comment\n")
    huge = ("axes.seed.count=3", "axes.width.values=[16, 4000000]")
    with pytest.raises((SweepError, ResourceError)):
        jaxloop.resume(run, allow_drift=True, overrides=huge)
    with jaxloop.load(run) as loaded:
        assert loaded.store.get("drift", []) == []
        assert len(loaded.members) == 6


def test_a_run_that_cannot_be_made_leaves_nothing(tmp_path, monkeypatch, jaxloop_command):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "put", full)
        with pytest.raises(OSError, match="No space"):
            jaxloop.run(sweep.parse(TINY), out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    (tmp_path / "tiny.toml").write_text(TINY)
    done = jaxloop_command("population", tmp_path / "tiny.toml", "--out", tmp_path / "file" / "run")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


@pytest.mark.slow
def test_the_devices_that_a_run_began_on_are_used_again(tmp_path, jaxloop_command):
    def on(devices, *words):
        done = jaxloop_command(*words, "--json", env={**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)})
        return json.loads(done.stdout)

    run = crashed(tmp_path / "run", "run.steps=400", "population.capacity=8")  # on two
    one = on(1, "resume", run, "--set", "axes.seed.count=3")
    two = on(2, "resume", run, "--set", "axes.seed.count=4")
    four = on(4, "resume", run, "--set", "axes.seed.count=5")
    assert [found["devices"] for found in (one, two, four)] == [1, 2, 2]
    assert "devices 2 -> 1" in one["notes"][0]
    assert "devices 1 -> 2" in two["notes"][0]
    assert four["notes"] == ["2 of 4 devices are used: as many as the run began on"]


def test_to_a_finished_run_drift_matters_once_it_grows(tmp_path):
    (tmp_path / "mine.py").write_text(TASK)
    (tmp_path / "tiny.toml").write_text(TINY.replace('"digits"', '"mine.py:task"'))
    run = jaxloop.run(tmp_path / "tiny.toml", out=tmp_path / "run").path
    (tmp_path / "mine.py").write_text(TASK + "# a comment\n")
    with jaxloop.resume(run, allow_drift=True) as resumed:
        assert resumed.store.get("drift", []) == []
    with pytest.raises(DamagedError, match="code: was"):
        jaxloop.resume(run, overrides=("axes.seed.count=3",))
    with jaxloop.resume(run, overrides=("axes.seed.count=3",), allow_drift=True) as grown:
        assert [each["changes"][0][:10] for each in grown.store.get("drift")] == ["code: was "]
        assert grown.summary["finished"] == 9


def test_final_parameters_that_were_damaged_are_told_of_at_resume(tmp_path, jaxloop_command):
    run = jaxloop.run(sweep.parse(TINY), out=tmp_path / "run").path
    (folder,) = (run / "finished").iterdir()
    victim = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-1])
    done = jaxloop_command("resume", run, "--json")
    (note,) = json.loads(done.stdout)["notes"][:1]
    assert "final parameters of members [0, 1, 2, 3, 4, 5] are lost" in note
    assert str(victim.name) in note


def test_the_disk_is_checked_before_anything_is_written(tmp_path, monkeypatch):
    need = []
    monkeypatch.setattr(
        disk.shutil, "disk_usage", lambda path: need.append(path) or type("", (), {"free": 1 << 20})
    )
    with pytest.raises(ResourceError, match=r"needs about .*B of disk, 1.05 MB are free"):
        jaxloop.run(sweep.parse(TINY), out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("every", ["20", '"60s"'])
def test_the_estimate_of_the_disk_holds_what_a_run_takes(tmp_path, every):
    swept = sweep.parse(TINY, ("axes.seed.count=8", f"checkpoint.every={every}"))
    estimate = planned.plan(swept, jaxloop.api.task_of(swept))["disk_bytes"]
    run = jaxloop.run(swept, out=tmp_path / "run").path
    taken = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    copies = sum(path.stat().st_size for path in run.glob("members/*/checkpoint/**/*") if path.is_file())
    assert taken - copies < estimate < 10 * taken


def test_a_lock_names_its_owner_and_is_not_stolen(whole):
    with lock.held(whole):
        with pytest.raises(LockedError, match=r"locked by process \d+ on .*"):
            jaxloop.resume(whole)
        assert lock.is_held(whole)
        with pytest.raises(LockedError):
            verify(whole)
    assert not lock.is_held(whole)


OWNERS = (
    *("", "[]", "{", "\x00", '{"pid": 1}', '{"host": "x", "pid": "y", "started": 0}'),
    *('{"host": "x", "started": 0, "pid": 1e999}', '{"host": "HOST", "started": 0, "pid": -5}'),
)


@pytest.mark.parametrize("text", OWNERS)
def test_a_damaged_owner_is_nobody(whole, text):
    (whole / lock.OWNER).write_text(text.replace("HOST", socket.gethostname()))
    assert not lock.is_held(whole)
    with Store(whole) as store:
        assert run_json(store)["status"] == "finished"
    (whole / lock.OWNER).unlink()


@pytest.mark.slow
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_run_at_once(tmp_path, second):
    (tmp_path / "tiny.toml").write_text(TINY)
    run = tmp_path / "run"
    long = ["--set", "run.steps=100000000", "--set", "run.evaluate_every=10000000"]
    process = subprocess.Popen([JAXLOOP, "population", str(tmp_path / "tiny.toml"), "--out", str(run), *long])
    until = time.monotonic() + 60
    while not lock.is_held(run):
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None, "the first one waits for the chunk"
    process.send_signal(second)
    assert process.wait(timeout=10) in (-second, 128 + second)
    assert verify(run)["problems"] == []


@pytest.mark.slow
def test_twelve_readers_never_wait_and_see_no_wrong_row(tmp_path, jaxloop_command):
    """Whoever reads while a run goes finds each member's points without a gap, none twice, none from ahead."""
    run, done = tmp_path / "run", threading.Event()
    failures, reads = [], []

    def read(kind):
        while not done.is_set():
            if not (run / "run.sqlite").exists():
                continue
            try:
                if kind == "tensorboard":
                    for folder in list((run / "members").glob("0*"))[:1]:
                        reader = EventAccumulator(str(folder))
                        reader.Reload()
                        for tag in reader.Tags()["scalars"]:
                            steps = [event.step for event in reader.Scalars(tag)]
                            assert steps == sorted(set(steps))
                elif kind in ("show", "ls", "best"):
                    where = tmp_path if kind == "ls" else run
                    answer = jaxloop_command(kind, where, "--json")
                    assert answer.returncode == 0, answer.stderr
                    found = json.loads(answer.stdout)
                    rows = found["members"] if kind == "show" else found
                    assert len(rows) == {"show": 12, "ls": 1, "best": len(rows)}[kind]
                    assert all(row["complete"] == (row["finished"] == 4) for row in rows if kind == "best")
                    assert all(row["step"] % 20 == 0 for row in rows if kind == "show")
                else:
                    with Store(run) as store:
                        assert run_json(store)["members"] == 12
                        assert run_json(store)["status"] in ("created", "running", "finished")
                        for member in store.members():
                            steps = store.steps(member.number)
                            assert steps.tolist() == list(range(20, len(steps) * 20 + 1, 20))
                            assert member.step <= (steps[-1] if len(steps) else 0)
                        if "validation/loss" in store.metric_names():
                            ranked(store, "validation/loss", "min", so_far=True)
                reads.append(kind)
            except Exception as error:
                failures.append(repr(error))
                return

    with ThreadPoolExecutor(12) as pool:
        for kind in ["store"] * 3 + ["show", "ls", "best"] * 2 + ["tensorboard"] * 3:
            pool.submit(read, kind)
        try:
            summary = jaxloop.run(
                sweep.parse(TINY, ("run.steps=500", "axes.seed.count=4", "checkpoint.every=100")), out=run
            ).summary
        finally:
            done.set()
    assert not failures, failures[0]
    assert summary["finished"] == 12
    assert reads.count("store") > 20
    assert {"show", "ls", "best", "tensorboard"} <= set(reads)
    assert verify(run)["problems"] == []


def test_doctor_tells_what_this_machine_gives(jaxloop_command, tmp_path):
    done = jaxloop_command("doctor", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["versions"]["jax"] == jax.__version__
    assert found["cores"] >= len(found["devices"]) >= 1
    assert found["usable_bytes_per_device"] > 1 << 28
    assert found["disk"]["free_bytes"] > 0
    assert found["disk"]["writable"]
    assert abs(found["clock"]["disk_differs_by_seconds"]) < 2
    assert found["problems"] == []
    assert "problem    none found" in jaxloop_command("doctor", cwd=tmp_path).stdout
    assert list(tmp_path.iterdir()) == []
