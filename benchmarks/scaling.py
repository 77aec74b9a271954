"""What more members cost, and what more devices bring.

Members: whole runs of a small MLP on digits, everything on, from 64 to 16,384 members: microseconds a member-step,
and the process's peak memory. Devices: the same members on 1, 2, 4 and 8 CPU devices; beyond the machine's cores
these are virtual: they show that results agree, not speed. Processes: two devices in one process, and one in each
of two, which commit each turn together.
"""

import json
import os
import socket
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import measure
import numpy as np

import jaxloop

SWEEP = """
[run]
task = "digits"
steps = {steps}
evaluate_every = 50
[hparams]
model = "mlp"
width = 32
depth = 2
batch_size = 32
[axes]
learning_rate = {{ log = [1e-4, 1e-1], num = {rates} }}
seed = {{ count = 8 }}
[population]
group_size = 4
[checkpoint]
keep = "none"
"""
RUN = """
import json, resource, sys
import jax
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", int(sys.argv[3]))
from jaxloop.training import processes
processes.join(*([sys.argv[4], 2, int(sys.argv[5])] if len(sys.argv) > 4 else []))
import jaxloop
run = jaxloop.run(sys.argv[1], out=sys.argv[2])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"rate": run.summary.member_steps_per_second, "peak_kib": peak}))
"""


def trained(folder: Path, members: int, devices: int, steps: int, out: Path) -> dict:
    """A run in a process of its own; its rate and peak memory."""
    sweep = folder / f"{members}.toml"
    sweep.write_text(SWEEP.format(steps=steps, rates=members // 8))
    command = [sys.executable, "-c", RUN, str(sweep), str(out), str(devices)]
    return json.loads(measure.completed(command).splitlines()[-1])


def in_two_processes(folder: Path, members: int, steps: int, out: Path) -> dict:
    """A run of two processes of one device each; the first one's rate and peak memory."""
    sweep = folder / f"{members}.toml"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    commands = [
        [sys.executable, "-c", RUN, str(sweep), str(out), "1", coordinator, str(index)] for index in (0, 1)
    ]
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(measure.completed, commands))
    return json.loads(said[0].splitlines()[-1])


def main() -> None:
    arguments = measure.parser(str(__doc__).splitlines()[0]).parse_args()
    steps = 50 if arguments.quick else 200
    spread = 64 if arguments.quick else 256  # members, over devices and processes
    counts = [spread] if arguments.quick else [64, 256, 1024, 4096, 16_384]
    meshes = [1, 2] if arguments.quick else [1, 2, 4, 8]
    by_members, by_devices = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for members in counts:
            found = trained(folder, members, os.cpu_count() or 1, steps, folder / f"{members}")
            cost, peak = 1e6 / found["rate"], found["peak_kib"] / 1024
            by_members.append({"members": members, "us a member-step": cost, "peak MiB": peak})
            print(f"{members:6} members  {cost:6.1f} us a member-step  {peak:6.0f} MiB", flush=True)
        curves = {}
        for devices in meshes:
            out = folder / f"on-{devices}"
            rate = trained(folder, spread, devices, steps, out)["rate"]
            with jaxloop.load(out) as run:
                curves[devices] = run.curves("validation/loss")
            apart = float(np.nanmax(np.abs(curves[devices] - curves[meshes[0]])))
            by_devices.append({"devices": devices, "member-steps/s": rate, "largest difference": apart})
            print(f"{devices:6} devices  {rate:10,.0f} member-steps/s  validation losses within {apart:.1g}")
        by_processes = []
        if not arguments.quick:
            rate = in_two_processes(folder, spread, steps, folder / "two")["rate"]
            by_processes = [{"processes": 2, "devices": 2, "member-steps/s": rate, "one process": by_devices[1]}]
            print(f"     2 processes of one device  {rate:10,.0f} member-steps/s")
    if arguments.chart:
        series = {"us a member-step": [row["us a member-step"] for row in by_members]}
        measure.lines(arguments.chart, counts, series, "members", "us a member-step")
    measure.publish({"rows": by_members, "devices": by_devices, "processes": by_processes}, arguments.json)


if __name__ == "__main__":
    main()
