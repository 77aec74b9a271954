"""Where runs are written, and the disk that a folder is on, or would be."""

import shutil
from pathlib import Path

from jaxloop.errors import ResourceError, SweepError
from jaxloop.formatting import scaled, shell_quoted
from jaxloop.storage.run_folder import exists, refuse_long

RUNS = Path("runs")  # where runs are, if nothing else is said


def existing(folder: Path) -> Path:
    """Return a folder, or of those that it would lie in the nearest that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def refuse_taken(folder: Path) -> None:
    """Make sure that a new run may have this folder: it is not there, or empty.

    Raises:
      SweepError: something is there, or its path is too long.
    """
    refuse_long(folder)
    try:
        taken = folder.is_file() or (folder.exists() and any(folder.iterdir()))
    except OSError as error:
        raise SweepError(f"{folder}: {error.strerror}: choose another folder with --out") from None
    if taken:
        hint = f"`jaxloop resume {shell_quoted(folder)}` goes on with it; else " if exists(folder) else ""
        raise SweepError(f"{folder}: exists already; {hint}choose another folder with --out")


def require_folder(path: Path) -> None:
    """Make sure that the folder in which a file is to be written is there.

    Raises:
      SweepError: it is not.
    """
    if not path.absolute().parent.is_dir():
        folder = path.absolute().parent
        raise SweepError(f"{folder}: no such folder; `mkdir -p {shell_quoted(folder)}` makes it")


def refuse_existing(path: Path) -> None:
    """Make sure that nothing is where a file or folder is to be written.

    Raises:
      SweepError: something is.
    """
    if path.exists():
        raise SweepError(f"{path}: exists already; choose another name, or delete it")


def require_free(folder: Path, need: int) -> None:
    """Compare what a run needs, in bytes, with what is free where it is to be written.

    Raises:
      ResourceError: the disk is too small.
      SweepError: the folder would lie in a file.
    """
    nearest = existing(folder)
    if not nearest.is_dir():
        raise SweepError(f"{folder}: {nearest} is a file: choose another folder with --out")
    free = shutil.disk_usage(nearest).free
    if need > free:
        raise ResourceError(
            f"{folder}: needs about {scaled(need)}B of disk, {scaled(free)}B are free: make room, keep less "
            "([checkpoint] keep), or choose another disk with --out"
        )
