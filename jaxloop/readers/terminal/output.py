"""The streams that a command prints to, and readers of them that leave early, as `| head` does."""

import codecs
import io
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

PLAIN = {"±": "+/-", "×": "x", "…": "...", "—": "-", "–": "-", "µ": "u"}  # for streams whose encoding lacks them


def replace_unencodable(*streams: TextIO) -> None:
    """Make streams print characters that their encoding lacks in others: "±" as "+/-", "λ" as its escape."""
    codecs.register_error("jaxloop", _in_plain_characters)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="jaxloop")


def _in_plain_characters(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    plain = [PLAIN.get(letter, letter.encode("ascii", "backslashreplace").decode()) for letter in text]
    return "".join(plain), error.end


@contextmanager
def ignoring_broken_pipe(stream: TextIO) -> Iterator[None]:
    """Continue if the reader of a pipe or a terminal has gone; what is printed from then on is lost."""
    try:
        yield
    except OSError:
        if not is_unread(stream):
            raise
        silence(stream)


def is_unread(stream: TextIO) -> bool:
    """Return whether nobody is left at the other end of a stream."""
    poll = select.poll()
    poll.register(stream, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def silence(stream: TextIO) -> None:
    """Discard what is printed to a stream, now or later."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
