"""`jaxloop plan`: what a sweep would cost, from its compiled programs. Nothing is run."""

import math
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh

from jaxloop.core import devices, size_classes
from jaxloop.core.bucket import Bucket
from jaxloop.core.cautions import averaged, cautions
from jaxloop.core.checks import check_sweep
from jaxloop.core.program import SlotLimits, compiled
from jaxloop.core.shapes import step_flops
from jaxloop.core.task import Task
from jaxloop.formatting import scaled
from jaxloop.sweep.hparams import KINDS
from jaxloop.sweep.sizes import plain
from jaxloop.sweep.sweep import Sweep
from jaxloop.training import disk_estimate, group_tuner, host


@dataclass(frozen=True)
class PlannedAxis:
    """An axis: how its values enter a program, why so, and how many there are."""

    kind: str
    why: str
    values: int


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
    """What one compiled program takes.

    Attributes:
      members: how many it trains.
      static: the hparams that they share as constants.
      capacity, group_size: its slots, and how many of them are vmapped together.
      memory_bytes_per_device: as the compiler planned it.
      compile_seconds: as measured here.
      padding: the share of its work that is padding.
    """

    members: int
    static: dict[str, Any]
    capacity: int
    group_size: int
    memory_bytes_per_device: int
    compile_seconds: float
    padding: float
    size_classes: list[PlannedSizeClass]


@dataclass(frozen=True)
class Plan:
    """What a sweep would cost.

    Attributes:
      members: how many there are.
      axes: by hparam.
      devices: their names.
      notes: warnings about the task, and how its metrics are averaged.
      disk_bytes: at most, at a time.
      total_flops: of all steps of all members, as XLA counts them.
    """

    members: int
    axes: dict[str, PlannedAxis]
    devices: list[str]
    programs: list[PlannedProgram]
    notes: list[str]
    disk_bytes: int
    total_flops: float

    def json(self) -> dict[str, Any]:
        return asdict(self)


def plan(sweep: Sweep, task: Task) -> Plan:
    """Compile a sweep's programs and return what they would take.

    Raises:
      SweepError: the sweep asks of the task what it has not.
    """
    checked, buckets = check_sweep(sweep, task), size_classes.buckets(sweep, task)
    mesh = devices.member_mesh()
    programs = [_program(sweep, task, bucket, mesh) for bucket in buckets]
    return Plan(
        members=len(sweep.members),
        axes={name: _axis(sweep, name) for name in sweep.document.all_axes()},
        devices=[str(device) for device in mesh.devices.flat],
        programs=programs,
        notes=[*cautions(sweep, task), *averaged(sweep, task)],
        disk_bytes=disk_estimate.needed(sweep, task, buckets, len(checked.measured)),
        total_flops=sum(part.flops for program in programs for part in program.size_classes),
    )


def _axis(sweep: Sweep, name: str) -> PlannedAxis:
    values = {member[name] for member in sweep.members if name in member}
    return PlannedAxis(sweep.kinds[name], KINDS[sweep.kinds[name]], len(values))


def _program(sweep: Sweep, task: Task, bucket: Bucket, mesh: Mesh) -> PlannedProgram:
    started = time.perf_counter()
    tuned = partial(group_tuner.remembered, sweep, task, bucket, mesh)
    memory_bytes = host.memory_bytes(mesh) or math.inf
    program = compiled(sweep, task, bucket, mesh, SlotLimits(tuned=tuned, memory_bytes=memory_bytes))
    return PlannedProgram(
        members=len(bucket.numbers),
        static={name: plain(value) for name, value in bucket.static.items()},
        capacity=program.capacity,
        group_size=program.group_size,
        memory_bytes_per_device=program.memory_bytes,
        compile_seconds=round(time.perf_counter() - started, 2),
        padding=round(size_classes.padding_waste(sweep, task, bucket), 4),
        size_classes=[
            _size_class(sweep, task, bucket, part, params)
            for part, params in zip(bucket.size_classes, program.params, strict=True)
        ],
    )


def _size_class(sweep: Sweep, task: Task, bucket: Bucket, part: Bucket, params: Any) -> PlannedSizeClass:
    a_step = step_flops(sweep, task, part)
    return PlannedSizeClass(
        members=len(part.numbers),
        padded_to={name: part.sizes.get(name) or plain(part.static[name]) for name in bucket.sizes},
        padding=round(size_classes.padding_waste(sweep, task, part), 4),
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        flops_per_member_step=a_step,
        flops=a_step * sum(sweep.members[number]["steps"] for number in part.numbers),
    )


def text(planned: Plan) -> str:
    """Return the plan for a person."""
    programs = planned.programs
    lines = [f"{planned.members} members in {len(programs)} program(s) on {len(planned.devices)} device(s)"]
    shared = set.intersection(*(set(program.static) for program in programs))
    own = sorted(name for name in shared if len({program.static[name] for program in programs}) > 1)
    for name, axis in planned.axes.items():
        lines.append(f"  axis {name}: {axis.values} values, {axis.kind} ({axis.why})")
    for program in programs:
        named = "".join(f" {name}={program.static[name]}" for name in own)
        padding = f", {program.padding:.0%} of the work is padding" if program.padding else ""
        lines.append(
            f"  program{named}: {program.members} members on {program.capacity} slots, "
            f"vmapped {program.group_size} at a time, {scaled(program.memory_bytes_per_device)}B a device, "
            f"compiled in {program.compile_seconds} s{padding}"
        )
        for part in program.size_classes:
            sizes = " ".join(f"{name}={size}" for name, size in part.padded_to.items())
            padded = f" padded to {sizes} ({part.padding:.0%} of its work)" if sizes else ""
            lines.append(
                f"    {part.members} members{padded}: {part.parameters:,} parameters each, "
                f"{scaled(part.flops_per_member_step)}FLOP a member-step"
            )
    lines.append(f"  disk: at most about {scaled(planned.disk_bytes)}B at a time")
    lines.append(f"  in all: {scaled(planned.total_flops)}FLOP")
    lines += [f"  note: {note}" for note in planned.notes]
    return "\n".join(lines)
