"""How commands print sentences."""

import re
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from jaxloop.cli import options
from jaxloop.readers.terminal import panel

WORDS = st.text("abcdefgh=./_", min_size=1, max_size=15)
COMMANDS = st.lists(WORDS, min_size=2, max_size=5)


@given(st.lists(st.one_of(WORDS, COMMANDS), min_size=1, max_size=12), st.integers(20, 90))
def test_no_line_breaks_within_a_word_or_a_command(parts, width):
    """A list of words is a command."""
    said = " ".join(part if isinstance(part, str) else f"`{' '.join(part)}`" for part in parts)
    lines: list[str] = []
    with (
        mock.patch.object(panel, "console", return_value=Console(width=width)),
        mock.patch.object(options.click, "echo", lambda line, err: lines.append(line)),
    ):
        options.echo_in_lines(said)
    assert " ".join(line.strip() for line in lines) == said
    for line in lines:
        assert len(line) <= width or len(re.findall(r"`[^`]*`|\S+", line)) == 1
        assert line.count("`") % 2 == 0
