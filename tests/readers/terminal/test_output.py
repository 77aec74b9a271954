"""Streams that nobody reads any more."""

import io
import os
import signal

import pytest
from helpers import line

from jaxloop.readers.terminal.output import ignoring_broken_pipe, replace_unencodable
from jaxloop.training.signals import Interrupt


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
            assert interrupt.received() == signal.SIGTERM
            os.kill(os.getpid(), signal.SIGTERM)  # at once: the same Ctrl-C, passed on by two
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "cp1252", "utf-8"])
def test_any_encoding_prints_any_text(encoding):
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding)
    replace_unencodable(stream)
    print("λ=0.5 ± 0.1 × 学", file=stream, flush=True)
    text = written.getvalue().decode(encoding)
    expected = {"ascii": "\\u03bb=0.5 +/- 0.1 x \\u5b66\n", "utf-8": "λ=0.5 ± 0.1 × 学\n"}
    assert text == expected.get(encoding, text)
    assert "0.5" in text
    assert ("±" in text) == (encoding != "ascii")


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp437"])
def test_a_run_and_its_table_in_a_terminal_of_another_encoding(tmp_path, jaxloop_command, encoding):
    task = line.changed(line.LINE, ("split))", "split), hparams={'λ': 0.0})"))
    file = line.written(tmp_path, task=task, sweep=line.SWEEP + '"λ" = { values = [0.0, 1.0] }\n')
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    options = {"env": environment, "encoding": encoding}
    for words in (["population", file, "--out", tmp_path / "run"], ["best", tmp_path / "run"]):
        done = jaxloop_command(*words, **options)
        assert done.returncode == 0, done.stderr
        assert "s.e." in done.stdout
