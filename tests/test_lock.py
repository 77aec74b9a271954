"""One process trains a run at a time, and says who it is."""

import socket

import pytest

import jaxloop
from jaxloop import lock
from jaxloop.errors import LockedError
from jaxloop.report import run_json
from jaxloop.store import Store
from jaxloop.verify import verify


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
