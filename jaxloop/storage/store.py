"""The single truth of a run: members, statuses, curves and which checkpoint counts, in one SQLite file."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxloop.storage import facts
from jaxloop.storage.database import FORMAT, LATER_TABLES, quoted
from jaxloop.storage.queries import Queries
from jaxloop.storage.records import NewMember, Status


class Store(Queries):
    """One run's file, to write to. A turn's records are one transaction."""

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
        self.upgrade()
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

    def extend(self, members: Sequence[NewMember], finished: Iterable[int]) -> None:
        """Give members more steps, within a transaction; those that had finished are running again.

        Args:
          members: with their new hparams, ids and configs; their folders stay.
          finished: the numbers of these.
        """
        self.connection.executemany(
            "update members set id = ?, config = ?, hparams = ? where number = ?",
            [(new.id, new.config, json.dumps(new.hparams), new.number) for new in members],
        )
        rows = [(number,) for number in finished]
        tests = [f"{quoted(name)} = null" for name in self.metric_names() if name.startswith("test/")]
        if tests:
            self.connection.executemany(f"update curves set {', '.join(tests)} where member = ?", rows)
        if self._has("arrays"):
            self.connection.executemany("delete from arrays where member = ? and metric like 'test/%'", rows)
        self.connection.executemany(
            f"update members set status = '{Status.RUNNING}', retired = null, finished = null where number = ?",
            rows,
        )

    def append(self, turn: int, records: Sequence[Mapping[str, Any]]) -> None:
        """Append records to the loop's ledger after a turn, within a transaction."""
        if records:
            self.upgrade()
            rows = [(turn, json.dumps(record)) for record in records]
            self.connection.executemany("insert into ledger(turn, record) values(?, ?)", rows)

    def add_metrics(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.metric_names():
                self.connection.execute(f"alter table curves add column {quoted(name)} real")

    def admit(self, numbers: Iterable[int], turn: int) -> None:
        rows = [(Status.RUNNING, turn, number) for number in numbers]
        self.connection.executemany("update members set status = ?, admitted = ? where number = ?", rows)

    def record(self, turn: int, numbers: Sequence[int], steps: Sequence[int], metrics: dict[str, Any]) -> None:
        """One point of the curves of some members: their steps and, by name, an array of values each."""
        columns = ", ".join(quoted(name) for name in metrics)
        marks = ", ".join("?" * (3 + len(metrics)))
        values = [np.asarray(column, float).tolist() for column in metrics.values()]
        rows = zip(numbers, steps, [turn] * len(numbers), *values, strict=True)
        # a member that could not take one more step has its point already, and only its test metrics are new
        kept = ", ".join(f"{name} = coalesce(excluded.{name}, {name})" for name in map(quoted, metrics))
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
        self.upgrade()
        self.connection.executemany(
            "insert or replace into pauses(member, turn, paused) values(?, ?, ?)",
            [(number, turn, is_paused) for number, is_paused in changes],
        )
        statuses = [(Status.PAUSED if is_paused else Status.RUNNING, number) for number, is_paused in changes]
        self.connection.executemany("update members set status = ? where number = ?", statuses)

    def record_arrays(self, turn: int, arrays: Iterable[tuple[int, int, str, np.ndarray]]) -> None:
        """Record measured arrays, each with its member's number, the member's steps and the metric's name."""
        rows = [
            (number, step, metric, turn, json.dumps(array.shape), np.asarray(array, "<f4").tobytes())
            for number, step, metric, array in arrays
        ]
        if rows:
            self.upgrade()
            self.connection.executemany(
                "insert or replace into arrays(member, step, metric, turn, shape, content) "
                "values(?, ?, ?, ?, ?, ?)",
                rows,
            )

    def upgrade(self) -> None:
        """Give a run today's format, within a transaction; earlier versions of jaxloop can no longer read it."""
        if self.format != FORMAT:
            for name, columns in LATER_TABLES.items():
                self.connection.execute(f"create table if not exists {name}{columns}")
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
            if self._has("arrays"):
                execute("delete from arrays where turn > ?", (turn,))
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
