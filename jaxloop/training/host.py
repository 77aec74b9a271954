"""This host as JAX sees it: cores, threads, memory, the cache of compiled programs."""

import os
import re
import sys
from pathlib import Path

import jax
import platformdirs
import psutil
from jax._src import distributed, xla_bridge  # nothing public tells of them without starting JAX

from jaxloop.core.devices import on_cpu

CACHED_BYTES = 2 << 30  # of compiled programs; the least recently used go first
MEMORY_SHARE = 0.9  # of a device's, that a program may plan to use
CGROUP = Path("/sys/fs/cgroup")  # of a container
MOST_THREADS = 1024  # that a damaged store may ask for
THREADS = "PJRT_NPROC"  # where XLA's CPU client looks how many threads to start; else in "NPROC"; else cores

_held_back = 0  # CPU devices that JAX was not given, since a run began on fewer


def prepare(devices: int | None = None, threads: int | None = None) -> None:
    """Set JAX up as this machine's user would: all cores, and programs compiled once.

    Call after `jax.distributed.initialize`, where there are several processes, and before JAX starts.

    Args:
      devices: on which a run began: no more are started.
      threads: that a run's bits came from; by default as many as all processes have devices.
    """
    if count := use_every_core():
        if devices and devices < count:
            global _held_back
            _held_back = count - devices
            count = devices
            jax.config.update("jax_num_cpu_devices", count)
        everywhere = count * distributed.global_state.num_processes
        os.environ[THREADS] = str(min(threads or everywhere, MOST_THREADS))
    use_compilation_cache()


def use_compilation_cache() -> None:
    """Keep compiled programs in the user's cache folder, unless the user chose a folder or has JAX keep none.

    A folder that cannot be written costs JAX's warning, and compiling anew.
    """
    chosen = jax.config.values
    if chosen["jax_compilation_cache_dir"] is None and chosen["jax_enable_compilation_cache"]:
        jax.config.update("jax_compilation_cache_dir", str(platformdirs.user_cache_path("jaxloop") / "xla"))
        jax.config.update("jax_compilation_cache_max_size", CACHED_BYTES)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def available() -> int:
    """Return how many devices this process has, with those that `prepare` did not start."""
    return jax.local_device_count() + (_held_back if jax.default_backend() == "cpu" else 0)


def idle_cores() -> int:
    """Return how many cores this process's CPU devices leave idle since JAX ran before jaxloop could set it up."""
    chosen = jax.config.values["jax_num_cpu_devices"] >= 1 or "device_count" in os.environ.get("XLA_FLAGS", "")
    if chosen or jax.default_backend() != "cpu":
        return 0
    return max(0, cores() - jax.local_device_count())


def use_every_core() -> int | None:
    """Give JAX as many CPU devices as this process may use cores, unless the user chose a number.

    XLA does not parallelise a small member's step; two devices on two cores were 2.0 to 2.6 times one.
    Call before JAX starts; afterwards it changes nothing.

    Returns:
      The number of CPU devices; None if JAX runs already.
    """
    if xla_bridge.backends_are_initialized():
        return None
    if chosen := re.search(r"device_count=(\d+)", os.environ.get("XLA_FLAGS", "")):
        return int(chosen[1])
    if jax.config.values["jax_num_cpu_devices"] < 1:
        jax.config.update("jax_num_cpu_devices", cores())
    return jax.config.values["jax_num_cpu_devices"]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def threads() -> int:
    """Return the number of threads that divide large products on CPU, on which their last bits depend."""
    chosen = os.environ.get(THREADS) or os.environ.get("NPROC") or ""
    return max(int(chosen) if chosen.isdecimal() else cores(), jax.local_device_count("cpu"))


def memory_bytes(mesh: jax.sharding.Mesh) -> int | None:
    """Return what a program may use of each device's memory; None where the device does not tell."""
    if on_cpu(mesh):
        return int(MEMORY_SHARE * _host_bytes()) // mesh.size
    limits = [(device.memory_stats() or {}).get("bytes_limit", 0) for device in mesh.local_devices]
    return int(MEMORY_SHARE * min(limits)) or None


def _host_bytes() -> int:
    """Return what is free of this machine's memory, and of the container's where there is one (cgroup v2)."""
    free = psutil.virtual_memory().available
    try:
        limit, used = (int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no such group, or "max"
        return free
    return min(free, max(0, limit - used))
