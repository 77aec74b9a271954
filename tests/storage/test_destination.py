"""A disk that is too small, full, or not ours to write."""

import errno
import subprocess
from types import SimpleNamespace

import pytest
from conftest import TINY

import jaxloop
from jaxloop.errors import ResourceError
from jaxloop.readers.verify import verify
from jaxloop.storage import destination
from jaxloop.storage.store import Store
from jaxloop.sweep import sweep
from jaxloop.training import plan


@pytest.mark.slow
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
    assert "file is a file" in done.stderr


def test_the_disk_is_checked_before_anything_is_written(tmp_path, monkeypatch):
    asked = []
    usage = SimpleNamespace(free=1 << 20)
    monkeypatch.setattr(destination.shutil, "disk_usage", lambda path: asked.append(path) or usage)
    with pytest.raises(ResourceError, match=r"needs about .*B of disk, 1.05 MB are free"):
        jaxloop.run(sweep.parse(TINY), out=tmp_path / "run")
    assert asked == [tmp_path]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("every", ["20", '"60s"'])
def test_the_estimate_of_the_disk_holds_what_a_run_takes(tmp_path, every):
    swept = sweep.parse(TINY, ("axes.seed.count=8", f"checkpoint.every={every}"))
    estimate = plan.plan(swept, jaxloop.api.task_of(swept)).disk_bytes
    run = jaxloop.run(swept, out=tmp_path / "run").path
    taken = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    copies = sum(path.stat().st_size for path in run.glob("members/*/checkpoint/**/*") if path.is_file())
    assert taken - copies < estimate < 10 * taken


@pytest.fixture
def read_only(tmp_path):
    """A run on a disk of its own that cannot be written any more."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(mounted)], capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here; test_faults.py tells of a read-only disk")
    try:
        jaxloop.run(sweep.parse(TINY), out=mounted / "run").close()
        subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
        yield mounted / "run"
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


@pytest.mark.slow
def test_a_read_only_disk_is_read_and_what_would_write_says_so(read_only, tmp_path, jaxloop_command):
    assert verify(read_only)["problems"] == []
    (tmp_path / "tiny.toml").write_text(TINY)
    for words in (["show", read_only], ["best", read_only], ["export", read_only, 0, tmp_path / "member"]):
        done = jaxloop_command(*words)
        assert (done.returncode, done.stderr) == (0, ""), words
    inside = read_only.parent
    for words in (
        ["resume", read_only],
        ["fork", read_only],
        ["export", read_only, 0, inside / "member"],
        ["population", tmp_path / "tiny.toml", "--out", inside / "other"],
    ):
        done = jaxloop_command(*words)
        assert done.returncode == 2, (words, done.stderr)
        assert "Read-only file system" in done.stderr
        assert "Traceback" not in done.stderr
