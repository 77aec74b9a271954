"""`jaxloop plan`: what a sweep would cost, from its compiled programs. Nothing is run."""

from typing import Any

import jax

from jaxloop import declared, devices, planner
from jaxloop.compiled import CompiledProgram, check, compiled, step_flops
from jaxloop.sizes import plain
from jaxloop.sweep import Sweep
from jaxloop.task import Task


def plan(sweep: Sweep, task: Task) -> dict[str, Any]:
    """Members, axes with their kinds, programs, and bytes and FLOPs counted by the compiler."""
    check(sweep, task)
    mesh = devices.member_mesh()
    programs = [compiled(sweep, task, bucket, mesh) for bucket in planner.buckets(sweep, task)]
    flops = [step_flops(sweep, task, program.bucket) for program in programs]
    axes = {}
    for name in sweep.varied:
        values = {member[name] for member in sweep.members if name in member}
        kind = sweep.kinds[name]
        axes[name] = {"kind": kind, "why": declared.WHY[kind], "values": len(values)}
    return {
        "members": len(sweep.members),
        "axes": axes,
        "devices": [str(device) for device in mesh.devices.flat],
        "programs": [
            {
                **_program_json(program),
                "padding": round(planner.padding_waste(sweep, task, program.bucket), 4),
                "flops_per_member_step": each,
            }
            for program, each in zip(programs, flops, strict=True)
        ],
        "disk_bytes": sum(_disk_bytes(sweep, program) for program in programs),
        "total_flops": sum(
            each * sum(sweep.members[number]["steps"] for number in program.bucket.numbers)
            for program, each in zip(programs, flops, strict=True)
        ),
    }


def _program_json(program: CompiledProgram) -> dict[str, Any]:
    return {
        "members": len(program.bucket.numbers),
        "static": {name: plain(value) for name, value in program.bucket.static.items()},
        "padded_to": program.bucket.sizes,
        "capacity": program.capacity,
        "width": program.width,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(program.params)),
        "memory_bytes_per_device": program.memory_bytes,
        "compile_seconds": round(program.compile_seconds, 2),
    }


def _disk_bytes(sweep: Sweep, program: CompiledProgram) -> int:
    """What a program's members and checkpoints take at the most, before compression.

    "best:K" needs as much as "all" until the run ends: who is best is known then.
    """
    members = sweep.document.checkpoint.keep != "none" and len(program.bucket.numbers)
    checkpoints = 3  # two are kept, and the next is whole before the oldest goes
    return _bytes(program.params) * members + _bytes(program.state) * checkpoints


def _bytes(shapes: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def text(found: dict[str, Any]) -> str:
    """The plan for a person."""
    lines = [
        f"{found['members']} members in {len(found['programs'])} program(s) on {len(found['devices'])} device(s)"
    ]
    for name, axis in found["axes"].items():
        lines.append(f"  axis {name}: {axis['values']} values, {axis['kind']} ({axis['why']})")
    for program in found["programs"]:
        sizes = " ".join(f"{name}={size}" for name, size in program["padded_to"].items())
        padded = f", padded to {sizes} ({program['padding']:.0%} of its work)" if sizes else ""
        lines.append(
            f"  program{padded}: {program['members']} members on {program['capacity']} slots, "
            f"width {program['width']}, "
            f"{program['parameters']:,} parameters each, {program['flops_per_member_step'] / 1e6:.2f} MFLOP a "
            f"member-step, {program['memory_bytes_per_device'] / 1e6:.1f} MB a device, "
            f"compiled in {program['compile_seconds']} s"
        )
    lines.append(f"  disk: up to {found['disk_bytes'] / 1e6:.1f} MB of parameters and checkpoints")
    lines.append(f"  in all: {found['total_flops'] / 1e12:.2f} TFLOP")
    return "\n".join(lines)
