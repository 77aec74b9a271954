"""Who reads a run while it goes, and who has stopped to read what it prints."""

import json
import shlex
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import JAXLOOP, TINY
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import jaxloop
from jaxloop.readers.verify import verify
from jaxloop.storage.ranking import ranked
from jaxloop.storage.state import state
from jaxloop.storage.store import Store
from jaxloop.sweep import sweep


@pytest.mark.slow
def test_nine_readers_never_wait_and_see_no_wrong_row(tmp_path, jaxloop_command):
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
                        assert sum(state(store).counts.values()) == 12
                        assert state(store).status in ("created", "running", "finished")
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

    with ThreadPoolExecutor(9) as pool:
        for kind in ["store"] * 3 + ["show", "ls", "best"] + ["tensorboard"] * 3:
            pool.submit(read, kind)
        try:
            summary = jaxloop.run(
                sweep.parse(TINY, ("run.steps=240", "axes.seed.count=4", "checkpoint.every=80")), out=run
            ).summary
        finally:
            done.set()
    assert not failures, failures[0]
    assert summary.finished == 12
    assert reads.count("store") > 20
    assert {"show", "ls", "best", "tensorboard"} <= set(reads)
    assert verify(run)["problems"] == []


@pytest.mark.slow
def test_a_run_goes_on_when_nobody_reads_what_it_prints(tiny, tmp_path):
    run = tmp_path / "run"
    words = [JAXLOOP, "population", str(tiny), "--out", str(run), "--set", "run.steps=400"]
    piped = f"{shlex.join(words)} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", piped], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert verify(run)["problems"] == []
    with jaxloop.load(run) as loaded:
        assert loaded.store.counts()["finished"] == 6


@pytest.mark.slow
@pytest.mark.parametrize("words", [["show"], ["best"], ["verify"]])
def test_a_reader_that_leaves_ends_what_only_prints(tiny, tmp_path, words):
    run = jaxloop.run(sweep.load(tiny), out=tmp_path / "run").path
    piped = f"{shlex.join([JAXLOOP, *words, str(run)])} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", piped], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_folder_that_is_not_there_is_told(tmp_path, jaxloop_command):
    done = jaxloop_command("ls", tmp_path / "nowhere")
    assert (done.returncode, "no such folder" in done.stderr) == (3, True)
    done = jaxloop_command("ls", cwd=tmp_path)
    assert (done.returncode, "makes one" in done.stderr) == (0, True)
