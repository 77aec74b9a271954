"""Tables that fit the terminal: no name or number is broken in two."""

import itertools
import math
import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from jaxloop.formatting import NO_BREAK, value
from jaxloop.sweep.catalog import REPLICATES

if TYPE_CHECKING:
    from jaxloop.storage.ranking import RankedConfig


def best_table(
    best: "list[RankedConfig]", varied: list[str], metric: str, width: int, so_far: str = ""
) -> RenderableType:
    """Configs ranked, one a row, with the standard error over their replicates and the numbers of these.

    Args:
      width: of the terminal.
      so_far: what is added to the title.
    """
    names = [name for name in varied if name not in REPLICATES and any(name in row.hparams for row in best)]
    other = metric.replace("validation/", "test/")
    headings = ["#", *names, metric, "± s.e.", *([other] if other != metric else []), "members"]
    rows = []
    for rank, row in enumerate(best, 1):
        values = [value(row.hparams.get(name)) for name in names]
        tested = [_measured(row.metrics.get(other))] if other != metric else []
        measured = [_measured(row.mean), _measured(row.standard_error), *tested]
        rows.append([str(rank), *values, *measured, row.members_in_words()])
    return fitted(f"best by {metric}, mean over seeds{so_far}", headings, rows, width)


def fitted(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], width: int, left: Sequence[str] = ()
) -> RenderableType:
    """Return a table in which no cell needs a second line.

    Where it is too wide, it is turned on its side, a column for each row, in as many parts as it takes.

    Args:
      width: of the terminal.
      left: headings of columns that are not of numbers.
    """
    columns = zip(headings, *rows, strict=True)
    if _width(list(map(_longest, columns))) <= width:
        return _table(title, headings, rows, [heading in left for heading in headings])
    names, parts, start = _longest(headings), [], 0
    while start < len(rows):
        stop, widths = start, [names]
        while stop < len(rows) and (stop == start or _width([*widths, _longest(rows[stop])]) <= width):
            widths.append(_longest(rows[stop]))
            stop += 1
        (first, *others) = zip(headings, *rows[start:stop], strict=True)
        parts.append(_table(title if not start else "", first, others, [True]))
        start = stop
    return Group(*parts)


def in_columns(
    headings: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> tuple[list[str], Sequence[str]]:
    """Return the lines of a table without borders, and the headings of the columns that find no room.

    Args:
      width: of the terminal.
    """
    widths = list(map(_longest, zip(headings, *rows, strict=True)))
    ends = [end - 2 for end in itertools.accumulate(each + 2 for each in widths)]
    count = max(1, sum(end <= width for end in ends))
    lines = [headings[:count], *(row[:count] for row in rows)]
    return ["  ".join(map(str.rjust, line, widths)) for line in lines], headings[count:]


def left_out_lines(headings: Sequence[str], width: int) -> list[str]:
    """Return what is said below a table of the columns that find no room; nothing if all do."""
    return in_lines(f"not shown for lack of room: {', '.join(headings)}; --csv has all", width) if headings else []


def in_lines(text: str, width: int, indent: str = "  ") -> list[str]:
    """Return a text in lines that break between words, but not in commands in backticks; later ones indented."""
    kept = re.sub("`[^`]*`", lambda command: command[0].replace(" ", NO_BREAK), text)
    lines = textwrap.wrap(
        kept, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
    return [line.replace(NO_BREAK, " ") for line in lines]


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[bool]) -> Table:
    table = Table(title=escape(title))
    for at, heading in enumerate(headings):
        is_left = at < len(left) and left[at]
        table.add_column(
            escape(heading), justify="left" if is_left else "right", vertical="bottom", overflow="fold"
        )
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _width(columns: Sequence[int]) -> int:
    """Return the width of a table: rich draws two spaces and a line around each cell."""
    return sum(columns) + 3 * len(columns) + 1


def _longest(texts: Sequence[str]) -> int:
    return max((cell_len(text) for text in texts), default=0)


def _measured(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.4f}"
