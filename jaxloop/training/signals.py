"""SIGINT and SIGTERM as a fact to look at, instead of an exception in the middle of a write."""

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 10.0  # in which a chunk should end once a signal has come
SAME_SECONDS = 0.3  # in which a terminal and a launcher may both pass on one Ctrl-C
STOPPING = "jaxloop: stopping once this chunk is finished and saved; a second signal stops at once\n"
STUCK = (
    f"jaxloop: nothing has ended in the {GRACE_SECONDS:.0f} s since the signal: a chunk or a compilation is long, "
    "or it hangs; a second signal stops at once, and `jaxloop resume` continues from the last checkpoint\n"
)


class Interrupt:
    """The first SIGINT or SIGTERM received, while listening. A later one ends the process at once.

    Python runs signal handlers in the main thread alone, between two steps of its interpreter: one that waits for
    a device may never get there. So a thread reads the signals, as bytes in a pipe (`signal.set_wakeup_fd`).
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.seen = False
        self.first = 0.0  # when it came
        self.read = self.handled = 0  # signals, by the thread and by Python's handler; this one may skip some

    def received(self) -> int | None:
        """Return the signal's number, or None. The caller stops if there is one."""
        self.seen = self.signal is not None
        return self.signal

    @contextmanager
    def listening(self) -> Iterator["Interrupt"]:
        """Listen to signals in this context; outside the main thread, where Python allows none, do nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        previous_pipe = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        watcher = threading.Thread(target=self._watch, args=(reading,), name="jaxloop signals", daemon=True)
        watcher.start()
        try:
            yield self
        finally:
            signal.set_wakeup_fd(previous_pipe)
            for number, action in previous.items():
                signal.signal(number, action)
            os.close(writing)  # which ends the watcher
            watcher.join()
            os.close(reading)

    def _handle(self, number: int, _frame: object) -> None:
        """In the main thread: note what the pipe has missed while an event loop had put its own in its place."""
        self.handled += 1
        self._note(number, is_another=1 < self.handled > self.read)

    def _note(self, number: int, *, is_another: bool) -> None:
        if self.signal is None:
            self.signal, self.first = number, time.monotonic()
            _say(STOPPING)
        elif is_another and time.monotonic() - self.first > SAME_SECONDS:
            os._exit(128 + number)

    def _watch(self, pipe: int) -> None:
        """In a thread: read signals that the main thread may never handle."""
        timeout = None
        while True:
            if not select.select([pipe], [], [], timeout)[0]:
                timeout = None
                if not self.seen:
                    _say(STUCK)
                continue
            if not (content := os.read(pipe, 1)):
                return
            if content[0] in SIGNALS:  # Python reports every signal that it has a handler for
                self.read += 1
                timeout = GRACE_SECONDS if self.read == 1 else timeout
                self._note(content[0], is_another=self.read > 1)


def _say(text: str) -> None:
    with suppress(OSError):  # nobody may be there to read it
        os.write(2, text.encode())  # whatever `sys.stderr` is in the middle of
