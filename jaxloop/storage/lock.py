"""One process trains a run at a time; readers ask who does, and never wait for it."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
import psutil

from jaxloop.errors import LockedError
from jaxloop.storage import run_folder
from jaxloop.storage.seal import write_whole

SAME_START = 2.0  # seconds that a process's start may seem to differ by


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Hold a run's lock to train it, which the system frees when the process dies, however it dies.

    Raises:
      LockedError: another process holds it.
    """
    with kept_out(run):
        me = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
            "folder": run.stat().st_ino,
        }
        write_whole(run_folder.owner(run), json.dumps(me))
        try:
            yield
        finally:
            with suppress(OSError):  # a disk that cannot be written any more; whoever is gone owns nothing
                run_folder.owner(run).unlink()


@contextmanager
def kept_out(run: Path) -> Iterator[None]:
    """Keep other processes from training or checking a run; on a read-only disk, make sure that none does.

    Raises:
      LockedError: somebody does.
    """
    if not os.access(run, os.W_OK):
        if is_held(run):
            raise LockedError(f"{run}: locked by {_who(run)}: wait for it, or stop it")
        yield
        return
    try:
        with filelock.FileLock(run_folder.lock(run), timeout=0):
            yield
    except filelock.Timeout:
        raise LockedError(f"{run}: locked by {_who(run)}: wait for it, or stop it") from None


def _who(run: Path) -> str:
    owner = _owner(run) if is_held(run) else None
    return f"process {owner['pid']} on {owner['host']}, which trains it" if owner else "another jaxloop command"


def is_held(run: Path) -> bool:
    """Return whether a process of this host trains the run."""
    owner = _owner(run)
    if owner is None or owner["host"] != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(owner["pid"]).create_time() - owner["started"]) < SAME_START
    except (psutil.Error, ValueError):
        return False


def other_host(run: Path) -> str | None:
    """Return the other host on which training began and did not end cleanly, if any; it may still go on there."""
    owner = _owner(run)
    return owner["host"] if owner and owner["host"] != socket.gethostname() else None


def _owner(run: Path) -> dict[str, Any] | None:
    """Return the process that last began training in this folder; None for a copy of the folder."""
    try:
        found = json.loads(run_folder.owner(run).read_text(encoding="utf-8"))
        owner = {"host": str(found["host"]), "pid": int(found["pid"]), "started": float(found["started"])}
        return owner if found.get("folder") in (None, run.stat().st_ino) else None
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return None
