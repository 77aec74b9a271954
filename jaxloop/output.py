"""The streams that a command prints to, and readers of them that leave early, as `| head` does."""

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console

WIDE = 500  # columns where there is no terminal


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich's own would end the process


def console(*, stderr: bool = False) -> Console:
    """Where tables are printed: as wide as the terminal, and into a file or a pipe as wide as they are."""
    terminal = _Console(stderr=stderr)
    return terminal if terminal.is_terminal else _Console(stderr=stderr, width=WIDE)


@contextmanager
def ignoring_broken_pipe(stream: TextIO) -> Iterator[None]:
    """Goes on where nobody reads a stream any more, a pipe or a terminal; what is printed from then on is lost."""
    try:
        yield
    except OSError:
        if not is_unread(stream):
            raise
        silence(stream)


def is_unread(stream: TextIO) -> bool:
    """Whether nobody is left at the other end of a stream."""
    poll = select.poll()
    poll.register(stream, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def silence(stream: TextIO) -> None:
    """Has nothing come of what is printed to a stream, now or later."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
