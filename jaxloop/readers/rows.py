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
from jaxloop.storage.destination import require_folder
from jaxloop.storage.records import Member
from jaxloop.storage.seal import write_whole
from jaxloop.storage.store import Store
from jaxloop.sweep.suggest import nearest

Row = dict[str, Any]
FORMATS = (".csv", ".json", ".parquet")


def of_members(members: Sequence[Member]) -> list[Row]:
    """Return a row a member: its facts, all hparams (as "hparams.step" if named like a fact), its last metrics."""
    rows = []
    for each in members:
        facts = {"number": each.number, "id": each.id, "config": each.config, "status": str(each.status)}
        facts["step"] = each.step
        hparams = {f"hparams.{name}" if name in facts else name: value for name, value in each.hparams.items()}
        rows.append({**facts, **hparams, **each.metrics})
    return rows


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
        got = f"got {path.suffix!r}{nearest(path.suffix, FORMATS)}" if path.suffix else "has no suffix"
        raise SweepError(f"{path}: needs one of {', '.join(FORMATS)} at its end, {got}")
    require_folder(path)
    if path.suffix == ".parquet":
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise SweepError('Parquet needs pyarrow: pip install "jaxloop[frames]"') from error
        pyarrow.parquet.write_table(pyarrow.table(_of_one_type(as_columns(rows))), path)
    elif path.suffix == ".csv":
        write_whole(path, as_csv(rows))
    else:
        write_whole(path, json.dumps([_finite(row) for row in rows], allow_nan=False))


def _of_one_type(table: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return columns with words among numbers as words: Parquet's columns have one type."""
    mixed = {
        name: len({isinstance(value, str | bool) for value in column if value is not None}) > 1
        for name, column in table.items()
    }
    return {name: [v if v is None else str(v) for v in c] if mixed[name] else c for name, c in table.items()}


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
