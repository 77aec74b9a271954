"""What each file of a folder should be: orbax restores a flipped byte of an array without a word.

The file is what `sha256sum -c SHA256SUMS` reads, so that anyone can check a folder without jaxloop.
"""

import hashlib
import os
from pathlib import Path

from jaxloop.errors import DamagedError

FILE = "SHA256SUMS"


def seal(folder: Path) -> None:
    """Write down the digests of all files in a folder; afterwards none of them may change."""
    lines = [f"{_digest(path)}  {name}\n" for name, path in sorted(_files(folder).items())]
    write_whole(folder / FILE, "".join(lines))


def compare(folder: Path) -> None:
    """Compare a sealed folder with its digests.

    Raises:
      DamagedError: a file is missing, other than it was, or a link; or the folder was never sealed.
    """
    try:
        *lines, rest = (folder / FILE).read_bytes().decode("ascii").split("\n")
    except FileNotFoundError:
        found = f"has no {FILE}: it was not written to its end" if folder.is_dir() else "is missing"
        raise DamagedError(f"{folder}: {found}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedError(f"{folder / FILE}: cannot be read: {error}") from None
    if folder.parent.is_symlink():
        raise DamagedError(f"{folder.parent}: is a link, and jaxloop writes none: replace it by what it leads to")
    files = _files(folder)
    for line in lines:
        digest, separator, name = line.partition("  ")
        if not separator or name not in files:
            raise DamagedError(f"{folder}: {name or line!r} of {FILE} is missing")
        if _digest(files[name]) != digest:
            raise DamagedError(f"{files[name]}: is not what was written: its SHA-256 is another")
        del files[name]
    if files:
        raise DamagedError(f"{folder}: {min(files)} is not in {FILE}")
    if rest:
        raise DamagedError(f"{folder}: {FILE} ends in the middle of a line: {rest!r}")


def is_sealed(folder: Path) -> bool:
    return (folder / FILE).exists()


def refuse_links(folder: Path) -> None:
    """Make sure that nothing in a folder leads out of it; the folder itself may be reached through a link.

    Raises:
      DamagedError: something is a link.
    """
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if os.path.islink(path := os.path.join(place, name)):
                raise DamagedError(f"{path}: is a link, and jaxloop writes none: replace it by what it leads to")


def write_whole(file: Path, text: str) -> None:
    """Replace a file in one move, once its text is on disk: a reader finds the old one or the new."""
    part = file.with_name(f"{file.name}.part")
    with part.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)


def _files(folder: Path) -> dict[str, Path]:
    """Return the files in a folder and below, by their relative names, but for the digests' own.

    Raises:
      DamagedError: one is a link, which could lead anywhere.
    """
    refuse_links(folder)
    paths = (path for path in folder.rglob("*") if path.is_file() and path != folder / FILE)
    return {path.relative_to(folder).as_posix(): path for path in paths}


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read: {error}") from None
