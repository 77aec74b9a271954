"""Tables of configs, for a terminal."""

import math
import re
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from jaxloop.formatting import ranges
from jaxloop.sweep.catalog import REPLICATES

if TYPE_CHECKING:
    from jaxloop.storage.ranking import RankedConfig


def best_table(best: "list[RankedConfig]", varied: list[str], metric: str, so_far: str = "") -> Table:
    """Configs ranked, one a row, with the standard error over their replicates and the numbers of these."""
    table = Table(title=f"best by {escape(metric)}, mean over seeds{so_far}")
    names = [name for name in varied if name not in REPLICATES and any(name in row.hparams for row in best)]
    other = metric.replace("validation/", "test/")
    for name in ["#", *names, metric, "± s.e.", *([other] if other != metric else []), "members"]:
        heading = re.sub(r"([/_])", r"\1\n", escape(name))
        table.add_column(heading, justify="right", vertical="bottom", overflow="fold")
    for rank, row in enumerate(best, 1):
        values = [_short(row.hparams.get(name)) for name in names]
        tested = [_measured(row.metrics.get(other))] if other != metric else []
        ended = "" if row.complete else f" ({row.finished} of {len(row.members)} finished with a finite value)"
        measured = [_measured(row.mean), _measured(row.standard_error), *tested]
        table.add_row(str(rank), *values, *measured, ranges(row.members) + ended)
    return table


def _short(value: Any) -> str:
    """Return a value in a cell; a word as it is, whatever rich would make of its brackets."""
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else escape(str(value))


def _measured(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.4f}"
