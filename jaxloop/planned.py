"""`jaxloop plan`: what a sweep would cost, from its compiled programs. Nothing is run."""

from pathlib import Path
from typing import Any

import jax

from jaxloop import api, bucket, declared, devices


def plan(file: Path, overrides: tuple[str, ...]) -> dict[str, Any]:
    """Members, axes with their kinds, programs, and bytes and FLOPs counted by the compiler."""
    devices.use_every_core()
    sweep = api.read_sweep(file, overrides)
    task = api.task_of(sweep)
    mesh = devices.member_mesh()
    programs, disk = [], 0
    for one in bucket.buckets(sweep):
        machine = bucket.compiled(sweep, task, one, mesh)
        params = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(machine.params))
        state = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(machine.shapes))
        memory = machine.memory
        kept = {"all": len(one.numbers), "none": 0}.get(sweep.document.checkpoint.keep, len(one.numbers))
        disk += params * kept + 3 * state  # two checkpoints, and the next before the oldest goes
        programs.append(
            {
                "members": len(one.numbers),
                "static": one.static,
                "capacity": machine.capacity,
                "width": machine.width,
                "parameters": params // 4,
                "flops_per_member_step": machine.flops,
                "memory_bytes_per_device": memory["argument"]
                + memory["output"]
                - memory["alias"]
                + memory["temp"],
                "compile_seconds": round(machine.compile_seconds, 2),
            }
        )
    axes = {
        name: {
            "kind": "traced" if declared.is_traced(name, sweep.members[0].get(name, "")) else "static",
            "values": len({member[name] for member in sweep.members if name in member}),
        }
        for name in sweep.varied
    }
    return {
        "members": len(sweep.members),
        "axes": axes,
        "devices": [str(device) for device in mesh.devices.flat],
        "programs": programs,
        "disk_bytes": disk,
        "total_flops": sum(
            machine["flops_per_member_step"] * sum(sweep.members[n]["steps"] for n in one.numbers)
            for machine, one in zip(programs, bucket.buckets(sweep), strict=True)
        ),
    }


def text(found: dict[str, Any]) -> str:
    """The plan for a person."""
    lines = [
        f"{found['members']} members in {len(found['programs'])} program(s) on {len(found['devices'])} device(s)"
    ]
    why = {"traced": "one program serves all values", "static": "each value compiles a program of its own"}
    for name, axis in found["axes"].items():
        lines.append(f"  axis {name}: {axis['values']} values, {axis['kind']} ({why[axis['kind']]})")
    for program in found["programs"]:
        lines.append(
            f"  program: {program['members']} members on {program['capacity']} slots, width {program['width']}, "
            f"{program['parameters']:,} parameters each, {program['flops_per_member_step'] / 1e6:.2f} MFLOP a "
            f"member-step, {program['memory_bytes_per_device'] / 1e6:.1f} MB a device, "
            f"compiled in {program['compile_seconds']} s"
        )
    lines.append(f"  disk: up to {found['disk_bytes'] / 1e6:.1f} MB of parameters and checkpoints")
    lines.append(f"  in all: {found['total_flops'] / 1e12:.2f} TFLOP")
    return "\n".join(lines)
