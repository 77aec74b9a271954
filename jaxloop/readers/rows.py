"""A run's members and curves as rows, the same for every format: CSV, JSON, Parquet, a frame, a page."""

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxloop.errors import SweepError
from jaxloop.storage.records import Member
from jaxloop.storage.seal import write_whole
from jaxloop.storage.store import Store
from jaxloop.sweep.suggest import nearest

Row = dict[str, Any]
FORMATS = (".csv", ".json", ".parquet")


def of_members(members: Sequence[Member]) -> list[Row]:
    """Return a row a member: its facts, all hparams, and the last value of each metric."""
    return [
        {
            "number": each.number,
            "id": each.id,
            "config": each.config,
            "status": str(each.status),
            "step": each.step,
            **each.hparams,
            **each.metrics,
        }
        for each in members
    ]


def of_curves(store: Store) -> list[Row]:
    """Return a row a point: the member, the step, and each metric that was measured there."""
    names = store.metric_names()
    found: dict[tuple[int, int], Row] = {}
    for name in names:
        steps, values = store.curves(name)
        for member, place in np.argwhere(~np.isnan(values)).tolist():
            key = (member, int(steps[place]))
            found.setdefault(key, {"member": member, "step": key[1]})[name] = float(values[member, place])
    return [{**dict.fromkeys(["member", "step", *names]), **found[key]} for key in sorted(found)]


def as_csv(rows: Sequence[Row]) -> str:
    """Return rows as CSV, a column for each name that any of them has."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def columns(rows: Sequence[Row]) -> list[str]:
    """Return the names that rows have, in the order in which they come."""
    return list(dict.fromkeys(name for row in rows for name in row))


def as_columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Return rows as columns of one length; None where a row has no value."""
    return {name: [row.get(name) for row in rows] for name in columns(rows)}


def write(rows: Sequence[Row], path: Path) -> None:
    """Write rows into a file, in the format that its suffix names.

    Raises:
      SweepError: there is no such format, or what writes it is not installed.
    """
    if path.suffix not in FORMATS:
        meant = nearest(path.suffix, FORMATS)
        raise SweepError(f"{path}: needs a suffix of {', '.join(FORMATS)}, got {path.suffix or 'none'!r}{meant}")
    if path.suffix == ".parquet":
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise SweepError('Parquet needs pyarrow: pip install "jaxloop[frames]"') from error
        pyarrow.parquet.write_table(pyarrow.table(as_columns(rows)), path)
    elif path.suffix == ".csv":
        write_whole(path, as_csv(rows))
    else:
        write_whole(path, json.dumps([_finite(row) for row in rows], allow_nan=False))


def frame(rows: Sequence[Row]) -> Any:
    """Return rows as a pandas DataFrame; as a polars one where only that is installed.

    Raises:
      SweepError: neither is.
    """
    try:
        import pandas

        return pandas.DataFrame(as_columns(rows))
    except ImportError:
        pass
    try:
        import polars

        return polars.DataFrame(as_columns(rows), strict=False)
    except ImportError as error:
        raise SweepError('frames need pandas or polars: pip install "jaxloop[frames]"') from error


def _finite(row: Row) -> Row:
    """Return a row as strict JSON has it: what is not finite was not measured, null."""
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in row.items()}
