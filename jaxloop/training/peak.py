"""This machine's peak matmul throughput, and the share of it that a run reached."""

import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from jaxloop.core import costs, devices
from jaxloop.core.population import MEMBER
from jaxloop.storage.facts import ShareOfPeak
from jaxloop.storage.store import Store
from jaxloop.sweep.sweep import digest
from jaxloop.training import host, machine_cache, processes
from jaxloop.training.programs import Programs

FILE = "peaks.json"
WORTH_SECONDS = (
    20.0  # of training; shorter runs do not measure the peak, which takes about a second once a machine
)
SIZES, CALL_FLOPS = (128, 256, 512, 1024), 2e9  # of square matrices, and of one timed call
LARGE_SIZES, LARGE_CALL_FLOPS = (2048, 4096, 8192), 2e12  # which an accelerator needs to reach its peak
MOST_CALLS, MOST_SECONDS = 7, 0.5  # for each size
SCALE = 0.9  # of a matrix's largest eigenvalue, about: its powers stay finite, and numbers other than zero


def measure(mesh: Mesh) -> float:
    """Return the FLOP/s of the fastest of some square float32 products, on all devices at once.

    In JAX's default precision: TensorFloat-32 on an NVIDIA GPU, bfloat16 on a TPU.
    """
    if devices.on_cpu(mesh):
        return max(_rate(mesh, size, CALL_FLOPS) for size in SIZES)
    return max(_rate(mesh, size, LARGE_CALL_FLOPS) for size in LARGE_SIZES)


def measure_and_keep(mesh: Mesh) -> float:
    """Measure the peak; keep and return the highest so far, since a busy machine looks slower than it is."""
    found = max(measure(mesh), remembered(mesh) or 0.0)
    machine_cache.keep(FILE, _key(mesh), found)
    return found


def remembered(mesh: Mesh) -> float | None:
    """Return the peak of this machine, in FLOP/s, if it has been measured."""
    found = machine_cache.read(FILE).get(_key(mesh))
    return found if isinstance(found, float) and 0.0 < found < math.inf else None


def share(programs: Programs, seconds: float) -> ShareOfPeak | None:
    """Return the FLOP/s of a run's products as a share of its machine's peak; None where that is not known.

    Args:
      programs: the run's.
      seconds: of its training.
    """
    mesh = programs.mesh
    if not programs.store.in_one_place or processes.are_several() or not seconds:
        return None
    if (peak := remembered(mesh)) is None and seconds < WORTH_SECONDS:
        return None
    if (computed := product_flops(programs)) is None:
        return None
    try:
        if peak is None or computed / seconds > peak:  # measured while the machine was busy
            peak = measure_and_keep(mesh)
    except jax.errors.JaxRuntimeError:  # the run has left too little memory
        return None
    return {"share": round(computed / seconds / peak, 4), "peak": peak}


def product_flops(programs: Programs) -> float | None:
    """Return the FLOPs of all products in the steps that a run's members have taken, at their padded sizes.

    None where those of a step are not known.
    """
    steps = own_steps(programs.store)
    total = 0.0
    for part in (part for bucket in programs.buckets for part in bucket.size_classes):
        if taken := sum(steps[number] for number in part.numbers):
            a_step = costs.products(programs.sweep, programs.task, part).flops
            if a_step is None:
                return None
            total += taken * a_step
    return total


def own_steps(store: Store) -> dict[int, int]:
    """Return the steps that each member has taken itself, by number: a copy has begun with its parent's."""
    return {member.number: member.step - member.parent_step for member in store.members()}


def _key(mesh: Mesh) -> str:
    precision, threads = jax.config.values["jax_default_matmul_precision"], host.threads()
    return digest([*machine_cache.machine(mesh), str(precision), threads if devices.on_cpu(mesh) else 0])


def _rate(mesh: Mesh, size: int, call_flops: float) -> float:
    """Return the FLOP/s of the fastest call, each of many products in a row on every device."""
    count = max(1, round(call_flops / (2 * size**3)))

    def multiply(a: jax.Array) -> jax.Array:
        def step(x: jax.Array, _: Any) -> Any:
            return jnp.dot(a, x), None

        return jax.lax.scan(step, a, None, length=count)[0][None]

    # without `check_vma`, of which a scan that begins with an unsharded value complains
    on_all = jax.shard_map(multiply, mesh=mesh, in_specs=PartitionSpec(), out_specs=MEMBER, check_vma=False)
    timed = jax.jit(on_all)
    a = np.random.default_rng(0).standard_normal((size, size), np.float32) * np.float32(SCALE / math.sqrt(size))
    a = jax.device_put(a, jax.NamedSharding(mesh, PartitionSpec()))
    jax.block_until_ready(timed(a))  # compiles
    seconds: list[float] = []
    while len(seconds) < MOST_CALLS and sum(seconds) < MOST_SECONDS:
        started = time.perf_counter()
        jax.block_until_ready(timed(a))
        seconds.append(time.perf_counter() - started)
    return mesh.size * count * 2 * size**3 / min(seconds)
