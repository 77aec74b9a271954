"""A run's best configs as a table: HTML for notebooks, text for `print`."""

import html
import shutil
from typing import Any

from rich.console import Console

from jaxloop.formatting import value
from jaxloop.readers.terminal.tables import best_table
from jaxloop.storage.ranking import RankedConfig, ranked, with_finite_mean
from jaxloop.storage.state import state
from jaxloop.storage.store import Store

ROWS = 10
WIDTH = 115  # of a text where there is no terminal


def best_html(store: Store) -> str:
    """Return the best configs of a run, which may still train, and where it stands."""
    names, rows = store.axes, _best(store)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ["#", *names, store.metric, "± s.e.", "members"])
    body = "".join(
        _row(
            [
                place,
                *(row.hparams.get(name) for name in names),
                row.mean,
                row.standard_error,
                row.members_in_words(),
            ]
        )
        for place, row in enumerate(rows, 1)
    )
    return (
        f"<p>{html.escape(_standing(store))}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def best_text(store: Store) -> str:
    """Return the best configs of a run, which may still train, and where it stands."""
    width, rows = shutil.get_terminal_size((WIDTH, 0)).columns, _best(store)
    screen = Console(width=width, color_system=None, force_jupyter=False)
    with screen.capture() as printed:
        if rows:
            screen.print(best_table(rows, store.varied, store.metric, width))
    return "\n".join([_standing(store), *printed.get().splitlines()])


def _best(store: Store) -> list[RankedConfig]:
    return with_finite_mean(ranked(store, so_far=store.trains))[:ROWS]


def _standing(store: Store) -> str:
    found = state(store)
    return f"{store.name}: {found.in_words()}, {found.members_in_words()}"


def _row(values: list[Any]) -> str:
    return "<tr>" + "".join(f"<td>{html.escape(value(each))}</td>" for each in values) + "</tr>"
