"""`jaxloop plan`: what a sweep would cost, from its compiled programs. Nothing is run."""

import math
import time
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh

from jaxloop.core import devices, size_classes
from jaxloop.core.bucket import Bucket
from jaxloop.core.cautions import averaged, cautions
from jaxloop.core.checks import check_sweep
from jaxloop.core.program import compiled
from jaxloop.core.shapes import step_flops
from jaxloop.core.task import Task
from jaxloop.formatting import scaled
from jaxloop.sweep.hparams import KINDS
from jaxloop.sweep.sizes import plain
from jaxloop.sweep.sweep import Sweep
from jaxloop.training import disk_estimate, group_tuner, host


def plan(sweep: Sweep, task: Task) -> dict[str, Any]:
    """Return members, axes with their kinds, programs, and bytes and FLOPs counted by the compiler."""
    checked, buckets = check_sweep(sweep, task), size_classes.buckets(sweep, task)
    mesh = devices.member_mesh()
    told = [_program(sweep, task, bucket, mesh) for bucket in buckets]
    axes = {}
    for name in sweep.document.all_axes():
        values = {member[name] for member in sweep.members if name in member}
        kind = sweep.kinds[name]
        axes[name] = {"kind": kind, "why": KINDS[kind], "values": len(values)}
    return {
        "members": len(sweep.members),
        "axes": axes,
        "devices": [str(device) for device in mesh.devices.flat],
        "programs": told,
        "notes": [*cautions(sweep, task), *averaged(sweep, task)],
        "disk_bytes": disk_estimate.needed(sweep, task, buckets, len(checked.measured)),
        "total_flops": sum(part["flops"] for program in told for part in program["size_classes"]),
    }


def _program(sweep: Sweep, task: Task, bucket: Bucket, mesh: Mesh) -> dict[str, Any]:
    started = time.perf_counter()
    tuned = partial(group_tuner.remembered, sweep, task, bucket, mesh)
    memory_bytes = host.memory_bytes(mesh) or math.inf
    program = compiled(sweep, task, bucket, mesh, tuned=tuned, memory_bytes=memory_bytes)
    return {
        "members": len(bucket.numbers),
        "static": {name: plain(value) for name, value in bucket.static.items()},
        "capacity": program.capacity,
        "group_size": program.group_size,
        "memory_bytes_per_device": program.memory_bytes,
        "compile_seconds": round(time.perf_counter() - started, 2),
        "padding": round(size_classes.padding_waste(sweep, task, bucket), 4),
        "size_classes": [
            _size_class(sweep, task, bucket, part, params)
            for part, params in zip(bucket.size_classes, program.params, strict=True)
        ],
    }


def _size_class(sweep: Sweep, task: Task, bucket: Bucket, part: Bucket, params: Any) -> dict[str, Any]:
    """Return what a branch of a bucket's program computes a part of its members with."""
    a_step = step_flops(sweep, task, part)
    return {
        "members": len(part.numbers),
        "padded_to": {name: part.sizes.get(name) or plain(part.static[name]) for name in bucket.sizes},
        "padding": round(size_classes.padding_waste(sweep, task, part), 4),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "flops_per_member_step": a_step,
        "flops": a_step * sum(sweep.members[number]["steps"] for number in part.numbers),
    }


def text(found: dict[str, Any]) -> str:
    """Return the plan for a person."""
    programs = found["programs"]
    lines = [f"{found['members']} members in {len(programs)} program(s) on {len(found['devices'])} device(s)"]
    shared = set.intersection(*(set(program["static"]) for program in programs))
    own = sorted(name for name in shared if len({program["static"][name] for program in programs}) > 1)
    for name, axis in found["axes"].items():
        lines.append(f"  axis {name}: {axis['values']} values, {axis['kind']} ({axis['why']})")
    for program in programs:
        named = "".join(f" {name}={program['static'][name]}" for name in own)
        padding = f", {program['padding']:.0%} of the work is padding" if program["padding"] else ""
        lines.append(
            f"  program{named}: {program['members']} members on {program['capacity']} slots, "
            f"vmapped {program['group_size']} at a time, {scaled(program['memory_bytes_per_device'])}B a device, "
            f"compiled in {program['compile_seconds']} s{padding}"
        )
        for part in program["size_classes"]:
            sizes = " ".join(f"{name}={size}" for name, size in part["padded_to"].items())
            padded = f" padded to {sizes} ({part['padding']:.0%} of its work)" if sizes else ""
            lines.append(
                f"    {part['members']} members{padded}: {part['parameters']:,} parameters each, "
                f"{scaled(part['flops_per_member_step'])}FLOP a member-step"
            )
    lines.append(f"  disk: at most about {scaled(found['disk_bytes'])}B at a time")
    lines.append(f"  in all: {scaled(found['total_flops'])}FLOP")
    lines += [f"  note: {note}" for note in found["notes"]]
    return "\n".join(lines)
