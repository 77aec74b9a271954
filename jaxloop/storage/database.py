"""A run's SQLite file: what makes it readable, and what happens in it whole or not at all."""

import copy
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from pydantic import TypeAdapter

from jaxloop.errors import DamagedError, JaxloopError, NotFoundError, is_out_of_resources, sqlite_code
from jaxloop.storage import facts, run_folder
from jaxloop.sweep.suggest import nearest

FORMAT, READABLE = 6, (2, 3, 4, 5, 6)
LATER_TABLES = {  # tables that runs of earlier formats lack
    # which members a scheduler paused or resumed, after which turn
    "pauses": "(member integer, turn integer, paused integer not null, primary key(member, turn)) without rowid",
    # which members joined after a turn; copies have a parent, and the steps that this had taken
    "joins": "(member integer primary key, turn integer not null, parent integer, step integer)",
    # what a loop has decided, in order, each after a turn
    "ledger": "(number integer primary key, turn integer not null, record text not null)",
    # measured arrays, float32 in C order; their shape as JSON
    "arrays": "(member integer, step integer, metric text, turn integer not null, shape text not null, "
    "content blob not null, primary key(member, step, metric)) without rowid",
}
MAGIC = b"SQLite format 3\0"
READERS = {1: "format 1 was never released"}  # of earlier formats: which version can


class Database(facts.Facts):
    """One run's file: opened, checked, its facts and its transactions. Readers never wait for the writer (WAL)."""

    def __init__(self, run: Path, *, create: bool = False, content: bytes | None = None) -> None:
        """Open a run's file.

        Args:
          create: a new one.
          content: of another process's, to read in memory; the file is left alone.

        Raises:
          NotFoundError, DamagedError: there is none, or it cannot be read.
        """
        self.path = run_folder.database(run)
        run_folder.refuse_long(run)
        if content is not None:
            self.connection = sqlite3.connect(":memory:", isolation_level=None)
            self.connection.deserialize(content)
            return
        if not create and not run_folder.exists(run):
            if os.path.exists(run_folder.provenance(run)):  # False for a name that is too long
                said = f"is missing, and with it statuses and curves; {run_folder.sweep(run)} is what was trained"
                raise DamagedError(f"{self.path}: {said}")
            hint = f"; {run.parent} is one" if run_folder.exists(run.parent) else nearest(run.name, _beside(run))
            raise NotFoundError(f"{run}: no run here{hint or '; `jaxloop ls` lists runs'}")
        if self.path.is_symlink():
            raise DamagedError(f"{self.path}: is a link, which jaxloop never writes")
        with self._damage_told(writing=create):
            self.connection = sqlite3.connect(self._uri(), timeout=30, isolation_level=None, uri=True)
            self.connection.execute("pragma synchronous = full")
            if create:
                self.connection.execute("pragma journal_mode = wal")
                self._create()
        found = self.format
        if found not in READABLE:
            reader = READERS.get(found or 0, "a later jaxloop can: update it")
            raise DamagedError(
                f"{self.path}: has format {found}, this jaxloop reads {READABLE[0]} to {READABLE[-1]}; {reader}"
            )

    def _uri(self) -> str:
        """Return the file's URI for SQLite: read-only in a folder that cannot be written."""
        uri = f"file:{quote(str(self.path.absolute()))}"
        if os.access(self.path.parent, os.W_OK):
            return uri
        return f"{uri}?mode=ro" if self.path.with_name(f"{self.path.name}-wal").exists() else f"{uri}?immutable=1"

    def _create(self) -> None:
        self.connection.executescript(
            f"""begin;
            {"".join(f"create table {name}{columns};" for name, columns in LATER_TABLES.items())}
            create table facts(key text primary key, value text not null);
            create table members(number integer primary key, id text unique not null, config text not null,
              hparams text not null, folder text not null, status text not null, step integer not null,
              admitted integer, retired integer, finished text);
            create table curves(member integer, step integer, turn integer, primary key(member, step));
            create index members_retired on members(retired);
            commit;"""
        )
        self.put(format=FORMAT)

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # facts of the run

    def put(self, **values: Any) -> None:
        """Record facts, all or none.

        Args:
          **values: by the names in `Facts`.

        Raises:
          TypeError: there is no fact of that name.
        """
        if unknown := values.keys() - facts.NAMES:
            raise TypeError(f"no facts of a run: {', '.join(sorted(unknown))}")
        self._put(values)

    def _put(self, values: dict[str, Any]) -> None:
        rows = [(key, json.dumps(value)) for key, value in values.items()]
        with nullcontext() if self.connection.in_transaction else self.transaction():
            self.connection.executemany("insert or replace into facts values(?, ?)", rows)

    def fact(self, name: str, adapter: TypeAdapter[Any], *default: Any) -> Any:
        with self._damage_told():
            row = self.connection.execute("select value from facts where key = ?", (name,)).fetchone()
            if row is None and not default:
                raise ValueError(f"it does not record the run's {name}")
            return adapter.validate_json(row[0]) if row else copy.copy(default[0])

    def layout(self, bucket: int) -> facts.SlotLayout | None:
        """Return the capacity and group size that a bucket's program was given, if it has been compiled."""
        return self.fact(f"layout/{bucket}", facts.LAYOUT, None)

    def put_layout(self, bucket: int, layout: facts.SlotLayout | None) -> None:
        """Record the capacity and group size of a bucket's program; None to have them chosen anew."""
        self._put({f"layout/{bucket}": layout})

    def content(self) -> bytes:
        """Return the whole file, for a process on another host, where it cannot be opened beside its writer."""
        found = bytearray(self.connection.serialize())
        found[18:20] = b"\1\1"  # a copy in memory keeps no write-ahead log
        return bytes(found)

    @contextmanager
    def _damage_told(self, *, writing: bool = False) -> Iterator[None]:
        """Raise DamagedError for what SQLite and its content say of damaged bytes.

        Args:
          writing: a file that cannot be opened is the disk's fault, not the file's.
        """
        try:
            yield
        except sqlite3.OperationalError as error:
            code = sqlite_code(error)
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            if is_out_of_resources(error) and (writing or code != sqlite3.SQLITE_CANTOPEN or self._is_sqlite()):
                raise
            raise DamagedError(f"{self.path}: not a readable run file: {error}") from None
        except JaxloopError:
            raise
        except (sqlite3.DatabaseError, ValueError, TypeError, KeyError, OverflowError) as error:
            raise DamagedError(f"{self.path}: not a readable run file: {str(error)[:200]}") from None

    def _is_sqlite(self) -> bool:
        """Return whether the file begins as SQLite's do: what then cannot be opened is the log beside it."""
        try:
            with self.path.open("rb") as file:
                return file.read(len(MAGIC)) == MAGIC
        except OSError:
            return False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all writes in this context happen, or none.

        Raises:
          DamagedError: the file's bytes are not what was written.
        """
        with self._damage_told(writing=True):
            self.connection.execute("begin immediate")
        try:
            with self.connection:  # commits, or rolls back on an exception
                yield
        except sqlite3.DatabaseError:
            with self._damage_told(writing=True):
                raise

    @contextmanager
    def read_transaction(self) -> Iterator[None]:
        """Read everything in this context as of one moment, whatever a process that trains writes meanwhile."""
        if self.connection.in_transaction:  # in one already
            yield
            return
        with self._damage_told():
            self.connection.execute("begin")
        try:
            yield
        finally:
            self.connection.rollback()

    def _has(self, table: str) -> bool:
        return bool(self._rows("select 1 from sqlite_master where name = ?", (table,)))

    def _rows(self, query: str, parameters: tuple = ()) -> list[tuple]:
        """Return all rows of a query.

        Raises:
          DamagedError: the file's bytes are not what was written.
        """
        with self._damage_told():
            return self.connection.execute(query, parameters).fetchall()


def _beside(run: Path) -> list[str]:
    """Return the names of the readable runs in the same folder as a path."""
    try:
        return [entry.name for entry in os.scandir(run.parent) if run_folder.exists(Path(entry.path))]
    except OSError:
        return []


def quoted(name: str) -> str:
    """Return a metric's name as a column."""
    return '"' + name.replace('"', '""') + '"'
