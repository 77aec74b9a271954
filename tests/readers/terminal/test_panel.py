"""What a person sees in a terminal: a word at once, each phase, and something that moves while nothing happens."""

import contextlib
import os
import pty
import re
import subprocess
import time

import pytest
from conftest import JAXLOOP

import jaxloop
from jaxloop.readers.terminal import panel


def screen(arguments, folder, **environment):
    """All that a command prints into a terminal of its own, and its exit code."""
    ours, theirs = pty.openpty()
    command = subprocess.Popen(
        [JAXLOOP, *arguments],
        cwd=folder,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    text = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while part := os.read(ours, 1 << 16):
            text += part
    os.close(ours)
    return text.decode(), command.wait()


@pytest.mark.slow
def test_each_phase_is_told_and_the_panel_moves_while_a_program_compiles(tiny, tmp_path):
    # nothing compiled before is at hand, so that compiling takes seconds
    text, code = screen(
        ["population", tiny.name, "--out", "run"], tmp_path, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "cache")
    )
    assert code == 0
    places = [
        text.index(phase)
        for phase in ("reading tiny.toml", "starting JAX", "reading data", "compiling program 1 of 1")
    ]
    assert places == sorted(places)
    moments = re.findall(r"compiling program 1 of 1 \((?:about|last time) \d+ s\), (\d+) s", text)
    assert len(set(moments)) > 1  # redrawn by time alone
    assert "6 finished, 0 diverged" in text
    assert text.rstrip().splitlines()[-1].startswith("jaxloop best run")
    watched, code = screen(["watch", "run"], tmp_path)
    assert code == 0
    assert "best member at each step, validation/accuracy:" in watched
    for arguments in (["plan", tiny.name], ["replay", "run", "nobody"]):
        printed, _ = screen(arguments, tmp_path, COLUMNS="50")
        assert max(map(len, printed.splitlines())) <= 50, printed
    compared, code = screen(["compare", "run", "run"], tmp_path, COLUMNS="50")
    assert code == 0
    table, _, _ = compared.partition("simultaneous 95% intervals")
    assert max(map(len, re.sub(r"\x1b\[[\d;]*m", "", table).splitlines())) <= 50


def test_plain_output_has_a_line_for_each_phase_and_none_of_a_terminals_codes(tiny, jaxloop_command, tmp_path):
    done = jaxloop_command("population", tiny, "--out", tmp_path / "run", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert lines[0] == f"reading {tiny}"
    assert {"starting JAX", "reading data", "compiling program 1 of 1"} <= {line.split(" (")[0] for line in lines}
    assert "\x1b" not in done.stdout


def drawn(panel):
    with panel.console.capture() as printed:
        panel.console.print(panel._drawn())
    return printed.get()


def test_the_bar_stands_still_while_nothing_trains(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    live = panel.Panel()
    live.seen = panel._Seen(at=now, share=0.5, speed=0.1, advance=0.25, is_loop=False, rest=[])
    now += 1
    assert " 60%" in drawn(live)
    assert "4 s left" in drawn(live)
    now += 60  # a turn that takes longer than the last one is taken to be about to end
    assert " 75%" in drawn(live)
    live.seen = live.seen._replace(at=now)
    live.phase("compiling program 2 of 2")
    now += 60
    assert " 50%" in drawn(live)
    assert "left" not in drawn(live)


def test_sentences_break_between_words_and_commands_not_at_all(capsys):
    live = panel.Panel()
    live.console = panel._Console(width=30)
    live.say("members: `jaxloop show RUN --where status=diverged` lists them; see it")
    assert capsys.readouterr().out.splitlines() == [
        "members:",
        "  `jaxloop show RUN --where status=diverged`",
        "  lists them; see it",
    ]


def test_a_printed_run_fits_the_terminal(whole, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    run = jaxloop.load(whole)
    assert max(map(len, str(run).splitlines())) <= 60


def test_python_shows_no_panel_where_there_is_no_terminal(tiny, tmp_path, capfd):
    jaxloop.run(tiny, out=tmp_path / "run").close()
    assert capfd.readouterr() == ("", "")
