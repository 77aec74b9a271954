"""Failures a user can act on, each with its exit code."""

import errno
import os
import sqlite3
import traceback

PACKAGE, STANDARD_LIBRARY = os.path.dirname(__file__), os.path.dirname(os.__file__)
FAILED_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
FAILED_STORE = (
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY),
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM),
)


class JaxloopError(Exception):
    """Shown as one message without a traceback; `code` is the process's exit code."""

    code = 1


class SweepError(JaxloopError):
    """Bad usage or a bad sweep; nothing was written."""

    code = 2


class NotFoundError(JaxloopError):
    code = 3


class DamagedError(JaxloopError):
    """Data that is damaged or from an incompatible run."""

    code = 4


class ResourceError(JaxloopError):
    """Out of memory or disk, or a disk that cannot be written any more."""

    code = 5


class LockedError(JaxloopError):
    code = 7


class PeerError(JaxloopError):
    """Another of several processes that train a run together has stopped."""

    code = 8


def told(error: BaseException) -> str:
    """An exception from a user's code in one line: its type, what it says first, the innermost line of theirs."""
    theirs = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename)]
    where = f" ({theirs[-1].filename}:{theirs[-1].lineno})" if theirs else ""
    if isinstance(error, SyntaxError):
        where = f" ({error.filename}:{error.lineno})"
    message = error.args[0] if isinstance(error, KeyError) and error.args else error  # its str is a repr
    says = str(message).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {says[0]}{where}"


def is_users(filename: str) -> bool:
    """Whether a frame's code is a user's: no library's, not ours, not what dataclasses generate ("<string>")."""
    return not any(
        part in filename for part in ("site-packages", PACKAGE + os.sep, STANDARD_LIBRARY + os.sep, "<")
    )


def is_out_of_resources(error: BaseException) -> bool:
    """Whether memory or disk ran out or failed, as Python, SQLite, tensorstore (in its words) or XLA tell it."""
    if isinstance(error, OSError):
        return error.errno in FAILED_DISK
    if isinstance(error, sqlite3.Error):
        return sqlite_code(error) in FAILED_STORE
    in_words = any(os.strerror(number) in str(error) for number in FAILED_DISK)
    return in_words or is_out_of_memory(error)


def sqlite_code(error: sqlite3.Error) -> int:
    """SQLite's own code of an error, such as `sqlite3.SQLITE_FULL`; 0 where Python raised it."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_unwritable(error: OSError) -> bool:
    """Whether a path cannot be written: another's, on a read-only disk, too long, or not what was thought."""
    kinds = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
    return error.filename is not None and error.errno in kinds


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, the machine's or a device's."""
    return isinstance(error, MemoryError) or is_out_of_device_memory(error)


def is_out_of_device_memory(error: BaseException) -> bool:
    """Whether a device's memory ran out, in XLA's words."""
    return "RESOURCE_EXHAUSTED" in str(error)


TOLD = 300  # characters of a library's own words
NO_MEMBER_FINISHED = 6
INTERRUPTED = 128  # plus the signal's number: 130, 143
