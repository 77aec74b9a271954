"""Files of a run that were flipped, cut, lost or swapped for links: never a silent wrong value."""

import json
import os
import shutil
import socket
import sqlite3
from pathlib import Path

import jax
import numpy as np
import psutil
import pytest
from conftest import TINY
from helpers import stopping
from helpers.draws import draws

import jaxloop
from jaxloop.errors import DamagedError, LockedError
from jaxloop.readers.verify import verify
from jaxloop.storage import checkpoints, run_folder
from jaxloop.sweep import sweep
from jaxloop.training import train

FLIPS = 500


@pytest.fixture(scope="module")
def crashed(tmp_path_factory):
    """A run that ended at its third turn, with two checkpoints; and the same run, whole."""
    folder, lengths = tmp_path_factory.mktemp("crashed"), "axes.steps.values=[20, 100]"
    stopping.crashed(folder / "run", lengths, turn=3)
    jaxloop.run(sweep.parse(TINY, (lengths,)), out=folder / "whole").close()
    assert sorted(path.name for path in (folder / "run" / "checkpoints").iterdir()) == ["00000002", "00000003"]
    return folder


@pytest.fixture
def run(crashed, tmp_path):
    return shutil.copytree(crashed / "run", tmp_path / "run")


def resumed(run):
    with jaxloop.resume(run) as loaded:
        notes = loaded.summary.notes
        curves = {metric: loaded.curves(metric) for metric in loaded.store.metric_names()}
        return notes, curves, [jax.tree.leaves(loaded.params(member)) for member in loaded.members]


def same(found, whole):
    with jaxloop.load(whole) as loaded:
        for metric, curve in found[1].items():
            np.testing.assert_array_equal(curve, loaded.curves(metric))
        for member, params in zip(loaded.members, found[2], strict=True):
            assert all((a == b).all() for a, b in zip(params, jax.tree.leaves(loaded.params(member)), strict=True))


def files(folder: Path):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def contents(run: Path):
    """All that a run's folder holds: of each file its bytes, of the store its rows."""
    with jaxloop.load(run) as loaded:
        rows = list(loaded.store.connection.iterdump())
    own = ("run.sqlite", ".lock")
    return rows, {path: path.read_bytes() for path in files(run) if not path.name.startswith(own)}


def flip(path: Path, place: int, bit: int) -> bytes:
    """Flips a bit of a file; gives what was there."""
    kept = path.read_bytes()
    damaged = bytearray(kept)
    damaged[place] ^= 1 << bit
    path.write_bytes(damaged)
    return kept


def test_digests_are_lines_that_end(run):
    """A flipped bit makes the end of a line another character that ends lines, for some readers."""
    sums = run / "checkpoints" / "00000003" / "0" / "SHA256SUMS"
    kept = sums.read_bytes()
    for end in (b"\x0b", b"\x0c", b"\r", b"", b"x"):
        for text in (kept[:-1] + end, kept.replace(b"\n", end, 1)):
            sums.write_bytes(text)
            with pytest.raises(DamagedError, match="00000003"):
                checkpoints.check_population(run, 3, [0])


def test_no_flipped_bit_of_a_checkpoint_is_restored(run):
    """A sample of all bits of the latest checkpoint's files, each file at least once."""
    newest = run / "checkpoints" / "00000003"
    random_ = draws()
    every = [(path, place) for path in files(newest) for place in range(path.stat().st_size)]
    sample = [(path, random_.randrange(path.stat().st_size)) for path in files(newest)]
    for path, place in [*sample, *random_.sample(every, min(FLIPS, len(every)))]:
        kept = flip(path, place, random_.randrange(8))
        with pytest.raises(DamagedError, match="00000003"):
            checkpoints.check_population(run, 3, [0])
        path.write_bytes(kept)
    checkpoints.check_population(run, 3, [0])


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing", "partly copied", "no digests"])
def test_a_damaged_checkpoint_costs_its_interval_and_is_told(run, crashed, damage):
    newest = run / "checkpoints" / "00000003"
    largest = max(files(newest), key=lambda path: path.stat().st_size)
    if damage == "flipped":
        flip(largest, largest.stat().st_size // 2, 3)
    elif damage == "cut":
        largest.write_bytes(largest.read_bytes()[:-7])
    elif damage == "missing":
        largest.unlink()
    elif damage == "partly copied":
        shutil.rmtree(next(path for path in newest.rglob("d") if path.is_dir()))
    else:
        next(newest.rglob("SHA256SUMS")).unlink()
    found = verify(run)
    assert len(found["problems"]) == 1
    assert "00000003" in found["problems"][0]
    notes, *rest = resumed(run)
    assert len(notes) == 1
    assert "the last checkpoint is damaged" in notes[0]
    assert "going on from turn 2" in notes[0]
    same((notes, *rest), crashed / "whole")
    assert verify(run)["problems"] == []
    assert json.loads((run / "run.json").read_text())["notes"] == notes


def test_two_damaged_checkpoints_are_an_error_that_changes_nothing(run, jaxloop_command):
    for path in files(run / "checkpoints"):
        flip(path, 0, 0)
    before = contents(run)
    done = jaxloop_command("resume", run)
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert "00000003" in done.stderr
    assert "00000002" in done.stderr
    assert "jaxloop fork" in done.stderr
    assert contents(run) == before


def test_no_flipped_bit_of_final_parameters_is_read(run):
    """Of a member that had ended: it is refused, or the others' folders are untouched."""
    with jaxloop.load(run) as loaded:
        ended = next(member for member in loaded.members if member.final_folder)
        folder = run / ended.final_folder
        for path in files(folder):
            kept = flip(path, path.stat().st_size // 2, 5)
            with pytest.raises(DamagedError, match="finished"):
                loaded.params(ended)
            path.write_bytes(kept)
        assert jax.tree.leaves(loaded.params(ended))


@pytest.mark.parametrize("status", ["running", "finished"])
@pytest.mark.parametrize("how", ["flipped", "cut", "missing"])
def test_a_damaged_event_file_is_written_anew(run, crashed, status, how):
    with jaxloop.load(run) as loaded:
        running = next(member for member in loaded.members if member.status == status)
        path = next((run / "members" / running.folder).glob("events*"))
    if how == "flipped":
        flip(path, path.stat().st_size // 2, 1)
    elif how == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    else:
        path.unlink()
    notes, *rest = resumed(run)
    assert len(notes) == 1
    assert "written anew from the store" in notes[0]
    same((notes, *rest), crashed / "whole")
    assert verify(run)["problems"] == []


def test_damaged_final_parameters_do_not_keep_a_run_from_its_end(run):
    with jaxloop.load(run) as loaded:
        ended = [member for member in loaded.members if member.final_folder]
        for folder in {member.final_folder for member in ended}:
            path = max(files(run / folder), key=lambda file: file.stat().st_size)
            flip(path, path.stat().st_size // 2, 1)
    with jaxloop.resume(run) as loaded:
        assert loaded.summary.status == "finished"
        notes = loaded.summary.notes
        assert loaded.store.notes == notes
    lost = [note for note in notes if note.startswith("final parameters of members")]
    assert len(lost) == len({member.final_folder for member in ended})
    without = {note.partition(" gets ")[0] for note in notes if note not in lost}
    assert without == {f"member {member.number}" for member in ended}


@pytest.mark.parametrize("what", ["event", "hparams", "curve", "sweep", "missing member", "status"])
def test_verify_finds_what_does_not_fit(run, what):
    assert verify(run)["problems"] == []
    with jaxloop.load(run) as loaded:
        execute = loaded.store.connection.execute
        if what == "event":
            path = next((run / "members" / loaded.members[0].folder).glob("events*"))
            flip(path, path.stat().st_size // 2, 1)
        elif what == "hparams":
            execute("update members set hparams = replace(hparams, '32', '33') where number = 4")
        elif what == "curve":
            execute('update curves set "train/loss" = "train/loss" * 1.0001 where member = 2 and step = 20')
        elif what == "sweep":
            (run / "sweep.toml").write_text("[run]\n")
        elif what == "missing member":
            execute("delete from members where number = 3")
        else:
            execute("update members set status = 'finished' where status = 'running'")
    problems = verify(run)["problems"]
    assert problems
    assert all(len(problem.splitlines()) == 1 for problem in problems)


def test_a_checkpoint_without_a_part_of_the_members_is_refused(run):
    """What the store says of its parts may be damaged too: no member may be left out without a word."""
    with jaxloop.load(run) as loaded:
        checkpoint = loaded.store.checkpoint
        loaded.store.connection.execute("update members set step = step + 20 where status = 'running'")
        loaded.store.put(checkpoint={**checkpoint, "parts": []})
    with pytest.raises(DamagedError, match="the store says"):
        jaxloop.resume(run)


@pytest.mark.slow
def test_run_json_is_for_people(run, crashed, tmp_path):
    for damage in (lambda file: file.write_text("{"), Path.unlink):
        damage(run / "run.json")
        (problem,) = verify(run)["problems"]
        assert "run.json: is missing or damaged" in problem
        notes, *rest = resumed(run)
        assert any("run.json was missing or damaged" in note for note in notes)
        same((notes, *rest), crashed / "whole")
        found = json.loads((run / "run.json").read_text())
        assert (found["status"], found["versions"]["jax"], found["name"]) == ("finished", jax.__version__, "run")
        assert verify(run)["problems"] == []
    jaxloop.fork(run, out=tmp_path / "fork").close()
    before = json.loads((tmp_path / "fork" / "run.json").read_text())
    (tmp_path / "fork" / "run.json").unlink()
    jaxloop.resume(tmp_path / "fork").close()
    restored = json.loads((tmp_path / "fork" / "run.json").read_text())
    assert restored["forked_from"] == before["forked_from"] == str(run)


def test_a_run_that_is_not_ours_to_write_can_be_read(run, monkeypatch):
    with jaxloop.load(run) as loaded:
        members = loaded.members
    before = contents(run)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with jaxloop.load(run) as loaded:
        assert loaded.members == members
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            loaded.store.connection.execute("delete from members")
        assert verify(run)["problems"] == []
        me = {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}
        (run / run_folder.OWNER).write_text(json.dumps(me))
        with pytest.raises(
            LockedError, match=f"process {os.getpid()} on {me['host']}, which trains it: wait for it"
        ):
            verify(run)
    (run / run_folder.OWNER).unlink()
    assert contents(run) == before


def test_links_in_a_run_are_refused(run, tmp_path, jaxloop_command):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("here")
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").symlink_to(outside)
    done = jaxloop_command("resume", run)
    assert (done.returncode, "is a link" in done.stderr) == (4, True)
    assert (outside / "precious").read_text() == "here"
    assert [path.name for path in outside.iterdir()] == ["precious"]


@pytest.mark.parametrize("path", ["../../outside", "/etc", "finished/../../x", "finished/a/b", "..", ".hidden"])
def test_a_path_that_leads_out_of_a_run_is_refused(run, path):
    for column in ("finished", "folder"):
        with jaxloop.load(run) as loaded:
            loaded.store.connection.execute(f"update members set {column} = ? where number = 0", (path,))
            with pytest.raises(DamagedError, match="never writes"):
                loaded.params(0)
            with pytest.raises(DamagedError, match="never writes"):
                train.train(run, *loaded.sweep_and_task)


@pytest.mark.slow
def test_no_code_runs_from_a_runs_folder(run, jaxloop_command):
    (run / "evil.py").write_text(f"open({str(run / 'ran')!r}, 'w')\n")
    with jaxloop.load(run) as loaded:
        text = loaded.store.sweep.replace('task = "digits"', 'task = "evil.py:task"')
        loaded.store.put(sweep=text, written=text, folder=str(run))
    for words in (["resume", run], ["replay", run, "0"], ["export", run, "0", run.parent / "out"], ["fork", run]):
        done = jaxloop_command(*words)
        assert done.returncode == 4, (words, done.stderr)
        assert "runs no code from there" in done.stderr
    assert not (run / "ran").exists()


@pytest.mark.slow
def test_final_parameters_that_were_damaged_are_told_of_at_resume(tmp_path, jaxloop_command):
    run = jaxloop.run(sweep.parse(TINY), out=tmp_path / "run").path
    (folder,) = (run / "finished").iterdir()
    victim = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-1])
    done = jaxloop_command("resume", run, "--json")
    (note,) = json.loads(done.stdout)["notes"][:1]
    assert "all of its members have checkpoints of their own" in note
    assert str(victim.name) in note
    shutil.rmtree(next(run.glob("members/0003-*/checkpoint")))
    done = jaxloop_command("resume", run, "--json")
    assert "final parameters of members 3 are lost" in json.loads(done.stdout)["notes"][0]


def test_a_members_own_checkpoint_serves_where_the_other_copy_is_damaged(tmp_path):
    with jaxloop.run(sweep.parse(TINY), out=tmp_path / "run") as run:
        before = jax.tree.leaves(run.params(3))
        victim = max(files(run.path / "finished"), key=lambda path: path.stat().st_size)
        flip(victim, victim.stat().st_size // 2, 1)
        assert all((a == b).all() for a, b in zip(before, jax.tree.leaves(run.params(3)), strict=True))
        shutil.rmtree(next(run.path.glob("members/0003-*/checkpoint")))
        with pytest.raises(DamagedError, match="SHA-256"):
            run.params(3)


def test_a_run_whose_store_is_gone_says_so(run, jaxloop_command):
    run_folder.database(run).unlink()
    said = jaxloop_command("best", run)
    assert said.returncode == 4
    assert "run.sqlite: is missing, and with it statuses and curves" in said.stderr
    assert f"{run_folder.sweep(run)} is what was trained" in said.stderr


def test_a_folder_with_a_sweep_alone_is_no_damaged_run(run, tmp_path, jaxloop_command):
    (tmp_path / "mine").mkdir()
    shutil.copy(run_folder.sweep(run), tmp_path / "mine")
    assert jaxloop_command("best", tmp_path / "mine").returncode == 3


def test_a_sweep_file_that_is_lost_is_written_anew(run, crashed):
    (run / "sweep.toml").unlink()
    (problem,) = verify(run)["problems"]
    assert "sweep.toml: is missing; `resume` writes it anew" in problem
    found = resumed(run)
    assert f"{run / 'sweep.toml'} was missing: written anew from the store" in found[0]
    same(found, crashed / "whole")
    assert verify(run)["problems"] == []


def test_a_members_own_checkpoint_that_was_damaged_is_written_anew_or_told_lost(tmp_path):
    run = jaxloop.run(sweep.parse(TINY), out=tmp_path / "run").path
    own = next(run.glob("members/0003-*/checkpoint"))
    for finals_are_kept in (True, False):
        victim = max(files(own), key=lambda path: path.stat().st_size)
        before = victim.read_bytes()
        flip(victim, len(before) // 2, 3)
        assert any("its SHA-256 is another" in problem for problem in verify(run)["problems"])
        with jaxloop.resume(run) as resumed:
            (note,) = (each for each in resumed.summary.notes if "own checkpoint" in each)
        assert f"member 3's own checkpoint is {'deleted' if finals_are_kept else 'lost'}" in note
        assert (verify(run)["problems"] == []) == finals_are_kept
        jaxloop.resume(run, overrides=("checkpoint.keep=best:3",)).close()  # which has the only copies then
