"""What a run's store knows: members, counts, curves, the ledger."""

import json
import tomllib
from typing import Any

import numpy as np

from jaxloop.errors import NotFoundError
from jaxloop.storage.database import Database, quoted
from jaxloop.storage.facts import Totals
from jaxloop.storage.records import ENDED, Member, Status, from_row
from jaxloop.sweep.catalog import REPLICATES
from jaxloop.sweep.suggest import nearest


class Queries(Database):
    """The questions that readers ask of a run's file."""

    def metric_names(self) -> list[str]:
        return [name for (name,) in self._rows("select name from pragma_table_info('curves')") if "/" in name]

    def members(self, where: str = "1", parameters: tuple = ()) -> list[Member]:
        names = self.metric_names()
        # The last value of each metric: the point at the member's own step holds all of them.
        last = "".join(f", c.{quoted(name)}" for name in names)
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

    @property
    def is_loop(self) -> bool:
        return "loop" in tomllib.loads(self.sweep)

    @property
    def rounds(self) -> int | None:
        """How many rounds the loop has; None where the number is open, or there is no loop."""
        found = tomllib.loads(self.sweep).get("loop", {}).get("rounds")
        return found if isinstance(found, int) else None

    @property
    def axes(self) -> list[str]:
        """The names of what varies, without seeds and folds."""
        return [name for name in self.varied if name not in REPLICATES]

    @property
    def trains(self) -> bool:
        """Whether members are left to train."""
        counts = self.counts()
        return any(counts[status] for status in Status if status not in ENDED)

    def totals(self) -> Totals:
        """Return what training has taken so far, also since the last checkpoint."""
        return self.since_checkpoint or {"seconds": self.seconds, "member_steps": self.member_steps}

    def task(self) -> str:
        """Return the task that the run trains, as its sweep names it."""
        with self._damage_told():
            return str(tomllib.loads(self.sweep)["run"]["task"])

    def member_steps_done_and_left(self) -> tuple[int, int]:
        """Return the steps that all members have taken, and those that members which have not ended will take."""
        members = self.members()
        with self._damage_told():
            left = sum(int(each.hparams["steps"]) - each.step for each in members if each.status not in ENDED)
        return sum(each.step for each in members), left

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
        self.require_metric(metric)
        with self.read_transaction():
            steps = self.steps()
            ((count,),) = self._rows("select count(*) from members")
            column = quoted(metric)
            rows = self._rows(f"select member, step, {column} from curves where {column} is not null")
        values = np.full((count, len(steps)), np.nan, np.float32)
        found = np.array(rows, np.float64).reshape(-1, 3)
        values[found[:, 0].astype(int), np.searchsorted(steps, found[:, 1])] = found[:, 2]
        return steps, values

    def require_metric(self, metric: str) -> None:
        """Make sure that a run measures a metric, in numbers.

        Raises:
          NotFoundError: it does not, or in arrays.
        """
        names, run = self.metric_names(), self.path.parent
        if metric in names:
            return
        arrays = self._rows("select distinct metric from arrays") if self._has("arrays") else []
        if metric in [name for (name,) in arrays]:
            raise NotFoundError(f"{run}: {metric!r} has arrays for values: see `run.arrays` in Python")
        near = nearest(metric if "/" in metric else f"validation/{metric}", names)
        raise NotFoundError(f"{run}: no metric {metric!r}" + (near or f"; there are {', '.join(names)}"))

    def arrays(self, number: int) -> dict[str, dict[int, np.ndarray]]:
        """Return a member's measured arrays, float32, by metric and step."""
        found: dict[str, dict[int, np.ndarray]] = {}
        query = "select metric, step, shape, content from arrays where member = ? order by metric, step"
        for metric, step, shape, content in self._rows(query, (number,)) if self._has("arrays") else []:
            with self._damage_told():
                array = np.frombuffer(content, "<f4").reshape(json.loads(shape))
            found.setdefault(metric, {})[step] = array
        return found

    def turns(self) -> dict[int, tuple[int, int | None]]:
        """Return the turns after which each member began and ended, by number; without those that wait."""
        rows = self._rows(
            "select number, admitted, retired from members where admitted is not null order by number"
        )
        return {number: (admitted, retired) for number, admitted, retired in rows}

    def evaluation_curves(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Return `curves` at the steps at which all members are measured, not those at which single ones ended."""
        steps, values = self.curves(metric)
        kept = self.is_evaluation_step(steps)
        return steps[kept], np.where(np.isfinite(values[:, kept]), values[:, kept], np.nan)

    def is_evaluation_step(self, steps: np.ndarray) -> np.ndarray:
        """Return whether each of the (points,) steps is one at which all members are measured, as bools."""
        with self._damage_told():
            every = int(tomllib.loads(self.sweep)["run"]["evaluate_every"])
        return (steps % every == 0) | (steps == steps.max(initial=0))

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

    def turns_of_ends(self, status: Status) -> set[int]:
        """Return the turns in which members ended that have a status."""
        return {turn for (turn,) in self._rows("select distinct retired from members where status = ?", (status,))}

    def points(self, number: int, turn: int | None = None) -> dict[tuple[str, int], float]:
        """Return one member's curves: its measured values by (metric, step), as they were at the end of a turn."""
        names = self.metric_names()
        columns = ", ".join(["step", *map(quoted, names)])
        rows = self._rows(
            f"select {columns} from curves where member = ?1 and turn <= coalesce(?2, turn) order by step",
            (number, turn),
        )
        return {
            (name, step): value
            for step, *values in rows
            for name, value in zip(names, values, strict=True)
            if value is not None
        }

    @property
    def _joins(self) -> str:
        """The table of joins; where an earlier format has none, an empty one."""
        return "joins" if self._has("joins") else "(select 0 member, 0 turn, 0 parent, 0 step where false)"
