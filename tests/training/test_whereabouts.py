"""Runs that are moved, reached through links, begun at once, or named at length."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import JAXLOOP
from helpers import line

import jaxloop
from jaxloop.errors import DamagedError, SweepError
from jaxloop.readers.verify import verify
from jaxloop.training import replay


def trained(folder, **parts):
    with jaxloop.run(line.written(folder, **parts), out=folder / "runs" / "line") as run:
        return run.path


def test_a_project_that_is_moved_with_its_runs_goes_on(tmp_path):
    trained(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    path = tmp_path / "b" / "runs" / "line"
    with jaxloop.load(path) as run:
        assert replay.train_alone(*run.sweep_and_task, run.store, 0)["largest_difference"] == 0.0
        assert np.isfinite(run.params(1)["w"]).all()
    with jaxloop.resume(path, overrides=("axes.seed.count=2",)) as run:
        assert [member.status for member in run.members] == ["finished"] * 4
        assert run.store.folder == str(tmp_path / "b")
    assert verify(path)["problems"] == []
    assert len(jaxloop.fork(path, out=tmp_path / "fork").members) == 4


def test_a_copied_project_is_read_beside_its_copy_not_from_the_original(tmp_path):
    trained(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a" / "line.py").write_text("raise RuntimeError('the original')")
    assert jaxloop.load(tmp_path / "b" / "runs" / "line").sweep_and_task[1].hparams == {}


def test_a_run_that_is_moved_without_its_project_finds_it_where_it_was(tmp_path):
    path = trained(tmp_path / "a")
    moved = path.rename(tmp_path / "elsewhere")
    assert np.isfinite(jaxloop.load(moved).params(0)["w"]).all()


def test_a_task_that_is_moved_alone_is_named_and_recognized(tmp_path):
    path = trained(tmp_path / "a")
    (tmp_path / "c").mkdir()
    (tmp_path / "a" / "line.py").rename(tmp_path / "c" / "line.py")
    with pytest.raises(SweepError, match=r"no file .*a/line\.py.*--folder"):
        jaxloop.resume(path, overrides=("axes.seed.count=2",))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "line.py").write_text(line.LINE + "# another\n")
    with pytest.raises(DamagedError, match="code: was"):
        jaxloop.resume(path, overrides=("axes.seed.count=2",), folder=tmp_path / "d")
    jaxloop.resume(path, overrides=("axes.seed.count=2",), folder=tmp_path / "c").close()
    with jaxloop.load(path) as run:  # from now on it is known
        assert len(run.members) == 4
        assert run.params(3)["w"].shape == (1,)


def test_data_that_are_moved_alone_are_found_by_their_name(tmp_path):
    np.savez(tmp_path / "numbers.npz", x=np.ones((40, 3)), y=np.ones(40))
    text = (
        '[run]\ntask = "arrays"\nsteps = 2\n[data]\npath = "PATH"\n[hparams]\nmodel = "linear"\nbatch_size = 4\n'
    )
    file = tmp_path / "arrays.toml"
    file.write_text(text.replace("PATH", str(tmp_path / "numbers.npz")))
    jaxloop.run(file, out=tmp_path / "run").close()
    (tmp_path / "c").mkdir()
    (tmp_path / "numbers.npz").rename(tmp_path / "c" / "numbers.npz")
    assert jaxloop.load(tmp_path / "run", folder=tmp_path / "c").params(0)["out"]["kernel"].shape == (3, 1)
    with pytest.raises(SweepError, match=r"data.path|numbers.npz"):  # a new run is told, not served another file
        jaxloop.run(file, out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_link_to_a_run_is_followed_and_a_link_inside_is_refused(tmp_path, monkeypatch):
    path = trained(tmp_path / "real")
    monkeypatch.chdir(tmp_path)
    os.symlink(path, "link")
    os.symlink(tmp_path / "real", "folder")
    assert verify(tmp_path / "link")["problems"] == []
    jaxloop.resume("link", overrides=("axes.seed.count=2",)).close()
    with jaxloop.resume("folder/runs/line", overrides=("axes.seed.count=3",)) as run:
        assert len(run.members) == 6
        assert run.store.folder_from_run == "../.."
    os.symlink("/etc", path / "finished" / "out")
    with pytest.raises(DamagedError, match="is a link"):
        jaxloop.resume("link", overrides=("axes.seed.count=4",))


@pytest.mark.slow
def test_of_starts_at_once_each_gets_a_folder(tmp_path):
    line.written(tmp_path)
    command = [JAXLOOP, "population", "line.toml"]
    assert [code for _, code in line.at_once(command, command, command, cwd=tmp_path)] == [0, 0, 0]
    assert sorted(os.listdir(tmp_path / "runs")) == ["line", "line-2", "line-3"]
    fork = [JAXLOOP, "fork", "runs/line"]
    assert [code for _, code in line.at_once(fork, fork, cwd=tmp_path)] == [0, 0]
    assert sorted(os.listdir(tmp_path / "runs")) == ["line", "line-2", "line-3", "line-4", "line-5"]
    assert [jaxloop.load(tmp_path / "runs" / name).store.name for name in ("line", "line-5")] == [
        "line",
        "line-5",
    ]
    chosen = [*command, "--out", "one"]
    codes = line.at_once(chosen, chosen, cwd=tmp_path)
    assert sorted(code for _, code in codes) == [0, 2]
    assert any("exists already" in said for said, _ in codes)


def test_a_folder_that_is_none_is_told(tmp_path):
    path = trained(tmp_path / "a")
    for folder, says in ((tmp_path / "nope", "is no folder"), (tmp_path / "a" / "line.py", "is a file")):
        with pytest.raises(SweepError, match=f"--folder: .* {says}"):
            jaxloop.load(path, folder=folder).params(0)


@pytest.mark.slow
def test_the_longest_name_a_file_system_takes_is_taken_and_longer_ones_are_refused(tmp_path, jaxloop_command):
    file = line.written(tmp_path)
    with jaxloop.run(file, out=tmp_path / ("x" * 255)) as run:
        assert len(run.members) == 2
    assert verify(run.path)["problems"] == []
    for words in (
        ["population", file, "--out", "x" * 256],
        ["population", f"{'x' * 300}.toml"],
        ["ls", "x" * 300],
    ):
        done = jaxloop_command(*words, cwd=tmp_path)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert "too long" in done.stderr
    deep = Path(*["d" * 100] * 6)
    done = jaxloop_command("population", file, "--out", deep, cwd=tmp_path)
    assert (done.returncode, "path too long: needs at most 490 bytes" in done.stderr) == (2, True)
    assert not (tmp_path / ("d" * 100)).exists()
    for words in (["show"], ["best"], ["verify"], ["resume"], ["fork"]):
        done = jaxloop_command(*words, "z" * 300, cwd=tmp_path)
        assert (done.returncode, len(done.stderr.splitlines())) == (3, 1), done.stderr


LETTERS = [("学習率の効果", "なし"), ("ключ", "значение " * 30), ("🤖", "🤖" * 60), ("e\u0301", "n\u0303" * 90)]


@pytest.mark.parametrize(("name", "value"), LETTERS, ids=["Japanese", "Russian", "emoji", "combining"])
def test_names_of_members_folders_are_cut_to_bytes(tmp_path, name, value):
    task = line.changed(line.LINE, ("split))", f"split), hparams={{{name!r}: 'a'}})"))
    sweep = line.SWEEP + f'"{name}" = {{ values = ["{value}"] }}\n'
    path = trained(tmp_path, task=task, sweep=sweep)
    folders = [folder.name for folder in (path / "members").iterdir() if folder.is_dir()]
    assert len(folders) == 2
    assert max(len(folder.encode()) for folder in folders) <= 125
    assert verify(path)["problems"] == []
