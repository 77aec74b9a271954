"""Tables in terminals of any width: what is shown is whole, and fits."""

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from jaxloop.formatting import visible
from jaxloop.readers.terminal.ledger import COLUMNS, experiments_table
from jaxloop.readers.terminal.tables import fitted, in_columns

NAMES = ("learning_rate", "weight_decay", "validation/accuracy", "± s.e.", "b1", "warmup_steps", "[bold]kind[/]")
WORDS = st.text("abcdef0123456789.-_[]/", min_size=1, max_size=12)


def printed(renderable, width):
    screen = Console(width=width, file=io.StringIO(), color_system=None)
    screen.print(renderable)
    return screen.file.getvalue()


@given(st.integers(40, 200), st.integers(1, len(NAMES)), st.data())
@settings(max_examples=60)
def test_every_cell_is_whole_and_every_line_fits(width, columns, data):
    headings = NAMES[:columns]
    rows = data.draw(st.lists(st.lists(WORDS, min_size=columns, max_size=columns), min_size=1, max_size=9))
    text = printed(fitted("the best", headings, rows, width), width)
    assert all(len(line) <= width for line in text.splitlines())
    cells = re.findall(r"[│┃] +([^│┃]*?) *(?=[│┃])", text)
    assert all(cell in cells for row in rows for cell in row)
    assert set(headings) <= {*cells}


def test_a_wide_table_stands_as_it_is_and_a_narrow_one_lies_on_its_side():
    rows = [[str(place), *"1234567"] for place in range(1, 6)]
    headings = ("#", *NAMES)
    wide, side = (printed(fitted("t", headings, rows, width), width) for width in (200, 50))
    assert re.search(r"┃ learning_rate ┃", wide)
    assert re.search(r"│ learning_rate +│ +1 │", side)
    assert len(wide.splitlines()) < len(side.splitlines())


@given(st.integers(20, 120), st.data())
@settings(max_examples=40)
def test_columns_without_borders_name_what_they_leave_out(width, data):
    rows = data.draw(st.lists(st.lists(WORDS, min_size=7, max_size=7), max_size=5))
    lines, left_out = in_columns(NAMES, rows, width)
    assert all(len(line) <= width for line in lines)
    shown = len(NAMES) - len(left_out)
    assert tuple(left_out) == NAMES[shown:]
    assert [line.split() for line in lines[len(lines) - len(rows) :]] == [row[:shown] for row in rows]


@pytest.mark.parametrize("width", [60, 80, 100, 300])
def test_a_ledger_says_in_any_width_what_was_changed(width):
    changed = {"learning_rate": 0.00174, "weight_decay": 0.0001677, "width": 28, "b1": 0.8, "warmup_steps": 100}
    record = dict.fromkeys(COLUMNS, 0.125) | {"id": 1, "round": 1, "verdict": "success", "changed": changed}
    text = "".join(printed(part, width) for part in experiments_table([record], width))
    assert all(len(line) <= width for line in text.splitlines())
    for name in ("learning_rate=0.00174", "weight_decay=0.0001677", "width=28", "b1=0.8", "warmup_steps=100"):
        assert name in text


def test_what_a_terminal_would_obey_is_written_out():
    assert visible("a\x1b[31mred\u202eb\nc") == r"a\x1b[31mred\u202eb\nc"
    assert visible("naïve 学習 ±") == "naïve 学習 ±"
