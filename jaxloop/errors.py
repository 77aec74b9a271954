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
    """There is no such run, member, metric or file."""

    code = 3


class DamagedError(JaxloopError):
    """Data that is damaged or from an incompatible run."""

    code = 4


class ResourceError(JaxloopError):
    """Memory or disk ran out, or a disk or a data source failed."""

    code = 5


class LockedError(JaxloopError):
    """Another process trains or checks the run."""

    code = 7


class PeerError(JaxloopError):
    """Another of several processes that train a run together has stopped."""

    code = 8


def told(error: BaseException) -> str:
    """Describe an exception from a user's code in a line: type, message, their innermost line of code."""
    theirs = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename)]
    where = f" ({theirs[-1].filename}:{theirs[-1].lineno})" if theirs else ""
    if isinstance(error, SyntaxError):
        where = f" ({error.filename}:{error.lineno})"
    message = error.args[0] if isinstance(error, KeyError) and error.args else error  # its str is a repr
    says = str(message).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {says[0]}{where}"


def is_users(filename: str) -> bool:
    """Return whether a frame is in a user's code: not in a library, ours, or generated ("<string>")."""
    return not any(
        part in filename for part in ("site-packages", PACKAGE + os.sep, STANDARD_LIBRARY + os.sep, "<")
    )


def is_out_of_resources(error: BaseException) -> bool:
    """Return whether memory or disk ran out or failed, by an error of Python, SQLite, tensorstore or XLA."""
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
    """Return whether a path cannot be written: no permission, a read-only disk, too long, or of another kind."""
    kinds = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
    return error.filename is not None and error.errno in kinds


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, the machine's or a device's."""
    return isinstance(error, MemoryError) or is_out_of_device_memory(error)


def is_out_of_device_memory(error: BaseException) -> bool:
    """Return whether a device's memory ran out, in XLA's words."""
    return "RESOURCE_EXHAUSTED" in str(error)


TOLD = 300  # characters of a library's own words
NO_MEMBER_FINISHED = 6
INTERRUPTED = 128  # plus the signal's number: 130, 143
