"""jaxloop beside what a user would otherwise pick, in one run on one machine.

Steps: 256 members of each workload in jaxloop's compiled step, against JAX one member at a time on one device (a
scan, and a Python loop of jitted steps), PyTorch eager with fused AdamW in one process a core, and 32 members of
`torch.func.vmap`. The peers take turns, several rounds; a ratio is the median over rounds.

A loop: that of sweeps/loop_mnist1d.toml, against 100 trials in its space under Optuna, in seconds a training.

End to end: the members of `mlp-tiny`, from command to last result, against PyTorch trials under Optuna and Ray
Tune, one a core. jaxloop compiles in that time, as on its first day, and writes all that it always writes.

Needs `pip install -e ".[peers]"`.
"""

import functools
import importlib.metadata
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import jax
import measure
import throughput
from workload import FOLDER, WORKLOADS, Workload

import jaxloop
from jaxloop.core import devices, size_classes
from jaxloop.core.assembly import one_member
from jaxloop.core.chunk import chunked
from jaxloop.core.shapes import resident
from jaxloop.training import host

MEMBERS = 256
STACKED = 32  # of `torch.func.vmap`: more were not faster, as far as was looked
CORES = len(os.sched_getaffinity(0))
HERE = Path(__file__).parent
LOOP = HERE.parent / "sweeps" / "loop_mnist1d.toml"


class Alone:
    """One member on one device, `length` steps a call."""

    def __init__(self, workload: Workload, length: int) -> None:
        sweep, task = workload.read(1)
        (bucket,) = size_classes.buckets(sweep, task)
        one, _ = one_member(sweep, task, bucket)
        self.hparams, self.data = bucket.columns(sweep.members[0]), jax.device_put(resident(task, bucket))
        self.step = jax.jit(chunked(one, length).step, donate_argnums=1)
        self.state, self.length = jax.jit(one.init)(self.hparams), length
        self.call()  # compiles

    def call(self) -> None:
        self.state, metrics = self.step(self.hparams, self.state, self.data)
        jax.block_until_ready(metrics)

    def rate(self) -> float:
        return measure.rate(self.call, self.length)


def population(workload: Workload) -> Callable[[], float]:
    """Of jaxloop's step over `MEMBERS` members at the automatic width."""
    mesh = devices.member_mesh()
    width = throughput.automatic_width(
        workload, devices.largest_group(MEMBERS, mesh.size, cpu=devices.on_cpu(mesh))
    )
    step = throughput.step(workload, MEMBERS, width, workload.chunk)
    return lambda: measure.rate(step.rate, MEMBERS * step.length)


def a_process_a_core(workload: Workload, pool: ProcessPoolExecutor) -> Callable[[], float]:
    """Of PyTorch eager, summed over processes."""
    from torch_trial import one_process_rate

    def rate() -> float:
        return sum(pool.map(one_process_rate, [workload.name] * CORES, [measure.SECONDS] * CORES))

    rate()  # starts the processes
    return rate


def stacked(workload: Workload, members: int) -> Callable[[], float]:
    """Of `torch.func.vmap` over members, on all cores."""
    from torch_trial import Stacked

    trial = Stacked(workload.name, members)
    trial.train(1)
    return lambda: measure.rate(lambda: trial.train(1), members)


def steps(name: str, pool: ProcessPoolExecutor, rounds: int) -> dict:
    """The rates of one workload, and what jaxloop's is to each."""
    workload = WORKLOADS[name]
    rates = {
        "jaxloop": population(workload),
        "JAX, scan": Alone(workload, workload.chunk).rate,
        "JAX, a call a step": Alone(workload, 1).rate,
        "PyTorch, a process a core": a_process_a_core(workload, pool),
        "torch.func.vmap": stacked(workload, STACKED),
    }
    found = [{peer: rate() for peer, rate in rates.items()} for _ in range(rounds)]
    row = {
        "workload": name,
        "member-steps/s": {peer: statistics.median(each[peer] for each in found) for peer in rates},
        "jaxloop is faster by": {
            peer: statistics.median(each["jaxloop"] / each[peer] for each in found) for peer in rates
        },
    }
    for peer, rate in row["member-steps/s"].items():
        times = row["jaxloop is faster by"][peer]
        print(f"{name:9} {peer:26} {rate:10,.0f} member-steps/s  jaxloop: {times:6.1f} times", flush=True)
    return row


def end_to_end(trials: int, length: int) -> dict:
    """Seconds of whole processes, from command to last result."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "XDG_CACHE_HOME": f"{folder}/cache", "PYTHONWARNINGS": "ignore"}
        settings = [f"axes.learning_rate.num={trials}", f"run.steps={length}"]
        chosen = [word for setting in settings for word in ("--set", setting)]
        ours = [str(Path(sys.executable).parent / "jaxloop"), "population", str(FOLDER / "mlp-tiny.toml"), *chosen]
        theirs = [sys.executable, str(HERE / "tune_trials.py")]
        commands = {
            "jaxloop": [*ours, "--out", f"{folder}/first"],
            "jaxloop, compiled before": [*ours, "--out", f"{folder}/second"],
            "Optuna": [*theirs, "optuna", str(trials), str(length), str(CORES)],
            "Ray Tune": [*theirs, "ray", str(trials), str(length), str(CORES)],
        }
        row = {"trials": trials, "steps": length, "seconds": {}}
        for name, command in commands.items():
            call = functools.partial(measure.completed, command, env=environment)
            row["seconds"][name] = measure.seconds(call)
            seconds, times = row["seconds"][name], row["seconds"][name] / row["seconds"]["jaxloop"]
            told = f"{trials:5} trials of {length} steps  {name:24}"
            print(f"{told} {seconds:8.1f} s  {times:6.1f} times", flush=True)
    return row


def loops(rounds: int, trials: int, length: int) -> dict:
    """Seconds a training of a whole loop, and of trials in its space under Optuna, from command to last result."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        ours = [str(Path(sys.executable).parent / "jaxloop"), "loop", str(LOOP), "--out", f"{folder}/run"]
        ours += ["--set", f"loop.rounds={rounds}", "--set", f"run.steps={length}"]
        theirs = [sys.executable, str(HERE / "tune_trials.py"), "loop", str(trials), str(length), str(CORES)]
        run, peer = (
            measure.seconds(functools.partial(measure.completed, command, env=environment))
            for command in (ours, theirs)
        )
        with jaxloop.load(f"{folder}/run") as loaded:
            trainings = len(loaded.members)
            full = sum(member.step for member in loaded.members) / length  # trainings: rungs stop some
            experiments = sum(record["kind"] == "experiment" for record in loaded.ledger)
    ratio = (peer / trials) / (run / full)
    ours = f"{experiments} experiments, {trainings} trainings (steps of {full:.0f} whole ones), took {run:.1f} s"
    print(
        f"{ours}; Optuna took {peer:.1f} s for {trials}, {ratio:.1f} times as long per whole training", flush=True
    )
    return {
        "experiments": experiments,
        "trainings": trainings,
        "full": full,
        "jaxloop": run,
        "Optuna": peer,
        "ratio": ratio,
    }


def main() -> None:
    parser = measure.parser(str(__doc__).splitlines()[0])
    parser.add_argument("--workloads", nargs="*", choices=WORKLOADS, default=list(WORKLOADS), help="steps alone")
    parser.add_argument("--rounds", type=int, default=22, help="of a loop")
    parser.add_argument("--trials", type=int, nargs="*", default=[100, 256, 700], help="end to end")
    arguments = parser.parse_args()
    host.use_every_core()
    names, rounds = (["mlp-tiny"], 1) if arguments.quick else (arguments.workloads, 3)
    with ProcessPoolExecutor(CORES, get_context("spawn")) as pool:
        rows = [steps(name, pool, rounds) for name in names]
    trials, length = ([], 0) if arguments.quick else (arguments.trials, 2000)
    ends = [end_to_end(count, length) for count in trials]
    looped = {} if arguments.quick else loops(arguments.rounds, 100, length)
    versions = {name: importlib.metadata.version(name) for name in ("torch", "optuna", "ray")}
    figures = {"rows": rows, "end to end": ends, "loop": looped, "peers": versions}
    if arguments.chart:
        peers = [peer for peer in rows[0]["jaxloop is faster by"] if peer != "jaxloop"]
        series = {peer: [row["jaxloop is faster by"][peer] for row in rows] for peer in peers}
        measure.bars(arguments.chart, names, series, "jaxloop is faster by (times)", "log")
    measure.publish(figures, arguments.json)


if __name__ == "__main__":
    main()
