"""A run that goes on: elsewhere, with more members, with other settings; or as a run of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from conftest import JAXLOOP, TINY
from helpers.stopping import Stopped, crash_at, crashed

import jaxloop
from jaxloop.errors import SweepError
from jaxloop.readers.verify import verify
from jaxloop.storage import lock
from jaxloop.storage.overview import overview
from jaxloop.storage.ranking import ranked
from jaxloop.storage.store import Store
from jaxloop.sweep import sweep
from jaxloop.training import recorder
from jaxloop.training.host import cores
from jaxloop.training.stream import Stream

pytestmark = pytest.mark.optimized


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


@pytest.mark.slow
def test_a_run_goes_on_at_other_capacities(tmp_path, whole):
    """With fewer slots than members in training, some of these wait with what they have, and are saved."""
    run = crashed(tmp_path / "run", turn=1)
    smaller = ("population.capacity=4", "population.group_size=2")
    with pytest.raises(Stopped):
        jaxloop.resume(run, overrides=smaller, observe=crash_at(1))
    found = verify(run)
    assert (found["problems"], found["checked"]["checkpoints"]) == ([], 2)
    with jaxloop.resume(run, overrides=("population.capacity=32",)) as resumed:
        assert resumed.summary.capacity == 8
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
    on_four = {**os.environ, "JAX_NUM_CPU_DEVICES": "4"}
    grown = json.loads(jaxloop_command("resume", run, "--set", "axes.seed.count=3", "--json", env=on_four).stdout)
    assert (grown["devices"], grown["finished"]) == (2, 9)
    assert "2 of 4 devices are used: as many as the run began on" in grown["notes"]
    assert any("devices 1 -> 2" in note for note in grown["notes"])


@pytest.mark.slow
def test_training_that_a_killed_process_saved_is_counted(tmp_path):
    run = crashed(tmp_path / "run")
    with Store(run) as store:
        before = {"seconds": store.seconds, "member_steps": store.member_steps}
    assert before["member_steps"] == 6 * 40
    assert before["seconds"] > 0
    with jaxloop.resume(run) as resumed:
        assert resumed.store.member_steps == 6 * 60
        assert resumed.store.seconds == pytest.approx(resumed.summary.seconds, abs=1e-3)
        assert resumed.summary.seconds > before["seconds"]


@pytest.mark.slow
def test_a_run_that_trains_tells_what_it_took_since_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "COMMIT_SECONDS", 0.0)
    run = crashed(tmp_path / "run", "checkpoint.every=1000")
    with Store(run) as store:
        assert (store.seconds, store.member_steps) == (0.0, 0)
        assert store.totals()["seconds"] > 0
        assert store.totals()["member_steps"] == 6 * 40
        assert overview(store).seconds == store.totals()["seconds"]
    with jaxloop.resume(run) as resumed:
        assert resumed.store.since_checkpoint is None
        assert resumed.store.totals()["member_steps"] == 6 * 60  # what was lost counts once


@pytest.mark.slow
def test_another_metric_is_told_of(tmp_path):
    jaxloop.run(sweep.parse(TINY), out=tmp_path / "run").close()
    with jaxloop.resume(tmp_path / "run", overrides=("evaluate.metric=test/loss",)) as resumed:
        (note,) = resumed.summary.notes
    assert note == "members are ranked by test/loss min from now on; it was by validation/accuracy max"


@pytest.mark.slow
def test_what_a_run_cannot_change_is_for_a_fork(tmp_path):
    jaxloop.run(sweep.parse(TINY), out=tmp_path / "run").close()
    for override in ("hparams.optimizer=sgd", "run.task=mnist1d", "hparams.width=8"):
        with pytest.raises(SweepError, match=r"jaxloop fork .*run --set \.\.\."):
            jaxloop.resume(tmp_path / "run", overrides=(override,))


@pytest.mark.slow
@pytest.mark.skipif(cores() < 2, reason="one core is all that a device needs")
def test_a_run_that_jax_was_up_before_says_that_cores_are_idle(tiny, tmp_path):
    code = (
        "import jax, jaxloop; jax.devices()\n"
        f"run = jaxloop.run({str(tiny)!r}, out={str(tmp_path / 'run')!r})\n"
        "print(run.summary.devices, run.summary.notes)"
    )
    plain = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    done = subprocess.run([sys.executable, "-c", code], env=plain, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.startswith("1 ['JAX ran before jaxloop in this process, and ")


def test_a_finished_run_gets_more_members(tmp_path):
    run = tmp_path / "run"
    jaxloop.run(sweep.parse(TINY), out=run).close()
    before = {path: path.stat().st_mtime_ns for path in (run / "finished").rglob("*") if path.is_file()}
    with jaxloop.load(run) as loaded:
        rates = sorted({member.hparams["learning_rate"] for member in loaded.members})
    grown = ("axes.seed.count=3", f"axes.learning_rate.values={[*rates, 0.03]}")
    with jaxloop.resume(run, overrides=grown) as resumed:
        assert resumed.summary.finished == 12
        assert resumed.summary.status == "finished"
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
        ("run.steps=40", "6 of its 6 members are not in this sweep"),
        ("run.evaluate_every=10", "run.evaluate_every: needs to stay 20"),
        ("evaluate.batch_size=10", "evaluate.batch_size: needs to stay 1000"),
        ("data.seed=5", "data.seed: needs to stay 42"),
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
        assert fork.store.forked_from == str(whole)
    other = ("hparams.optimizer=sgd", "run.steps=20")  # which takes no b1, that was written out for adamw
    with jaxloop.fork(whole, overrides=other, out=tmp_path / "sgd") as fork:
        assert {member.hparams["optimizer"] for member in fork.members} == {"sgd"}
    done = jaxloop_command("fork", whole, "--set", "run.steps=20", "--json")
    assert json.loads(done.stdout)["run"] == f"{whole}-2"
    assert json.loads((whole.parent / "run-2" / "run.json").read_text())["forked_from"] == str(whole)


@pytest.mark.slow
@pytest.mark.parametrize("every", ["20", "50", "60", "10", "200"])
def test_no_turn_ends_past_the_interval_between_checkpoints(tmp_path, monkeypatch, every):
    """Whatever kills a turn, what is lost is at most an interval, or the turn itself where that is longer."""
    lost = []

    def begin(stream, begin=Stream.begin):
        with Store(tmp_path / "run") as store:
            checkpoint = store.checkpoint["turn"]
        turn = 1 + int(stream.slots.steps[stream.slots.seated].max(initial=0)) // 20
        lost.append(20 * (turn - checkpoint))
        return begin(stream)

    monkeypatch.setattr(Stream, "begin", begin)
    overrides = (f"checkpoint.every={every}", "run.steps=240", "axes.seed.count=1", "population.capacity=3")
    assert jaxloop.run(sweep.parse(TINY, overrides), out=tmp_path / "run").summary.finished == 3
    assert len(lost) == 13  # the last finds nobody left
    assert max(lost) == max(20, int(every) // 20 * 20)


@pytest.mark.slow
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_run_at_once(tmp_path, second):
    (tmp_path / "tiny.toml").write_text(TINY)
    run = tmp_path / "run"
    long = ["--set", "run.steps=100000000", "--set", "run.evaluate_every=10000000"]
    command = [JAXLOOP, "population", str(tmp_path / "tiny.toml"), "--out", str(run), *long]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not lock.is_held(run):
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None, "the first one waits for the chunk"
    process.send_signal(second)
    _, said = process.communicate(timeout=10)
    assert process.returncode in (-second, 128 + second)
    assert "a second signal stops at once" in said
    assert verify(run)["problems"] == []


def test_seconds_of_compiling_add_up(whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    with jaxloop.load(run) as loaded:
        first = loaded.store.compile_seconds
    assert first > 0
    with jaxloop.resume(run) as again:
        assert again.store.compile_seconds == first  # nothing was left to train
    with jaxloop.resume(run, overrides=("axes.seed.count=3",)) as grown:
        assert grown.store.compile_seconds > first
        assert json.loads((run / "run.json").read_text())["compile_seconds"] == grown.store.compile_seconds
