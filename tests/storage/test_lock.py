"""One process trains a run at a time, and says who it is."""

import json
import re
import shutil
import socket

import pytest

import jaxloop
from jaxloop.errors import LockedError
from jaxloop.readers.verify import verify
from jaxloop.storage import lock, run_folder
from jaxloop.storage.state import state
from jaxloop.storage.store import Store


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
    (whole / run_folder.OWNER).write_text(text.replace("HOST", socket.gethostname()))
    assert not lock.is_held(whole)
    with Store(whole) as store:
        assert state(store).status == "finished"
    (whole / run_folder.OWNER).unlink()


def test_what_another_host_began_to_train_cannot_be_told_from_here(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    with lock.held(run):
        owner = (run / run_folder.OWNER).read_text()
        with Store(run) as store:
            store.put(status="running")
            assert state(store).status == "running"
            copy = shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns(run_folder.LOCK))
            (run / run_folder.OWNER).write_text(json.dumps({**json.loads(owner), "host": "node-a"}))
            assert re.fullmatch(
                r"running on node-a as of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(cannot be checked from here\)",
                state(store).in_words(),
            )
            assert (state(store).json()["status"], state(store).json()["host"]) == ("running", "node-a")
        with Store(copy) as store:  # a copy is trained by nobody
            assert state(store).status == "interrupted"
    owner = {**json.loads(owner), "host": "node-a"}
    (run / run_folder.OWNER).write_text(json.dumps(owner))
    assert verify(run)["problems"] == []
    with jaxloop.resume(run) as resumed:
        assert state(resumed.store).status == "finished"
