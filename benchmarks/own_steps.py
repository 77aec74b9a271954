"""Tasks that take their own steps, and data that stay on disk: what the engine costs them.

PPO: sweeps/ppo_cartpole.toml against a bare `jit(vmap(train))` of the same update on the same devices.
FromDisk: an MLP whose examples are read from a file as they are needed, against the same with the file in memory.
Each pair runs in turns of a second, the other one stopped. Last, a file of 4 GB: the peak of the process's own
memory (anonymous pages; those of the file are the system's to drop).
"""

import statistics
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import measure
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import jaxloop
from jaxloop import api
from jaxloop.core import devices
from jaxloop.core.bucket import undivided
from jaxloop.sweep import sweep
from jaxloop.training import host

ROOT = Path(__file__).parent.parent
PPO = ROOT / "sweeps" / "ppo_cartpole.toml"
STREAMED = """
[run]
task = "{folder}/workloads/streamed.py:task"
steps = {steps}
[data]
path = "{path}"
stream = {stream}
[axes]
learning_rate = {{ log = [1e-4, 1e-1], num = 8 }}
weight_decay = {{ log = [1e-4, 1e-1], num = 4 }}
seed = {{ count = {seeds} }}
[checkpoint]
every = 1000
"""


def trained(swept: sweep.Sweep) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        summary = jaxloop.run(swept, out=Path(folder) / "run").summary
    figures = ("member_steps_per_second", "members", "capacity", "group_size", "devices")
    return {name: getattr(summary, name) for name in figures}


def ppo(stopped: measure.Clock, steps: int, every: int) -> dict:
    """The sweep as it ships, of so many updates, measured every so many."""
    time.perf_counter = stopped.running
    host.use_every_core()
    swept, _ = api.read(PPO, (f"run.steps={steps}", f"run.evaluate_every={every}"))
    return trained(swept)


def bare_ppo(stopped: measure.Clock, steps: int, every: int) -> dict:
    """The same agents by vmap over a scan of their updates."""
    host.use_every_core()
    swept, task = api.read(PPO, (f"run.steps={steps}", f"run.evaluate_every={every}"))
    (bucket,) = undivided(swept)
    own_update = task.update
    assert own_update is not None

    def chunk(traced: Any, state: Any, first: Any) -> Any:
        hparams = bucket.hparams(traced)
        key = jax.random.fold_in(jax.random.key(traced["seed"]), 2)

        def step(state: Any, number: Any) -> Any:
            return own_update(state, {}, jax.random.fold_in(key, number), number, hparams)

        return jax.lax.scan(step, state, first + jnp.arange(every))

    mesh, member = devices.member_mesh(), PartitionSpec("member")
    shard = partial(jax.shard_map, mesh=mesh, in_specs=(member, member, PartitionSpec()), out_specs=member)
    advance = jax.jit(shard(jax.vmap(chunk, in_axes=(0, 0, None)), check_vma=False), donate_argnums=1)
    columns = [bucket.columns(hparams) for hparams in swept.members]
    sharding = NamedSharding(mesh, member)
    traced = jax.device_put({name: np.array([c[name] for c in columns]) for name in columns[0]}, sharding)
    start = jax.vmap(lambda traced: task.init(jax.random.key(traced["seed"]), bucket.hparams(traced)))
    jax.block_until_ready(advance(traced, jax.device_put(start(traced), sharding), jnp.int32(0)))  # compiles
    state, began = jax.device_put(start(traced), sharding), stopped.running()
    for first in range(0, steps, every):
        state, metrics = advance(traced, state, jnp.int32(first))
        jax.device_get(metrics)
    return {"member_steps_per_second": len(columns) * steps / (stopped.running() - began)}


def written(folder: Path, rows: int) -> Path:
    """Write a file of so many rows of 40 numbers, and one of their labels."""
    path, generator = folder / "x.npy", np.random.default_rng(0)
    x = np.lib.format.open_memmap(path, "w+", np.float32, (rows, 40))
    y = np.lib.format.open_memmap(folder / "x_y.npy", "w+", np.int32, (rows,))
    for start in range(0, rows, 1 << 20):
        part = x[start : start + (1 << 20)]
        part[:] = generator.standard_normal(part.shape, np.float32)
        y[start : start + (1 << 20)] = np.abs(part[:, :10]).argmax(1)
    x.flush()
    return path


def of_file(stopped: measure.Clock | None, path: str, steps: int, seeds: int, *, stream: bool) -> dict:
    """A run of the MLP on the examples of a file, read as they are needed or all at once."""
    if stopped:
        time.perf_counter = stopped.running
    host.use_every_core()
    text = STREAMED.format(
        folder=Path(__file__).parent, path=path, steps=steps, seeds=seeds, stream=str(stream).lower()
    )
    return trained(sweep.parse(text, name="streamed"))


def peak_of(path: str, steps: int, seeds: int) -> dict:
    """What a streamed run takes of memory, in bytes, at its peak."""
    peak = {"RssAnon": 0, "VmRSS": 0}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            status = Path("/proc/self/status").read_text()
            for name in peak:
                peak[name] = max(peak[name], int(status.split(f"{name}:")[1].split()[0]) << 10)

    watcher = threading.Thread(target=watch)
    watcher.start()
    found = of_file(None, path, steps, seeds, stream=True)
    ended.set()
    watcher.join()
    return {**found, "own memory": peak["RssAnon"], "with the file's pages": peak["VmRSS"]}


def main() -> None:
    arguments = measure.parser(str(__doc__).splitlines()[0]).parse_args()
    quick = arguments.quick
    rounds, updates, steps, seeds, rows = (
        (1, (2, 1), 100, 1, 1 << 14) if quick else (3, (183, 61), 2000, 4, 26 << 20)
    )
    rates: dict[str, list[float]] = {"PPO / bare loop": [], "streamed / resident": []}
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small"
        small.mkdir()
        path = str(written(small, 4000))
        streamed, resident = partial(of_file, stream=True), partial(of_file, stream=False)
        pairs = {
            "PPO / bare loop": (ppo, bare_ppo, updates),
            "streamed / resident": (streamed, resident, (path, steps, seeds)),
        }
        for _ in range(rounds):
            for name, (ours, theirs, size) in pairs.items():
                mine, other = measure.in_turns(ours, theirs, size)
                rates[name].append(mine["member_steps_per_second"] / other["member_steps_per_second"])
                print(f"{name} {rates[name][-1]:.3f}: {mine}, {other}", flush=True)
        large = str(written(Path(folder), rows))
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:
            peak = alone.submit(peak_of, large, steps, seeds).result()
        print(peak, flush=True)
    figures = {
        "rows": {name: statistics.median(found) for name, found in rates.items()},
        "all": rates,
        "peak": peak,
    }
    if arguments.chart:
        measure.bars(arguments.chart, [str(n) for n in range(rounds)], rates, "ratio of member-steps/s", "linear")
    measure.publish({**figures, "file bytes": rows * 164}, arguments.json)


if __name__ == "__main__":
    main()
