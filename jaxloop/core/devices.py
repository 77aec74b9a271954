"""Which devices a run uses, and how many members share one."""

import math

import jax
import numpy as np

LARGEST_GROUP = 32  # measured on CPU: wider never paid, see benchmarks/LOG.md
SMALLEST_GROUP = 2  # in groups of one XLA may choose other kernels, and a member's last bits change
CACHE_BYTES = 1 << 20  # what a group may keep in use: a core's second-level cache
CPU_CAPACITY = 256  # measured: more slots bring no speed there, see benchmarks/LOG.md


def member_mesh(count: int | None = None) -> jax.sharding.Mesh:
    """Return a one-axis mesh named "member" over this process's devices (or the first `count` of them)."""
    devices = np.asarray(jax.local_devices()[:count])
    return jax.sharding.Mesh(devices, ("member",), axis_types=(jax.sharding.AxisType.Auto,))


def platform(mesh: jax.sharding.Mesh) -> str:
    """Return "cpu", "gpu" or "tpu"."""
    return mesh.devices.flat[0].platform


def on_cpu(mesh: jax.sharding.Mesh) -> bool:
    return platform(mesh) == "cpu"


def largest_group(slots: int, devices: int, *, cpu: bool) -> int:
    """Return the largest group worth compiling: a power of two, at most what a device's share of slots needs."""
    share = max(SMALLEST_GROUP, 1 << max(0, math.ceil(slots / devices) - 1).bit_length())
    return min(share, LARGEST_GROUP) if cpu else share


def choose_group_size(working_set: float, most: int) -> int:
    """Slots vmapped together on a CPU device, unmeasured: as many members as its cache holds, at most `most`.

    Args:
      working_set: bytes that one member's step keeps in use.
    """
    fits = 1 << max(1, int(CACHE_BYTES / max(working_set, 1.0))).bit_length() - 1
    return max(SMALLEST_GROUP, min(fits, most))


def choose_slots(members: int, wanted: int | None, *, cpu: bool) -> int:
    """Return the number of slots before memory is considered: as asked for, else one a member, on CPU few."""
    return min(members, wanted or (CPU_CAPACITY if cpu else members))


def shrunk(capacity: int, group_size: int, narrowest: int, devices: int, share: float) -> tuple[int, int] | None:
    """Return a capacity of about `share` of the present one, and its group size; None if there is no smaller one.

    Whole groups go first. Where a device is left less than one, its group becomes narrower.
    """
    each = int(share * capacity) // devices
    if each < group_size:
        group_size = max(narrowest, 1 << max(each, 1).bit_length() - 1)
    smaller = max(each // group_size, 1) * group_size * devices
    return (smaller, group_size) if smaller < capacity else None


def capacity(slots: int, group_size: int, devices: int) -> int:
    """Return the slots of the program: `slots`, rounded up so that each device has whole groups."""
    return math.ceil(slots / (group_size * devices)) * group_size * devices
