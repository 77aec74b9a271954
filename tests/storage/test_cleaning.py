"""Space is freed of runs that have ended, never of one that needs what it has saved."""

import shutil

import pytest
from helpers.stopping import crashed

import jaxloop
from jaxloop.errors import NotFoundError
from jaxloop.readers.verify import verify


@pytest.fixture
def copy(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def files(run):
    return {path.relative_to(run) for path in run.rglob("*") if path.is_file()}


def test_nothing_is_deleted_unless_told(copy, jaxloop_command):
    before = files(copy)
    done = jaxloop_command("clean", copy)
    assert done.returncode == 0
    assert f"{copy}: would delete checkpoints, finished, states, checkpoint (6), " in done.stdout
    assert files(copy) == before


def test_results_outlive_parameters(copy, jaxloop_command):
    shown = jaxloop_command("show", copy, "--csv").stdout
    assert jaxloop_command("clean", copy, "--yes").returncode == 0
    assert not (copy / "finished").exists()
    assert jaxloop_command("show", copy, "--csv").stdout == shown
    assert verify(copy)["problems"] == []
    with jaxloop.load(copy) as run, pytest.raises(NotFoundError):
        run.params(0)


def test_a_run_with_members_left_to_train_keeps_its_checkpoints(tmp_path, copy, jaxloop_command):
    run = crashed(tmp_path / "crashed", turn=2)
    before = files(run)
    done = jaxloop_command("clean", run, "--yes")
    assert (done.returncode, files(run)) == (2, before)
    assert "has members left to train" in done.stderr
    both = jaxloop_command("clean", copy, run, "--yes")
    assert both.returncode == 2
    assert "the others were left as they are" in both.stderr
    assert (copy / "finished").exists()
    assert jaxloop_command("clean", run, "--all", "--yes").returncode == 0
    assert not run.exists()


def test_what_is_no_run_is_not_deleted(tmp_path, jaxloop_command):
    (tmp_path / "precious").mkdir()
    done = jaxloop_command("clean", tmp_path / "precious", "--all", "--yes")
    assert done.returncode == 3
    assert (tmp_path / "precious").is_dir()
