"""A run's best configs as an HTML table, for notebooks."""

import html
from typing import Any

from jaxloop.formatting import value
from jaxloop.storage.ranking import ranked, with_finite_mean
from jaxloop.storage.state import state
from jaxloop.storage.store import Store

ROWS = 10


def best_html(store: Store) -> str:
    """Return the best configs of a run, which may still train, and where it stands."""
    names = store.axes
    rows = with_finite_mean(ranked(store, so_far=store.trains))[:ROWS]
    counts = ", ".join(f"{count} {status}" for status, count in store.counts().items() if count)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ["#", *names, store.metric, "± s.e.", "members"])
    body = "".join(
        _row([place, *(row.hparams.get(name) for name in names), row.mean, row.standard_error, len(row.members)])
        for place, row in enumerate(rows, 1)
    )
    told = html.escape(f"{store.name}: {state(store).in_words()}, {counts}")
    return f"<p>{told}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(values: list[Any]) -> str:
    return "<tr>" + "".join(f"<td>{html.escape(value(each))}</td>" for each in values) + "</tr>"
