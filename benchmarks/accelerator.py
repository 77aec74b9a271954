"""What a GPU or TPU gives: exact lanes, replay and resume, and speed beside a bare loop and PyTorch.

One command of at most eight minutes for a machine that has one. Each check prints its line at once; where one
cannot run, its line says why, and the others go on.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several processes use the device in turn
ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tests"))

import jax
import measure
import numpy as np
import overhead
import throughput
from helpers import clones
from workload import WORKLOADS

import jaxloop
from jaxloop.core import devices
from jaxloop.core.bucket import SIZE_CLASS, undivided
from jaxloop.core.program import compiled, shared
from jaxloop.core.slot_counts import SlotLimits
from jaxloop.storage.store import Store
from jaxloop.sweep import sweep
from jaxloop.tasks import mnist1d
from jaxloop.training import host, peak, replay

RUN = """
[run]
task = "mnist1d"
steps = {steps}
evaluate_every = 100
[hparams]
width = 100
depth = 2
batch_size = 100
optimizer = "adamw"
[axes]
learning_rate = {{ log = [1e-4, 1e-2], num = {rates} }}
seed = {{ count = {seeds} }}
[population]
deterministic = true
[checkpoint]
every = 100
"""
CLONES = {
    "mlp": 'task = "mnist1d"|width = 100\nbatch_size = 100',
    "cnn": 'task = "mnist1d"|model = "cnn"\nchannels = 8\nconv_layers = 2',
    "transformer": 'task = "digits"|model = "transformer"\nwidth = 16\ndepth = 1\nheads = 2',
    "muon": 'task = "digits"|width = 37\noptimizer = "muon"',
}


def lanes(quick: bool) -> Iterator[dict[str, Any]]:
    """Clones in all lanes: equal within a group, and equal to the clones of other groups."""
    names, sizes = (["mlp"], [2, 4]) if quick else (list(CLONES), [2, 256])
    for name in names:
        head, hparams = CLONES[name].split("|")
        swept = sweep.parse(f"[run]\n{head}\nsteps = 40\nevaluate_every = 20\n[hparams]\n{hparams}\n")
        found = {size: clones.trained(swept, size) for size in sizes}
        within = {size: _equal(found[size], found[size]) for size in sizes}
        across = {size: _equal(found[size], found[sizes[-1]]) for size in sizes[:-1]}
        yield {"check": f"lanes of {name}", "equal within a group of": within, "equal to the largest": across}


def _equal(found: Any, reference: Any) -> bool:
    try:
        clones.assert_equal_bits(found, reference)
    except AssertionError:
        return False
    return True


def runs(quick: bool) -> Iterator[dict[str, Any]]:
    """One uninterrupted run, a repeat, and one killed and resumed: curves and parameters; then replays."""
    steps, rates, seeds = (400, 4, 1) if quick else (20_000, 16, 16)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.toml"
        file.write_text(RUN.format(steps=steps, rates=rates, seeds=seeds))
        through, again, killed = (Path(folder) / name for name in ("through", "again", "killed"))
        for run in (through,) if quick else (through, again):
            measure.completed(_command("population", file, "--out", run))
        process = subprocess.Popen(_command("population", file, "--out", killed), stderr=subprocess.DEVNULL)
        while process.poll() is None and 100 * _turn(killed) < steps // 10:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        at = 100 * _turn(killed) if process.wait() else steps
        measure.completed(_command("resume", killed))
        first = _content(through)
        if not quick:
            yield {"check": "trained twice", "same bits": _same(first, _content(again))}
        yield {"check": f"killed at step {at}, resumed", "same bits": _same(first, _content(killed))}
        run = jaxloop.load(through)
        members = [0, len(run.members) - 1] if quick else [0, 17, 100, len(run.members) - 1]
        gaps = {
            number: replay.train_alone(*run.sweep_and_task, run.store, number)["largest_difference"]
            for number in members
        }
        yield {"check": "replayed", "largest difference of member": gaps}


def _command(*arguments: Any) -> list[str]:
    return [sys.executable, "-m", "jaxloop", *map(str, arguments)]


def _turn(run: Path) -> int:
    """The last turn with a checkpoint; 0 before there is one."""
    try:
        with Store(run) as store:
            return store.checkpoint["turn"]
    except (jaxloop.JaxloopError, KeyError):
        return 0


def _content(run: Path) -> list[Any]:
    """All that a run measured, and its members' parameters."""
    loaded = jaxloop.load(run)
    curves = [loaded.store.points(member.number) for member in loaded.members]
    return [curves, [loaded.params(number) for number in (0, len(curves) - 1)]]


def _same(first: list[Any], second: list[Any]) -> bool:
    return first[0] == second[0] and all(
        np.array_equal(a, b) for a, b in zip(jax.tree.leaves(first[1]), jax.tree.leaves(second[1]), strict=True)
    )


def beside_a_bare_loop(_quick: bool) -> Iterator[dict[str, Any]]:
    """Whole runs of jaxloop and of the loop of `overhead.py`, in turn."""
    steps, decays, rounds = 20_000, 32, 3
    text = (
        overhead.SWEEP.format(steps=steps, decays=decays).replace("group_size = 4", "").replace("every = 1000", "")
    )
    swept = sweep.parse(text, name="overhead")
    chunk, start = overhead.bare_loop(swept.members, len(swept.members) // len(jax.local_devices()))
    data = jax.device_put(mnist1d().data.splits())
    jax.block_until_ready(chunk(start(), data))
    rates = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            ours = jaxloop.run(swept, out=Path(folder) / "run").summary.member_steps_per_second
        state, began = start(), time.perf_counter()
        for _ in range(steps // overhead.EVERY):
            state, losses = chunk(state, data)
            jax.device_get(losses)
        rates.append((ours, len(swept.members) * steps / (time.perf_counter() - began)))
    yield {
        "check": f"{len(swept.members)} members, everything on / bare loop",
        "ratio": round(statistics.median(ours / bare for ours, bare in rates), 3),
        "member-steps/s": [tuple(map(round, pair)) for pair in rates],
        "turns alone": round(_turns_alone(swept, 100)),
    }


def _turns_alone(swept: sweep.Sweep, turns: int) -> float:
    """Member-steps/s of the compiled turn, evaluation and all, with nothing read by the host between turns."""
    (bucket,), task, mesh = undivided(swept), mnist1d(), devices.member_mesh()
    program = compiled(swept, task, bucket, mesh, SlotLimits(capacity=len(swept.members)))
    columns = [bucket.columns(member) | {SIZE_CLASS: np.int32(0)} for member in swept.members]
    hparams = program.place({name: np.array([column[name] for column in columns]) for name in columns[0]})
    data, nobody = shared(task, bucket, mesh), program.place(np.zeros(program.capacity, bool))
    state, _ = program.advance(hparams, program.empty(), program.place(np.ones(program.capacity, bool)), data)
    jax.block_until_ready(state)
    began = time.perf_counter()
    for _ in range(turns):
        state, _ = program.advance(hparams, state, nobody, data)
    jax.block_until_ready(state)
    return turns * overhead.EVERY * len(swept.members) / (time.perf_counter() - began)


def steps(_: bool) -> Iterator[dict[str, Any]]:
    """Compiled steps of the four workloads, and PyTorch's on the same device, where it is installed."""
    fastest = peak.measure(devices.member_mesh())
    yield {"check": "float32 matmul peak", "TFLOP/s": round(fastest / 1e12, 1)}
    for name in WORKLOADS:
        rows = throughput.rates(WORKLOADS[name], [256, 2048], fastest)
        found = {row["members"]: round(row["member-steps/s"]) for row in rows}
        yield {"check": f"steps of {name}", "member-steps/s": found, "PyTorch": _torch_rates(name)}


def _torch_rates(name: str) -> dict[str, float] | str:
    """Member-steps/s of one process, and of 256 members under `torch.func.vmap`."""
    try:
        import torch
        import torch_trial
    except ImportError:
        return "not installed"
    if not torch.cuda.is_available():
        return "has no GPU here"
    torch.set_default_device("cuda")
    try:
        alone = torch_trial.one_process_rate(name, 3.0)
        stacked = torch_trial.Stacked(name, 256)
        stacked.train(3)
        torch.cuda.synchronize()

        def twenty() -> Any:
            stacked.train(20)
            torch.cuda.synchronize()

        return {"one process": round(alone), "func.vmap of 256": round(measure.rate(twenty, 20 * 256))}
    except RuntimeError as error:
        return f"failed: {error}"
    finally:
        torch.set_default_device("cpu")


CHECKS: list[Callable[[bool], Iterator[dict[str, Any]]]] = [runs, steps, beside_a_bare_loop, lanes]
COVERED = (steps, beside_a_bare_loop)  # by the quick forms of `throughput.py` and `overhead.py`


def main() -> None:
    parser = measure.parser(str(__doc__).splitlines()[0])
    parser.add_argument("--only", choices=[check.__name__ for check in CHECKS], help="one kind of check")
    arguments = parser.parse_args()
    host.prepare()
    rows = []
    for check in CHECKS:
        if arguments.only not in (None, check.__name__) or (arguments.quick and check in COVERED):
            continue
        began = time.perf_counter()
        try:
            for row in check(arguments.quick):
                print(json.dumps(row), flush=True)
                rows.append(row)
        except Exception as error:
            rows.append({"check": check.__name__, "failed": f"{type(error).__name__}: {error}"})
            print(json.dumps(rows[-1]), flush=True)
        print(f"  {check.__name__}: {time.perf_counter() - began:.1f} s", flush=True)
    if arguments.chart:
        rates = {row["check"].split()[-1]: row["member-steps/s"] for row in rows if "PyTorch" in row}
        members = list(next(iter(rates.values()), {}))
        measure.lines(
            arguments.chart,
            members,
            {name: list(found.values()) for name, found in rates.items()},
            "members",
            "member-steps/s",
        )
    measure.publish({"rows": rows}, arguments.json)


if __name__ == "__main__":
    main()
