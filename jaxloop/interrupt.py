"""SIGINT and SIGTERM as a fact to look at, instead of an exception in the middle of a write."""

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 10.0  # in which a chunk should end once a signal has come
STOPPING = "jaxloop: stopping once this chunk is finished and saved; a second signal stops at once\n"
STUCK = (
    f"jaxloop: no chunk has ended in the {GRACE_SECONDS:.0f} s since the signal: it is long, or it hangs; "
    "a second signal stops at once, and `jaxloop resume` continues from the last checkpoint\n"
)


class Interrupt:
    """The first SIGINT or SIGTERM received, while listening. A second one ends the process at once.

    Python runs signal handlers in the main thread alone, between two steps of its interpreter: one that waits for
    a device may never get there. So a thread reads the signals too, as bytes in a pipe (`signal.set_wakeup_fd`).
    """

    def __init__(self):
        self.signal: int | None = None
        self.seen = False

    def received(self) -> int | None:
        """The signal's number, or None; whoever asks and gets one stops."""
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
        """In the main thread: leave the second signal to the system, which then ends the process."""
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        self._note(number)

    def _note(self, number: int) -> None:
        if self.signal is None:
            self.signal = number
            _say(STOPPING)

    def _watch(self, pipe: int) -> None:
        """In a thread: read signals that the main thread may never handle."""
        if not (first := self._read(pipe)):
            return
        self._note(first)
        if not select.select([pipe], [], [], GRACE_SECONDS)[0] and not self.seen:
            _say(STUCK)
        if second := self._read(pipe):
            os._exit(128 + second)

    @staticmethod
    def _read(pipe: int) -> int | None:
        """The next signal; None once the pipe is closed."""
        while content := os.read(pipe, 1):
            if content[0] in SIGNALS:  # Python reports every signal that it has a handler for
                return content[0]
        return None


def _say(text: str) -> None:
    with suppress(OSError):  # nobody may be there to read it
        os.write(2, text.encode())  # whatever `sys.stderr` is in the middle of
