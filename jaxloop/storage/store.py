"""The single truth of a run: members, statuses, curves and which checkpoint counts, in one SQLite file."""

import copy
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from pydantic import TypeAdapter

from jaxloop.errors import DamagedError, JaxloopError, NotFoundError, SweepError, is_out_of_resources, sqlite_code
from jaxloop.storage import facts, run_folder
from jaxloop.storage.records import Member, NewMember, Status, from_row
from jaxloop.sweep.suggest import nearest

FORMAT, READABLE = 5, (2, 3, 4, 5)
TABLES = {  # that runs of earlier formats lack
    # which members a scheduler paused or resumed, after which turn
    "pauses": "(member integer, turn integer, paused integer not null, primary key(member, turn)) without rowid",
    # which members joined after a turn; copies have a parent, and the steps that this had taken
    "joins": "(member integer primary key, turn integer not null, parent integer, step integer)",
    # what a loop has decided, in order, each after a turn
    "ledger": "(number integer primary key, turn integer not null, record text not null)",
}
PATH_BYTES = 490  # of a run's folder: SQLite takes paths of 512, with names of its own behind them
READERS = {1: "format 1 was never released"}  # of earlier formats: which version can


class Store(facts.Facts):
    """One run's file. A turn's records are one transaction; readers never wait for the writer (WAL)."""

    def __init__(self, run: Path, *, create: bool = False, content: bytes | None = None) -> None:
        """Open a run's file.

        Args:
          create: a new one.
          content: of another process's, to read in memory; the file is left alone.

        Raises:
          NotFoundError, DamagedError: there is none, or it cannot be read.
        """
        self.path = run_folder.database(run)
        refuse_long(run)
        if content is not None:
            self.connection = sqlite3.connect(":memory:", isolation_level=None)
            self.connection.deserialize(content)
            return
        if not create and not exists(run):
            hint = f"; {run.parent} is one" if exists(run.parent) else nearest(run.name, _beside(run))
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
                f"{self.path}: has format {found}, this jaxloop reads {' and '.join(map(str, READABLE))}; {reader}"
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
            {"".join(f"create table {name}{columns};" for name, columns in TABLES.items())}
            create table facts(key text primary key, value text not null);
            create table members(number integer primary key, id text unique not null, config text not null,
              hparams text not null, folder text not null, status text not null, step integer not null,
              admitted integer, retired integer, finished text);
            create table curves(member integer, step integer, turn integer, primary key(member, step))
              without rowid;
            create index members_retired on members(retired);
            commit;"""
        )
        self.put(format=FORMAT)

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> "Store":
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
                raise ValueError(f"it does not tell the run's {name}")
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
            if is_out_of_resources(error) and (writing or code != sqlite3.SQLITE_CANTOPEN):
                raise
            raise DamagedError(f"{self.path}: not a readable run file: {error}") from None
        except JaxloopError:
            raise
        except (sqlite3.DatabaseError, ValueError, TypeError, KeyError, OverflowError) as error:
            raise DamagedError(f"{self.path}: not a readable run file: {str(error)[:200]}") from None

    # writing

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

    def add_members(self, members: Iterable[NewMember]) -> None:
        """Record members that wait, within a transaction."""
        rows = (
            (new.number, new.id, new.config, json.dumps(new.hparams), new.folder, Status.WAITING, 0)
            for new in members
        )
        self.connection.executemany(
            "insert into members(number, id, config, hparams, folder, status, step) values(?, ?, ?, ?, ?, ?, ?)",
            rows,
        )

    def join(self, turn: int, members: Sequence[NewMember], size_classes: list[list[list[int]]]) -> None:
        """Record members that join after a turn, within a transaction; copies have begun.

        Args:
          size_classes: as the fact of that name, with the new members.
        """
        if not members:
            return
        self._add_tables()
        self.add_members(members)
        self.connection.executemany(
            "insert into joins(member, turn, parent, step) values(?, ?, ?, ?)",
            [(new.number, turn, new.parent, new.parent_step) for new in members],
        )
        self.connection.executemany(
            "update members set status = ?, step = ?, admitted = ? where number = ?",
            [(Status.RUNNING, new.parent_step, turn, new.number) for new in members if new.parent is not None],
        )
        self.put(size_classes=size_classes)

    def append(self, turn: int, records: Sequence[Mapping[str, Any]]) -> None:
        """Append records to the loop's ledger after a turn, within a transaction."""
        if records:
            self._add_tables()
            rows = [(turn, json.dumps(record)) for record in records]
            self.connection.executemany("insert into ledger(turn, record) values(?, ?)", rows)

    def add_metrics(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.metric_names():
                self.connection.execute(f"alter table curves add column {_quoted(name)} real")

    def admit(self, numbers: Iterable[int], turn: int) -> None:
        rows = [(Status.RUNNING, turn, number) for number in numbers]
        self.connection.executemany("update members set status = ?, admitted = ? where number = ?", rows)

    def record(self, turn: int, numbers: Sequence[int], steps: Sequence[int], metrics: dict[str, Any]) -> None:
        """One point of the curves of some members: their steps and, by name, an array of values each."""
        columns = ", ".join(_quoted(name) for name in metrics)
        marks = ", ".join("?" * (3 + len(metrics)))
        values = [np.asarray(column, float).tolist() for column in metrics.values()]
        rows = zip(numbers, steps, [turn] * len(numbers), *values, strict=True)
        # a member that could not take one more step has its point already, and only its test metrics are new
        kept = ", ".join(f"{name} = coalesce(excluded.{name}, {name})" for name in map(_quoted, metrics))
        self.connection.executemany(
            f"insert into curves(member, step, turn, {columns}) values({marks}) "
            f"on conflict(member, step) do update set {kept}",
            rows,
        )
        self.connection.executemany(
            "update members set step = ? where number = ?", zip(steps, numbers, strict=True)
        )

    def retire(self, turn: int, leavers: dict[int, Status], folders: dict[int, str]) -> None:
        """End members; `folders` are those of their final parameters, where they are kept."""
        rows = [(status, turn, folders.get(number), number) for number, status in leavers.items()]
        self.connection.executemany(
            "update members set status = ?, retired = ?, finished = ? where number = ?", rows
        )

    def pause(self, turn: int, paused: Iterable[int], going_on: Iterable[int]) -> None:
        """Record which members a turn's end paused, and which paused ones it had go on."""
        changes = [(number, True) for number in paused] + [(number, False) for number in going_on]
        if not changes:
            return
        self._add_tables()
        self.connection.executemany(
            "insert or replace into pauses(member, turn, paused) values(?, ?, ?)",
            [(number, turn, is_paused) for number, is_paused in changes],
        )
        statuses = [(Status.PAUSED if is_paused else Status.RUNNING, number) for number, is_paused in changes]
        self.connection.executemany("update members set status = ? where number = ?", statuses)

    def _add_tables(self) -> None:
        """Add what a run of an earlier format lacks; an earlier jaxloop then reads it no more."""
        for name, columns in TABLES.items():
            self.connection.execute(f"create table if not exists {name}{columns}")
        if self.format != FORMAT:
            self.put(format=FORMAT)

    def drop_final_folders(self) -> None:
        """Forget where final parameters are: they have been deleted, or soon will be."""
        self.connection.execute("update members set finished = null")

    def rewind(self, turn: int, checkpoint: facts.Shards) -> None:
        """Forget all that came after a turn, whose checkpoint is now the newest: the rest is trained again."""
        with self.transaction():
            execute = self.connection.execute
            self.put(checkpoint=checkpoint)
            self._rewind_joins(turn)
            if self._has("ledger"):
                execute("delete from ledger where turn > ?", (turn,))
            execute("delete from curves where turn > ?", (turn,))
            execute("update members set status = ? where status = ?", (Status.RUNNING, Status.PAUSED))
            execute(
                "update members set status = ?, retired = null, finished = null where retired > ?",
                (Status.RUNNING, turn),
            )
            execute(
                "update members set status = ?, admitted = null, step = 0 where admitted > ?",
                (Status.WAITING, turn),
            )
            execute(
                "update members set step = coalesce((select max(step) from curves where member = number), "
                f"(select step from {self._joins} where member = number), 0) where status = ?",
                (Status.RUNNING,),
            )
            self._rewind_pauses(turn)

    def _has(self, table: str) -> bool:
        return bool(self._rows("select 1 from sqlite_master where name = ?", (table,)))

    @property
    def _joins(self) -> str:
        """The table of joins; where an earlier format has none, an empty one."""
        return "joins" if self._has("joins") else "(select 0 member, 0 turn, 0 parent, 0 step where false)"

    def _rewind_joins(self, turn: int) -> None:
        """Forget the members that joined after a turn."""
        later = {member for (member,) in self._rows(f"select member from {self._joins} where turn > ?", (turn,))}
        if later:
            self.connection.execute(
                "delete from members where number in (select member from joins where turn > ?)", (turn,)
            )
            self.connection.execute("delete from joins where turn > ?", (turn,))
            left = [[[n for n in part if n not in later] for part in parts] for parts in self.size_classes]
            self.put(size_classes=[parts for parts in left if any(parts)])
            for bucket in range(len(left)):
                if not any(left[bucket]):
                    self.put_layout(bucket, None)

    def _rewind_pauses(self, turn: int) -> None:
        """Forget the pauses after a turn; those that were paused then are so again."""
        if not self._has("pauses"):
            return
        self.connection.execute("delete from pauses where turn > ?", (turn,))
        self.connection.execute(
            "update members set status = ? where status = ? and (select paused from pauses "
            "where member = number order by turn desc limit 1)",
            (Status.PAUSED, Status.RUNNING),
        )

    # reading

    def _rows(self, query: str, parameters: tuple = ()) -> list[tuple]:
        """Return all rows of a query.

        Raises:
          DamagedError: the file's bytes are not what was written.
        """
        with self._damage_told():
            return self.connection.execute(query, parameters).fetchall()

    def metric_names(self) -> list[str]:
        return [name for (name,) in self._rows("select name from pragma_table_info('curves')") if "/" in name]

    def members(self, where: str = "1", parameters: tuple = ()) -> list[Member]:
        names = self.metric_names()
        # The last value of each metric: the point at the member's own step holds all of them.
        last = "".join(f", c.{_quoted(name)}" for name in names)
        rows = self._rows(
            f"select number, id, config, hparams, status, m.step, folder, finished, j.turn, parent, j.step{last} "
            f"from members m left join {self._joins} j on j.member = m.number "
            f"left join curves c on c.member = m.number and c.step = m.step where {where} order by number",
            parameters,
        )
        with self._damage_told():
            return [from_row(names, *row) for row in rows]

    def member(self, label: str) -> Member:
        """Return a member by its number or a prefix of its id (at least 4 characters)."""
        if label.isdecimal() and len(label) < 10 and (found := self.members("number = ?", (int(label),))):
            return found[0]
        found = self.members("substr(id, 1, ?) = ?", (len(label), label)) if len(label) >= 4 else []
        if len(found) != 1:
            last = sum(self.counts().values()) - 1
            rule = f"needs a number from 0 to {last}, or the first 4 letters or more of an id"
            fits = ", ".join(str(member.number) for member in found)
            why = f"the ids of members {fits} begin so: more letters are needed" if found else rule
            raise NotFoundError(f"{self.path.parent}: no member {label!r}: {why}")
        return found[0]

    def ledger(self) -> list[dict[str, Any]]:
        """Return the records of the loop's ledger, in order."""
        rows = self._rows("select record from ledger order by number") if self._has("ledger") else []
        with self._damage_told():
            return [dict(json.loads(record)) for (record,) in rows]

    def counts(self) -> dict[str, int]:
        found = dict(self._rows("select status, count(*) from members group by status"))
        return {status: found.get(status, 0) for status in Status}

    def steps(self, number: int | None = None) -> np.ndarray:
        """(points,) int64 steps at which any member, or one, has a point."""
        one, parameters = ("1", ()) if number is None else ("member = ?", (number,))
        found = self._rows(f"select distinct step from curves where {one} order by step", parameters)
        with self._damage_told():
            return np.array([step for (step,) in found], np.int64)

    def curves(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """(points,) int64 steps and (members, points) float32 values; NaN where a member has none."""
        if metric not in self.metric_names():
            raise NotFoundError(f"no metric {metric!r}; there are {', '.join(self.metric_names())}")
        steps = self.steps().tolist()
        ((count,),) = self._rows("select count(*) from members")
        values = np.full((count, len(steps)), np.nan, np.float32)
        place = {step: i for i, step in enumerate(steps)}
        column = _quoted(metric)
        for member, step, value in self._rows(
            f"select member, step, {column} from curves where {column} is not null"
        ):
            values[member, place[step]] = value
        return np.asarray(steps, np.int64), values

    def trained_at(self, turn: int) -> dict[int, int]:
        """Return the steps of each member that was being trained at the end of a turn, by number."""
        rows = self._rows(
            f"select number, coalesce(max(c.step), j.step, 0) from members m "
            f"left join {self._joins} j on j.member = m.number "
            "left join curves c on c.member = m.number and c.turn <= ?1 "
            "where admitted <= ?1 and (retired is null or retired > ?1) group by number",
            (turn,),
        )
        return dict(rows)

    def points(self, number: int, turn: int | None = None) -> dict[tuple[str, int], float]:
        """Return one member's curves: its measured values by (metric, step), as they were at the end of a turn."""
        names = self.metric_names()
        columns = ", ".join(["step", *map(_quoted, names)])
        rows = self._rows(
            f"select {columns} from curves where member = ?1 and turn <= coalesce(?2, turn)", (number, turn)
        )
        return {
            (name, step): value
            for step, *values in rows
            for name, value in zip(names, values, strict=True)
            if value is not None
        }


def refuse_long(run: Path) -> None:
    """Make sure that SQLite can open a file in a folder, if the folder's name is one that the file system takes.

    Raises:
      SweepError: its path is too long.
    """
    size = len(os.fsencode(run.absolute()))
    if size > PATH_BYTES and len(os.fsencode(run.name)) < 256:
        raise SweepError(f"{run}: path too long: needs at most {PATH_BYTES} bytes, has {size}")


def exists(run: Path) -> bool:
    """Return whether the folder holds a run; False for a path that is too long."""
    return os.path.exists(run_folder.database(run))


def _beside(run: Path) -> list[str]:
    """Return the names of the readable runs in the same folder as a path."""
    try:
        return [entry.name for entry in os.scandir(run.parent) if exists(Path(entry.path))]
    except OSError:
        return []


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
