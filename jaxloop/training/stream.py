"""A program's members on their way through its slots: who sits, what a turn gave, who leaves. No disk here."""

from typing import Any

import jax
import numpy as np

from jaxloop.core.program import CompiledProgram
from jaxloop.core.slots import Slots
from jaxloop.core.task import Task
from jaxloop.storage import run_folder
from jaxloop.storage.records import Status
from jaxloop.storage.snapshot import Snapshot, joined
from jaxloop.sweep.sweep import Sweep
from jaxloop.training import processes, retire
from jaxloop.training.turn import Turn


class Stream:
    """The members of one program: those of a snapshot, and those that have not begun.

    Every process seats all members, by the same rules, and computes those in its own slots: `capacity` of them,
    from `first` on.

    Args:
      data: resident, as `compiled.shared` gives it.
      waiting: numbers of members that have not begun, in order.
      resumed: members that go on; where more than there are slots, some wait with what they have.
    """

    def __init__(
        self,
        sweep: Sweep,
        task: Task,
        program: CompiledProgram,
        data: Any,
        waiting: list[int],
        resumed: Snapshot | None,
    ):
        self.sweep, self.task, self.program, self.data = sweep, task, program, data
        self.resumed = resumed
        self.parked = {number: row for row, number in enumerate(resumed.members.tolist())} if resumed else {}
        self.slots = Slots(
            program.bucket,
            sweep.members,
            program.capacity * processes.count(),
            program.group_size,
            [*self.parked, *waiting],
            program.mesh.size * processes.count(),
        )
        self.first = program.capacity * processes.index()
        self.own = slice(self.first, self.first + program.capacity)
        self.state = program.empty()
        self.hparams = self._columns()
        self.nobody = program.place(np.zeros(program.capacity, bool))
        self.admitted: list[int] = []
        self.record: Any = None

    def begin(self) -> bool:
        """Admit waiting members into free slots and dispatch a turn. Return False if no member is active."""
        newly = self.slots.admit()
        if not len(self.slots.seated):
            return False
        fresh = self.nobody
        if newly.any():
            self._go_on(newly)
            fresh, self.hparams = self.program.place(newly[self.own]), self._columns()
        self.admitted = self.slots.members[newly].tolist()
        self.state, self.record = self.program.advance(self.hparams, self.state, fresh, self.data)
        return True

    def wait(self) -> None:
        """Wait until this process's devices have computed the turn."""
        jax.block_until_ready(self.record)

    def end(self) -> dict[str, np.ndarray]:
        """Wait for the turn and return what it measured in the slots of all processes."""
        return processes.gathered(self.record)

    def turn(self, number: int, record: dict[str, np.ndarray]) -> Turn:
        """Read a turn's record: which members have a new point and which end; free the slots of the latter."""
        slots, seated = self.slots, self.slots.seated
        members, steps = slots.members[seated], record["step"][seated].astype(np.int64)
        before = slots.steps[seated]
        slots.steps[seated] = steps
        diverged = record["diverged"][seated]
        budgets = np.array([self.sweep.members[member]["steps"] for member in members])
        stood = (steps == before) & (steps > 0)  # diverged at once: its point is recorded already
        leaving = np.flatnonzero(diverged | (steps >= budgets))
        folders, ended = self._finals(number, seated[leaving]) if len(leaving) else ({}, [])
        slots.free(seated[leaving])
        return Turn(
            number=number,
            admitted=self.admitted,
            members=members,
            own=(seated >= self.own.start) & (seated < self.own.stop),
            steps=steps,
            taken=int((steps - before).sum()),
            given_up=int((budgets - steps)[diverged].sum()),
            metrics={
                name: np.where(stood & name.startswith("validation/"), np.nan, record[name][seated])
                for name in self.program.metrics
            },
            leavers={int(members[i]): Status.DIVERGED if diverged[i] else Status.FINISHED for i in leaving},
            folders=folders,
            finals=ended,
            settled=not slots.waiting and not len(slots.seated),
        )

    def parts(self) -> list[int]:
        """Return the processes that write a shard: those with active members, and process 0 for parked ones."""
        holders = set((self.slots.seated // self.program.capacity).tolist())
        return sorted(holders | {0} if self.parked else holders)

    def snapshot(self) -> Snapshot | None:
        """Return this process's shard of a checkpoint, if it has one."""
        seated = self.slots.seated
        own = seated[(seated >= self.own.start) & (seated < self.own.stop)]
        found = [Snapshot(self.slots.members[self.own], jax.device_get(self.state) if len(own) else None)]
        if len(own) < self.program.capacity:  # else no second copy
            found = [found[0].rows(own - self.first)]
        if self.parked and self.resumed and processes.leads():
            found.append(self.resumed.rows(list(self.parked.values())))
        return joined([part for part in found if len(part.members)])

    def _columns(self) -> dict[str, jax.Array]:
        return self.program.place({name: column[self.own] for name, column in self.slots.columns.items()})

    def _go_on(self, newly: np.ndarray) -> None:
        """Put what resumed members had into the slots they were given; of those, `newly` becomes false."""
        places = [slot for slot in np.flatnonzero(newly).tolist() if self.slots.members[slot] in self.parked]
        if not places or self.resumed is None:
            return
        rows = self.resumed.rows([self.parked.pop(int(self.slots.members[slot])) for slot in places])
        newly[places] = False
        self.slots.steps[places] = rows.state.step
        here = [at for at, slot in enumerate(places) if self.own.start <= slot < self.own.stop]
        slots = np.array(places, int)[here] - self.first

        def put(leaf, row):
            changed = np.array(leaf)
            changed[slots] = row[here]
            return changed

        self.state = self.program.place(jax.tree.map(put, jax.device_get(self.state), rows.state))
        if not self.parked:
            self.resumed = None

    def _finals(self, turn: int, slots: np.ndarray) -> tuple[dict[int, str], list[tuple[str, retire.Finals]]]:
        """Return the folders of what leavers end with, of all processes, and the contents of this one's."""
        if self.sweep.document.checkpoint.keep == "none":
            return {}, []
        members = self.slots.members[slots]
        trees = jax.device_get(retire.kinds(self.state))
        folders, ended = {}, []
        owners = slots // self.program.capacity
        for count, part in enumerate(retire.parts(self.sweep, self.task, self.program, members, owners)):
            folder = run_folder.final_name(turn, count)
            folders |= dict.fromkeys(members[part].tolist(), folder)
            if owners[part[0]] == processes.index():
                rows, numbers = slots[part] - self.first, members[part]
                content = retire.ended_with(self.sweep, self.task, self.program, trees, rows, numbers)
                ended.append((folder, content))
        return folders, ended
