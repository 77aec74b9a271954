"""Streams that nobody reads any more."""

import os
import signal

import pytest

from jaxloop.interrupt import Interrupt
from jaxloop.output import ignoring_broken_pipe


def test_a_broken_pipe_of_someone_elses_is_no_reader_that_left(tmp_path):
    with (tmp_path / "stdout").open("w") as stream:
        with pytest.raises(BrokenPipeError), ignoring_broken_pipe(stream):
            raise BrokenPipeError
        print("still here", file=stream)
    assert (tmp_path / "stdout").read_text() == "still here\n"


@pytest.mark.parametrize("pair", [os.pipe, os.openpty], ids=["pipe", "terminal"])
def test_printing_goes_on_where_nobody_reads(pair):
    reader, writer = pair()
    with open(writer, "w") as stream:
        print("heard", file=stream, flush=True)
        os.close(reader)
        for _ in range(3):
            with ignoring_broken_pipe(stream):
                print("not heard", file=stream, flush=True)
        assert os.path.samestat(os.fstat(stream.fileno()), os.stat(os.devnull))


def test_a_signal_is_noted_though_nobody_reads_stderr():
    reader, writer = os.pipe()
    os.close(reader)
    kept = os.dup(2)
    os.dup2(writer, 2)
    os.close(writer)
    try:
        with Interrupt().listening() as interrupt:
            os.kill(os.getpid(), signal.SIGTERM)
            assert interrupt.signal == signal.SIGTERM
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        os.dup2(kept, 2)
        os.close(kept)
