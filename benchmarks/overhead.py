"""jaxloop with everything on (TensorBoard, store, checkpoints, evaluation) against a bare hand-written loop.

The loop below is what a researcher writes by hand: shard_map over devices, lax.map over groups, vmap over members,
scan over steps. Same arithmetic, same width, same batches; no checkpoint, no curve on disk, no frozen members.
It draws the batches of a chunk at once, as jaxloop does. The two processes run in turns of a second, the other one
stopped, since a shared machine's speed changes by the minute.
"""

import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import measure
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import PartitionSpec

import jaxloop
from jaxloop.core import devices
from jaxloop.core.batches import batch_index
from jaxloop.core.task import Hparams
from jaxloop.sweep import sweep
from jaxloop.sweep.sizes import Size
from jaxloop.tasks import mnist1d
from jaxloop.training import host

SWEEP = """
[run]
task = "mnist1d"
steps = {steps}
[hparams]
width = 100
depth = 2
batch_size = 100
optimizer = "adamw"
[axes]
learning_rate = {{ log = [1e-4, 1e-1], num = 8 }}
weight_decay = {{ log = [1e-4, 1e-1], num = {decays} }}
[population]
group_size = 4
[checkpoint]
every = 1000
"""
BATCH, EVERY, SIZES, WIDTH = 100, 100, (40, 100, 100, 10), 4


def bare_loop(members: list[dict], width: int) -> Any:
    """`(state, data) -> (state, losses)`, one chunk of all members; and the state to start from."""

    def init(seed: Any) -> Any:
        keys = jax.random.split(jax.random.key(seed), 3)
        shapes = zip(keys, SIZES[:-1], SIZES[1:], strict=True)
        return [{"w": jax.random.normal(k, (a, b)) / a**0.5, "b": jnp.zeros(b)} for k, a, b in shapes]

    _, unravel = ravel_pytree(init(0))

    def loss(flat: Any, x: jax.Array, y: Any) -> Any:
        for i, layer in enumerate(layers := unravel(flat)):
            x = x @ layer["w"] + layer["b"]
            x = jax.nn.relu(x) if i < len(layers) - 1 else x
        return optax.softmax_cross_entropy_with_integer_labels(x, y).mean()

    def chunk(hparams: Hparams, state: Any, data: Any) -> Any:
        tx = optax.adamw(hparams["learning_rate"], weight_decay=hparams["weight_decay"])
        key = jax.random.fold_in(jax.random.key(hparams["seed"]), 1)

        def index(count: Any) -> Any:
            return batch_index(key, count, Size(BATCH, BATCH), len(data["train"]["y"]))

        def step(carry: Any, index: jax.Array) -> Any:
            params, opt_state = carry
            value, grads = jax.value_and_grad(loss)(params, data["train"]["x"][index], data["train"]["y"][index])
            updates, opt_state = tx.update(grads, opt_state, params)
            return (params + updates, opt_state), value

        *state, count = state
        state, losses = jax.lax.scan(step, tuple(state), jax.vmap(index)(count + jnp.arange(EVERY)))
        validation = loss(state[0], data["validation"]["x"], data["validation"]["y"])
        return (*state, count + EVERY), (losses.mean(), validation)

    mesh = devices.member_mesh()
    member, shared = PartitionSpec("member"), PartitionSpec()

    @partial(jax.jit, donate_argnums=1)
    @partial(jax.shard_map, mesh=mesh, in_specs=(member, member, shared), out_specs=member, check_vma=False)
    def population_chunk(hparams: Hparams, state: Any, data: Any) -> Any:
        grouped = jax.tree.map(lambda a: a.reshape(-1, width, *a.shape[1:]), (hparams, state))
        out = jax.lax.map(lambda group: jax.vmap(lambda h, s: chunk(h, s, data))(*group), grouped)
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), out)

    hparams = {
        "learning_rate": np.array([m["learning_rate"] for m in members], np.float32),
        "weight_decay": np.array([m["weight_decay"] for m in members], np.float32),
        "seed": np.array([m["seed"] for m in members], np.uint32),
    }

    def start(seed: jax.Array) -> Any:
        params = ravel_pytree(init(seed))[0]
        return params, optax.adamw(0.1).init(params), jnp.int32(0)

    sharding = jax.sharding.NamedSharding(mesh, member)
    hparams = jax.device_put(hparams, sharding)
    return partial(population_chunk, hparams), lambda: jax.device_put(jax.vmap(start)(hparams["seed"]), sharding)


def engine(stopped: measure.Clock, steps: int, decays: int) -> dict:
    """A whole run of jaxloop, and its rate."""
    time.perf_counter = stopped.running  # by which the runner counts its seconds
    host.use_every_core()
    swept = sweep.parse(SWEEP.format(steps=steps, decays=decays), name="overhead")
    with tempfile.TemporaryDirectory() as folder:
        summary = jaxloop.run(swept, out=Path(folder) / "run").summary
    figures = ("member_steps_per_second", "members", "capacity", "group_size", "devices")
    return {name: getattr(summary, name) for name in figures}


def bare(stopped: measure.Clock, steps: int, decays: int) -> dict:
    """The loop of the same members, and its rate."""
    host.use_every_core()
    swept = sweep.parse(SWEEP.format(steps=steps, decays=decays), name="overhead")
    data = jax.device_put(mnist1d().data.splits())
    chunk, start = bare_loop(swept.members, WIDTH)
    jax.block_until_ready(chunk(start(), data))  # compiles
    state, began = start(), stopped.running()
    for _ in range(steps // EVERY):
        state, losses = chunk(state, data)
        jax.device_get(losses)
    return {"member_steps_per_second": len(swept.members) * steps / (stopped.running() - began)}


def main() -> None:
    arguments = measure.parser(str(__doc__).splitlines()[0]).parse_args()
    steps, decays, rounds = (100, 1, 1) if arguments.quick else (2000, 32, 3)
    host.use_every_core()
    ratios, found = [], {}
    for _ in range(rounds):
        ours, theirs = measure.in_turns(engine, bare, (steps, decays))
        assert ours["group_size"] == WIDTH, ours
        ratios.append(ours["member_steps_per_second"] / theirs["member_steps_per_second"])
        found = {"jaxloop": ours, "bare member-steps/s": theirs["member_steps_per_second"]}
        print(f"ratio {ratios[-1]:.3f}: {found}", flush=True)
    figures = {"ratio": statistics.median(ratios), "ratios": ratios, **found, "steps": steps}
    if arguments.chart:
        names = [f"round {number}" for number in range(1, len(ratios) + 1)]
        measure.bars(arguments.chart, names, {"jaxloop / bare loop": ratios}, "ratio of member-steps/s", "linear")
    measure.publish(figures, arguments.json)


if __name__ == "__main__":
    main()
