"""A program's members on their way through its slots: who sits, what a turn gave, who leaves. No disk here."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxloop.core.program import CompiledProgram
from jaxloop.core.slots import IDLE, Slots
from jaxloop.core.task import Task
from jaxloop.storage.records import Status
from jaxloop.storage.snapshot import Snapshot, concatenated
from jaxloop.sweep.sweep import Sweep
from jaxloop.training import extension, joins, measurement, processes, retire
from jaxloop.training.feed import Feed
from jaxloop.training.flight import Flight
from jaxloop.training.parked import Parked
from jaxloop.training.scheduler import Join, Measured, RunToBudget, Scheduler, decide
from jaxloop.training.turn import Turn


class Members(NamedTuple):
    """A program's members that have not ended.

    waiting: numbers of those that have not begun, in order.
    begun: those in the checkpoint, and the steps that each has taken.
    paused: of these, those that a scheduler has paused.
    """

    waiting: list[int]
    begun: dict[int, int]
    paused: list[int]


class Stream:
    """The members of one program: those of a snapshot, and those that have not begun.

    Every process seats all members, by the same rules, and computes those in its own slots: `capacity` of them,
    from `first` on.

    Args:
      data: resident, as `program.shared` gives it.
      resumed: the members that have begun; where they outnumber the slots, the rest wait and keep their states.
    """

    def __init__(
        self,
        sweep: Sweep,
        task: Task,
        program: CompiledProgram,
        data: Any,
        members: Members,
        resumed: Snapshot | None,
        scheduler: Scheduler,
    ) -> None:
        self.sweep, self.task, self.program = sweep, task, program
        self.flight = Flight(Feed(sweep, task, program, data))
        self.keeps_states = extension.keeps_states(sweep, task, program.bucket)
        self.scheduler, self.parked = scheduler, Parked(resumed)
        self.paused = set(members.paused)
        self.going_on: list[int] = []  # to be recorded with the next turn
        self.slots = Slots(
            program.bucket,
            sweep.members,
            program.capacity * processes.count(),
            program.group_size,
            [*(number for number in self.parked.members if number not in self.paused), *members.waiting],
            program.mesh.size * processes.count(),
        )
        if self.paused:
            measured = Measured(paused=sorted(self.paused), hparams=sweep.members)
            self._requeue(decide(scheduler, measured).resume)
        self.first = program.capacity * processes.index()
        self.own = slice(self.first, self.first + program.capacity)
        self.hparams = self._columns()
        self.nobody = program.place(np.zeros(program.capacity, bool))
        self.freed_early = self.has_vacated_slots = False

    def begin(self) -> bool:
        """Admit waiting members and dispatch a turn, unless one is in flight. Return False if nobody is left."""
        if self.flight.is_ahead:  # those that wait are admitted after it
            return bool(len(self.slots.seated) or self.slots.waiting)
        if self.has_vacated_slots and not self.slots.waiting:
            self._regroup()
        newly, self.has_vacated_slots = self.slots.admit(), False
        if not len(self.slots.seated):
            return False
        fresh = self.nobody
        if newly.any() or self.freed_early:
            self.hparams, self.freed_early = self._columns(), False
        if newly.any():
            self._restore_states(newly)
            fresh = self.program.place(newly[self.own])
        self._dispatch(fresh, self.slots.members[newly].tolist())
        return True

    def run_ahead(self) -> None:
        """Dispatch one more turn behind the one in flight, unless what that measures could change who trains.

        A member that diverges or is done in the first takes no step in the second.
        """
        seated, chunk = self.slots.seated, self.sweep.document.run.evaluate_every
        nobody_ends = (self.slots.steps[seated] + chunk < self.slots.columns["steps"][seated]).all()
        is_alone = processes.count() == 1 and self.task.data.source is None
        if nobody_ends and not self.has_vacated_slots and is_alone and type(self.scheduler) is RunToBudget:
            self._dispatch(self.nobody, [])

    def _dispatch(self, fresh: Any, admitted: list[int]) -> None:
        own, columns = self.own, {name: column[self.own] for name, column in self.slots.columns.items()}
        seated = np.flatnonzero(self.slots.members[own] != IDLE)
        where, data = self.flight.feed.chunk(columns, self.slots.steps[own], seated)
        self.flight.dispatch({**self.hparams, **self.program.place(where)}, fresh, data, admitted)

    def turn(self, number: int) -> Turn:
        """Read the first turn in flight: who has a new point, ends, pauses or joins; free the slots of these."""
        flown = self.flight.pop()
        record: dict[str, np.ndarray] = processes.gathered(flown.record)
        slots, seated = self.slots, self.slots.seated
        before, own = slots.steps[seated], (seated >= self.own.start) & (seated < self.own.stop)
        measured = measurement.measured(record, slots, self.program.metrics, self.sweep.members, self.paused)
        members, steps = measured.members, measured.steps
        slots.steps[seated] = steps
        decisions = decide(self.scheduler, measured)
        stopped = measured.is_active & np.isin(members, list(decisions.stop))
        pausing = measured.is_active & ~stopped & np.isin(members, list(decisions.pause))
        joined = self._join(decisions.join)
        self._pause(seated[pausing])
        self._requeue(decisions.resume)
        leaving = stopped | ~measured.is_active
        held_until_now = sorted(self.paused & set(decisions.stop))
        if not slots.waiting and (leaving | pausing).all():  # no running or waiting member is left to wait for
            held_until_now = sorted(self.paused)
        given_up = self._steps_left(held_until_now) + self._budgets(members[leaving]) - int(steps[leaving].sum())
        groups = self._leavers(seated[leaving], held_until_now)
        folders, finals = retire.finals(self.sweep, self.task, self.program, number, groups)
        states = self._states(seated[leaving & ~stopped & ~measured.diverged])
        slots.free(seated[leaving | pausing])
        self.freed_early = bool((stopped | pausing).any())  # else the program would go on with them
        self.has_vacated_slots |= bool((leaving | pausing).any())
        self.paused -= set(held_until_now)
        kinds = np.where(measured.diverged, Status.DIVERGED, np.where(stopped, Status.STOPPED, Status.FINISHED))
        leavers = {int(members[at]): Status(kinds[at]) for at in np.flatnonzero(leaving)}
        going_on, self.going_on = self.going_on, []
        return Turn(
            number=number,
            admitted=flown.admitted,
            members=members,
            own=own,
            steps=steps,
            taken=int((steps - before).sum()),
            given_up=given_up,
            metrics=dict(measured.metrics),
            arrays=measurement.arrays(record, seated, steps == before, self.program.arrays),
            leavers=leavers | dict.fromkeys(held_until_now, Status.STOPPED),
            folders=folders,
            finals=finals,
            states=states,
            paused=members[pausing].tolist(),
            going_on=going_on,
            joined=joined,
            records=decisions.records,
            settled=not slots.waiting and not len(slots.seated),
        )

    def _budgets(self, members: np.ndarray) -> int:
        """Return the steps that some members would take in all."""
        return sum(self.sweep.members[number]["steps"] for number in members.tolist())

    def _join(self, wanted: Sequence[Join]) -> list[joins.Joined]:
        """Give members that join their numbers, and let them wait for a slot; copies have what they copy."""
        seats = {number: slot for slot, number in enumerate(self.slots.members.tolist())}
        joined, copies = [], []
        for join in wanted:
            step = 0 if (parent := joins.parent(join)) is None else int(self.slots.steps[seats[parent]])
            member = joins.place_member(self.sweep, [self.program.bucket], join, step)
            joined.append(member)
            copies += [member.number] if join.copy else []
        parents = [seats[parent] for join in wanted if (parent := joins.parent(join)) is not None]
        self._park(np.array(parents, int), np.array(copies, np.int32))
        for member in joined:
            if member.is_placed and member.parent is None:
                self.slots.wait(member.number)
        self.slots.wait_first([member.number for member in joined if member.parent is not None])
        return joined

    def _steps_left(self, members: list[int]) -> int:
        """Return the steps that parked members have not taken."""
        taken = self.parked.steps()
        return sum(self.sweep.members[number]["steps"] - taken[number] for number in members)

    def _pause(self, slots: np.ndarray) -> None:
        """Take members out of their slots, with all that they need to go on."""
        members = self.slots.members[slots].copy()
        self._park(slots, members)
        self.paused |= set(members.tolist())

    def _regroup(self) -> None:
        """Move members together, if many groups have only a few of them left; they keep their bits."""
        moving = self.slots.scattered()
        members = self.slots.members[moving].copy()
        self._park(moving, members)
        self.slots.free(moving)
        for number in members.tolist():
            self.slots.wait(number)

    def _park(self, slots: np.ndarray, members: np.ndarray) -> None:
        """Hold the states in some slots for these members, (K,) each."""
        if len(slots):
            state = jax.tree.map(lambda leaf: np.array(leaf[slots]), processes.gathered(self.flight.state))
            self.parked.add(Snapshot(members, state))

    def _requeue(self, members: Sequence[int]) -> None:
        """Let paused members wait for a slot, before those that have not begun."""
        self.paused -= set(members)
        self.slots.wait_first(members)
        self.going_on += members

    def parts(self) -> list[int]:
        """Return the processes that write a shard: those with active members, and process 0 for parked ones."""
        holders = set((self.slots.seated // self.program.capacity).tolist())
        return sorted(holders | {0} if self.parked.members else holders)

    def snapshot(self) -> Snapshot | None:
        """Return this process's shard of a checkpoint, if it has one."""
        seated = self.slots.seated
        own = seated[(seated >= self.own.start) & (seated < self.own.stop)]
        found = [Snapshot(self.slots.members[self.own], jax.device_get(self.flight.state) if len(own) else None)]
        if len(own) < self.program.capacity:  # else no second copy
            found = [found[0].rows(own - self.first)]
        if processes.leads() and (parked := self.parked.snapshot()):
            found.append(parked)
        return concatenated([part for part in found if len(part.members)])

    def _states(self, slots: np.ndarray) -> Snapshot | None:
        """Return the states in some slots of this process, where their members may take more steps later."""
        own = slots[(slots >= self.own.start) & (slots < self.own.stop)]
        if not len(own) or not self.keeps_states:
            return None
        return Snapshot(self.slots.members[self.own], jax.device_get(self.flight.state)).rows(own - self.first)

    def _columns(self) -> dict[str, jax.Array]:
        return self.program.place({name: column[self.own] for name, column in self.slots.columns.items()})

    def _restore_states(self, newly: np.ndarray) -> None:
        """Restore the states of members that have begun into their new slots, and clear these in `newly`."""
        begun = set(self.parked.members)
        places = [slot for slot in np.flatnonzero(newly).tolist() if self.slots.members[slot] in begun]
        if not places:
            return
        rows = self.parked.take(self.slots.members[places].tolist())
        newly[places] = False
        self.slots.steps[places] = rows.state.step
        here = [at for at, slot in enumerate(places) if self.own.start <= slot < self.own.stop]
        slots = np.array(places, int)[here] - self.first

        def put(leaf: Any, row: np.ndarray) -> Any:
            changed = np.array(leaf)
            changed[slots] = row[here]
            return changed

        self.flight.state = self.program.place(jax.tree.map(put, jax.device_get(self.flight.state), rows.state))

    def _leavers(self, slots: np.ndarray, paused: list[int]) -> list[retire.Leavers]:
        """Return where the states of leavers are.

        Args:
          slots: of the leavers that have one.
          paused: leavers that have none; every process holds them, and the first one writes.
        """
        groups = []
        if len(slots):
            owners = slots // self.program.capacity
            rows = slots - owners * self.program.capacity
            groups.append(retire.Leavers(self.slots.members[slots], owners, rows, self.flight.state))
        if paused:
            held = self.parked.take(paused)
            first, rows = np.zeros(len(paused), int), np.arange(len(paused))
            groups.append(retire.Leavers(held.members, first, rows, held.state))
        return groups
