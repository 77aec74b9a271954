"""How fast this machine multiplies matrices, and what share of that a run has reached."""

import math
import time
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from jaxloop.core import devices
from jaxloop.core.costs import step_cost
from jaxloop.storage.facts import ShareOfPeak
from jaxloop.sweep.sweep import digest
from jaxloop.training import machine_cache, processes
from jaxloop.training.programs import Programs

FILE = "peaks.json"
WORTH_SECONDS = 20.0  # of training, from which on to measure the peak pays: a second, once a machine
SIZES = (128, 256, 512, 1024)  # of square matrices
LARGE_SIZES = (2048, 4096, 8192)  # which an accelerator needs to reach its peak
CALL_FLOPS = {True: 2e9, False: 2e12}  # of one timed call on a CPU; on an accelerator
MOST_CALLS, MOST_SECONDS = 7, 0.5  # of one size


def measured(mesh: Mesh) -> float:
    """Return the FLOP/s of the fastest of some square float32 products, on all devices at once.

    In JAX's default precision: on a GPU that is TensorFloat-32.
    """
    return max(_rate(mesh, size) for size in (SIZES if devices.on_cpu(mesh) else LARGE_SIZES))


def measured_again(mesh: Mesh) -> float:
    """Measure the peak, and remember and return the fastest so far: a busy machine looks slower than it is."""
    found = max(measured(mesh), remembered(mesh) or 0.0)
    machine_cache.keep(FILE, _key(mesh), found)
    return found


def remembered(mesh: Mesh) -> float | None:
    """Return the peak of this machine, in FLOP/s, if it has been measured."""
    found = machine_cache.read(FILE).get(_key(mesh))
    return found if isinstance(found, float) and 0.0 < found < math.inf else None


def share(programs: Programs, seconds: float) -> ShareOfPeak | None:
    """Return how near a run came to the fastest matrix product of its machine; None where that is not known.

    Args:
      programs: the run's.
      seconds: of its training.
    """
    if processes.are_several() or programs.store.moved or not seconds:
        return None
    matmul_peak = remembered(programs.mesh)
    if matmul_peak is None and seconds < WORTH_SECONDS:
        return None
    if (computed := product_flops(programs)) is None:
        return None
    matmul_peak = matmul_peak or measured_again(programs.mesh)
    return {"share": round(computed / seconds / matmul_peak, 4), "flops_per_second": matmul_peak}


def product_flops(programs: Programs) -> float | None:
    """Return the FLOPs of all products in the steps that a run's members have taken, at their padded sizes.

    None where those of a step are not known.
    """
    taken = {member.number: member.step - (member.parent_step or 0) for member in programs.store.members()}
    total = 0.0
    for part in (part for bucket in programs.buckets for part in bucket.size_classes):
        if steps := sum(taken[number] for number in part.numbers):
            if (a_step := step_cost(programs.sweep, programs.task, part).product_flops) is None:
                return None
            total += a_step * steps
    return total


def _key(mesh: Mesh) -> str:
    return digest([*machine_cache.machine(mesh), str(jax.config.values["jax_default_matmul_precision"])])


def _rate(mesh: Mesh, size: int) -> float:
    """Return the FLOP/s of the fastest call."""
    member = PartitionSpec("member")
    count = max(1, round(CALL_FLOPS[devices.on_cpu(mesh)] / (2 * size**3)))

    def products(a: Any, b: Any) -> Any:
        def product(x: jax.Array, _: Any) -> Any:
            return 0.01 * jax.numpy.dot(a[0], x), None

        return jax.lax.scan(product, b[0], None, length=count)[0][None]

    spread = jax.jit(jax.shard_map(products, mesh=mesh, in_specs=member, out_specs=member, check_vma=False))
    a = np.random.default_rng(0).normal(size=(mesh.size, size, size)).astype(np.float32) / math.sqrt(size)
    a = jax.device_put(a, jax.NamedSharding(mesh, member))
    jax.block_until_ready(spread(a, a))  # compiles
    seconds: list[float] = []
    while len(seconds) < MOST_CALLS and sum(seconds) < MOST_SECONDS:
        started = time.perf_counter()
        jax.block_until_ready(spread(a, a))
        seconds.append(time.perf_counter() - started)
    return mesh.size * count * 2 * size**3 / min(seconds)
