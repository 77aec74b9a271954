"""`jaxloop plan`: what a sweep would cost, from shapes or from its compiled programs. Nothing is run."""

import math
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh

from jaxloop.core import devices, size_classes
from jaxloop.core.assembly import one_member
from jaxloop.core.bucket import Bucket
from jaxloop.core.cautions import averaged, cautions, pooled
from jaxloop.core.checks import check_sweep
from jaxloop.core.costs import step_cost, working_set
from jaxloop.core.program import compiled, distinct_batches, rounded_up_rows
from jaxloop.core.shapes import data_shapes, params_shapes
from jaxloop.core.slot_counts import SlotCounts, SlotLimits, slot_counts
from jaxloop.core.task import Task
from jaxloop.formatting import counted, scaled
from jaxloop.sweep.hparams import KINDS
from jaxloop.sweep.sizes import plain
from jaxloop.sweep.sweep import Sweep
from jaxloop.training import disk_estimate, group_tuner, host


@dataclass(frozen=True)
class PlannedAxis:
    """An axis: how its values enter a program, why so, and how many there are; None where a loop chooses them."""

    kind: str
    why: str
    values: int | None


@dataclass(frozen=True)
class PlannedSizeClass:
    """What a branch of a program computes a part of its members with.

    Attributes:
      members: how many there are.
      padded_to: the sizes of its arrays, by hparam.
      padding: the share of its work that is padding.
      parameters: of one member.
      flops_per_member_step, flops: as XLA counts them; of all its members' steps.
    """

    members: int
    padded_to: dict[str, int]
    padding: float
    parameters: int
    flops_per_member_step: float
    flops: float


@dataclass(frozen=True)
class PlannedProgram:
    """What one program takes.

    Attributes:
      members: how many it trains.
      static: the hparams that they share as constants.
      capacity, group_size: its slots, and how many of them are vmapped together.
      memory_bytes_per_device: as the compiler planned it; not compiled, an estimate from shapes.
      compile_seconds: as measured here; None if it was not compiled.
      padding: the share of its work that is padding.
    """

    members: int
    static: dict[str, Any]
    capacity: int
    group_size: int
    memory_bytes_per_device: int
    compile_seconds: float | None
    padding: float
    size_classes: list[PlannedSizeClass]


@dataclass(frozen=True)
class PlannedLoop:
    """How many members a loop trains, at most.

    Attributes:
      rounds: None where only the budget bounds them.
      rungs: the steps at which the worse half of a round's proposals stops.
      full_trainings_per_round: their steps, counted in trainings of full length.
    """

    rounds: int | None
    rungs: list[int]
    trainings_per_round: int
    full_trainings_per_round: float
    floor_and_audit_trainings: int

    def trainings(self) -> int:
        """Return those of all rounds; of an open loop, those of one."""
        return self.floor_and_audit_trainings + self._rounds() * self.trainings_per_round

    def full_trainings(self) -> float:
        """Return their steps, counted in trainings of full length."""
        return self.floor_and_audit_trainings + self._rounds() * self.full_trainings_per_round

    def _rounds(self) -> int:
        return 1 if self.rounds is None else self.rounds


@dataclass(frozen=True)
class Plan:
    """What a sweep would cost.

    Attributes:
      members: how many there are; of a loop, those that it begins with.
      axes: by hparam.
      devices: their names.
      notes: warnings about the task, and how its metrics are averaged.
      disk_bytes: at most, at a time; of a loop, of its first members.
      total_flops: of all steps of all members, as XLA counts them; of a loop, of all its trainings, by the program
        of its first members.
      loop: None for a plain sweep.
    """

    members: int
    axes: dict[str, PlannedAxis]
    devices: list[str]
    programs: list[PlannedProgram]
    notes: list[str]
    disk_bytes: int
    total_flops: float
    loop: PlannedLoop | None = None

    def json(self) -> dict[str, Any]:
        return asdict(self)


def plan(sweep: Sweep, task: Task, *, compile: bool = True, loop: PlannedLoop | None = None) -> Plan:
    """Return what a sweep's programs would take.

    Args:
      loop: how many members a loop's sweep trains, at most.
      compile: them, for what only the compiler knows: memory as planned, and how long compiling takes.

    Raises:
      SweepError: the sweep requires something that the task lacks.
    """
    checked, buckets = check_sweep(sweep, task), size_classes.buckets(sweep, task)
    mesh = devices.member_mesh()
    programs = [_program(sweep, task, bucket, mesh, compile=compile) for bucket in buckets]
    parts = [part for program in programs for part in program.size_classes]
    dearest = max(part.flops_per_member_step for part in parts)
    return Plan(
        members=len(sweep.members),
        axes={name: _axis(sweep, name) for name in sweep.document.all_axes()},
        devices=[str(device) for device in mesh.devices.flat],
        programs=programs,
        notes=[*cautions(sweep, task), *averaged(sweep, task), *pooled(sweep, task)],
        disk_bytes=disk_estimate.needed(sweep, task, buckets, checked),
        total_flops=dearest * sweep.document.run.steps * loop.full_trainings()
        if loop
        else sum(part.flops for part in parts),
        loop=loop,
    )


def _axis(sweep: Sweep, name: str) -> PlannedAxis:
    values = {member[name] for member in sweep.members if name in member}
    return PlannedAxis(sweep.kinds[name], KINDS[sweep.kinds[name]], None if sweep.document.loop else len(values))


def _program(sweep: Sweep, task: Task, bucket: Bucket, mesh: Mesh, *, compile: bool) -> PlannedProgram:
    tuned = partial(group_tuner.remembered, sweep, task, bucket, mesh)
    limits = SlotLimits(tuned=tuned, memory_bytes=host.memory_bytes(mesh) or math.inf)
    seconds = None
    if compile:
        started = time.perf_counter()
        program = compiled(sweep, task, bucket, mesh, limits)
        seconds = round(time.perf_counter() - started, 2)
        counts, memory_bytes = SlotCounts(program.capacity, program.group_size), program.memory_bytes
    else:
        counts = slot_counts(sweep, task, bucket, mesh, limits)
        memory_bytes = _memory_bytes(sweep, task, bucket, mesh, counts)
    return PlannedProgram(
        members=len(bucket.numbers),
        static={name: plain(value) for name, value in bucket.static.items()},
        capacity=counts.capacity,
        group_size=counts.group_size,
        memory_bytes_per_device=memory_bytes,
        compile_seconds=seconds,
        padding=round(size_classes.padding_waste(sweep, task, bucket), 4),
        size_classes=[_size_class(sweep, task, bucket, part) for part in bucket.size_classes],
    )


def _memory_bytes(sweep: Sweep, task: Task, bucket: Bucket, mesh: Mesh, counts: SlotCounts) -> int:
    """Estimate a device's memory: its slots' state, coming in and going out, a group's working set, the data."""
    one, hparams = one_member(sweep, task, bucket)
    state = jax.eval_shape(one.init, hparams)
    of_a_slot = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    rows = rounded_up_rows(min(counts.capacity, distinct_batches(sweep, bucket)))
    data = sum(
        math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(data_shapes(sweep, task, bucket, rows))
    )
    in_use = working_set(sweep, task, bucket) * counts.group_size
    return round(2 * of_a_slot * counts.capacity / mesh.size + in_use + data)


def _size_class(sweep: Sweep, task: Task, bucket: Bucket, part: Bucket) -> PlannedSizeClass:
    a_step = step_cost(sweep, task, part).flops
    return PlannedSizeClass(
        members=len(part.numbers),
        padded_to={name: part.sizes.get(name) or plain(part.static[name]) for name in bucket.sizes},
        padding=round(size_classes.padding_waste(sweep, task, part), 4),
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params_shapes(task, part))),
        flops_per_member_step=a_step,
        flops=a_step * sum(sweep.members[number]["steps"] for number in part.numbers),
    )


def text(planned: Plan) -> str:
    """Return the plan for a person."""
    programs = planned.programs
    begins = "a loop that begins with " if planned.loop else ""
    lines = [
        f"{begins}{counted(planned.members, 'member')} in {counted(len(programs), 'program')} "
        f"on {counted(len(planned.devices), 'device')}"
    ]
    shared = set.intersection(*(set(program.static) for program in programs))
    own = sorted(name for name in shared if len({program.static[name] for program in programs}) > 1)
    for name, axis in planned.axes.items():
        values = "" if axis.values is None else f"{counted(axis.values, 'value')}, "
        lines.append(f"  axis {name}: {values}{axis.kind} ({axis.why})")
    for program in programs:
        named = "".join(f" {name}={program.static[name]}" for name in own)
        padding = f", {program.padding:.0%} of the work is padding" if program.padding else ""
        about = "about " if program.compile_seconds is None else ""
        took = f", compiled in {program.compile_seconds} s" if program.compile_seconds is not None else ""
        lines.append(
            f"  program{named}: {counted(program.members, 'member')} on {counted(program.capacity, 'slot')}, "
            f"vmapped {program.group_size} at a time, {about}{scaled(program.memory_bytes_per_device)}B a device"
            f"{took}{padding}"
        )
        for part in program.size_classes:
            sizes = " ".join(f"{name}={size}" for name, size in part.padded_to.items())
            padded = f" padded to {sizes} ({part.padding:.0%} of its work)" if sizes else ""
            lines.append(
                f"    {counted(part.members, 'member')}{padded}: {counted(part.parameters, 'parameter')} each, "
                f"{scaled(part.flops_per_member_step)}FLOP a member-step"
            )
    if planned.loop:
        lines.append(_of_loop(planned.loop, planned.total_flops))
    else:
        lines.append(f"  disk: at most about {scaled(planned.disk_bytes)}B at a time")
        lines.append(f"  in all: {scaled(planned.total_flops)}FLOP")
    if any(program.compile_seconds is None for program in programs):
        lines.append("  estimated from shapes; --compile measures memory and compiling")
    lines += [f"  note: {note}" for note in planned.notes]
    return "\n".join(lines)


def _of_loop(loop: PlannedLoop, flops: float) -> str:
    said = f"  loop: at most {counted(loop.trainings_per_round, 'training')} per round"
    if loop.rungs:
        steps = ", ".join(f"step {step}" for step in loop.rungs)
        said += f", the worse half of a round's proposals stopping at {steps}"
    said += f", plus {loop.floor_and_audit_trainings} for the noise floor and the audit"
    if loop.rounds is None:
        return f"{said}; its budget decides how many rounds there are"
    in_all = f"{counted(loop.trainings(), 'training')} in {counted(loop.rounds, 'round')}"
    return f"{said}; {in_all}, about {scaled(flops)}FLOP of the baseline's program"
