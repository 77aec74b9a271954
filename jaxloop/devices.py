"""Which devices a run uses, and how many members share one."""

import math
import os
import sys

import jax
import numpy as np

WIDEST = 32  # measured on CPU: wider never paid, see benchmarks/LOG.md
NARROWEST = 2  # at width 1 XLA may choose other kernels, and a member's last bits change
CACHE_BYTES = 1 << 20  # state of a group that still leaves half of a core's 2 MiB second-level cache
CPU_CAPACITY = 256
ACCELERATOR_CAPACITY = 1024


def use_every_core() -> None:
    """Gives JAX as many CPU devices as this process may use cores, unless the user chose a number.

    XLA does not parallelise a small member's step; two devices on two cores were 2.0 to 2.6 times one.
    Call before JAX starts; afterwards it changes nothing.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    chosen = jax.config.values["jax_num_cpu_devices"]
    if chosen < 1 and "device_count" not in os.environ.get("XLA_FLAGS", ""):
        try:
            jax.config.update("jax_num_cpu_devices", cores)
        except RuntimeError:  # JAX runs already: its devices stay as they are
            return


def member_mesh(count: int | None = None) -> jax.sharding.Mesh:
    """A one-axis mesh named "member" over this host's devices (or the first `count` of them)."""
    devices = np.asarray(jax.devices()[:count])
    return jax.sharding.Mesh(devices, ("member",), axis_types=(jax.sharding.AxisType.Auto,))


def choose_width(state_bytes: int, mesh: jax.sharding.Mesh, capacity: int | None) -> int:
    """Slots vmapped together on a device, for members whose state takes `state_bytes`.

    On CPU the largest power of two whose group fits in cache; on accelerators all slots of a device.
    """
    if mesh.devices.flat[0].platform != "cpu":
        return max(NARROWEST, (capacity or ACCELERATOR_CAPACITY) // mesh.size)
    fits = max(1, CACHE_BYTES // max(state_bytes, 1))
    return min(WIDEST, max(NARROWEST, 1 << int(math.log2(fits))))


def choose_capacity(members: int, width: int, mesh: jax.sharding.Mesh, wanted: int | None) -> int:
    """Slots of the program: enough for the members or the wanted number, a multiple of width x devices."""
    platform_default = CPU_CAPACITY if mesh.devices.flat[0].platform == "cpu" else ACCELERATOR_CAPACITY
    slots = min(members, wanted or platform_default)
    multiple = width * mesh.size
    return -(-slots // multiple) * multiple
