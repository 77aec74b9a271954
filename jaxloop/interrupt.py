"""SIGINT and SIGTERM as a fact to look at, instead of an exception in the middle of a write."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TOLD = b"jaxloop: stopping once this chunk is finished and saved; a second signal stops at once\n"


class Interrupt:
    """`signal` is the number of the first signal received, or None.

    A second one ends the process at once, as if nobody listened.
    """

    def __init__(self):
        self.signal: int | None = None

    @contextmanager
    def listening(self) -> Iterator["Interrupt"]:
        def note(number, _frame):
            self.signal = number
            for each in previous:
                signal.signal(each, signal.SIG_DFL)
            with suppress(OSError):  # nobody may be there to read it
                os.write(2, TOLD)  # whatever `sys.stderr` is in the middle of

        previous = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                previous[number] = signal.signal(number, note)
        except ValueError:  # not in the main thread: signals are not ours
            pass
        try:
            yield self
        finally:
            for number, action in previous.items():
                signal.signal(number, action)
