"""`jaxloop doctor`: what this machine gives a run, and what is missing."""

import importlib.util
import os
import platform
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import platformdirs
import psutil

from jaxloop.core import devices
from jaxloop.formatting import scaled
from jaxloop.storage import destination
from jaxloop.training import host, peak, provenance

CLOCK_SECONDS = 2.0  # that a disk's clock may differ by
BUILT = 1_750_000_000  # seconds since 1970: before this code was written
FEW_BYTES = 1 << 30


def doctor(folder: Path) -> dict[str, Any]:
    """Return facts about this machine, and `problems`, each a sentence that ends with what to do.

    Args:
      folder: where runs are to be written.
    """
    mesh = devices.member_mesh()
    cache = Path(jax.config.values["jax_compilation_cache_dir"] or platformdirs.user_cache_path("jaxloop"))
    existing = destination.existing(folder)
    usage = shutil.disk_usage(existing)
    found = {
        "versions": provenance.versions(),
        "platform": platform.platform(),
        "processor": provenance.processor(),
        "cores": host.cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "free_memory_bytes": psutil.virtual_memory().available,
        "devices": [
            {"device": str(device), "kind": device.device_kind, "platform": device.platform}
            for device in mesh.devices.flat
        ],
        "matmul_flops_per_second": peak.measure_and_keep(mesh),
        "usable_bytes_per_device": host.memory_bytes(mesh),
        "compilation_cache": {"folder": str(cache), "bytes": _bytes(cache), "writable": _writable(cache)},
        "disk": {"folder": str(existing), "free_bytes": usage.free, "writable": _writable(existing)},
        "clock": {"now": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "disk_differs_by_seconds": _disk_clock(existing)},
    }
    return {**found, "problems": _problems(found)}


def _problems(found: dict[str, Any]) -> list[str]:
    volume, cache, clock = found["disk"], found["compilation_cache"], found["clock"]
    told = {
        f"{volume['folder']} cannot be written: choose another folder with --out": not volume["writable"],
        f"only {scaled(volume['free_bytes'])}B of disk are free: make room": volume["free_bytes"] < FEW_BYTES,
        f"{cache['folder']} cannot be written, every run compiles anew: set JAX_COMPILATION_CACHE_DIR": (
            not cache["writable"]
        ),
        f"the clock says {clock['now']}: set it": time.time() < BUILT,
        "the disk's clock differs from the machine's, so that files seem older or newer than they are: set both": (
            abs(clock["disk_differs_by_seconds"] or 0.0) > CLOCK_SECONDS
        ),
        'an NVIDIA GPU is here, JAX does not use it: pip install "jaxloop[cuda13]"': (
            Path("/proc/driver/nvidia/gpus").exists() and found["devices"][0]["platform"] == "cpu"
        ),
        "TensorBoard is not installed, which shows the curves: pip install tensorboard": (
            importlib.util.find_spec("tensorboard") is None
        ),
    }
    return [problem for problem, is_so in told.items() if is_so]


def text(found: dict[str, Any]) -> str:
    """Return the findings for a person."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items() if version)
    usable = found["usable_bytes_per_device"]
    cache, disk, clock = found["compilation_cache"], found["disk"], found["clock"]
    lines = [
        f"devices    {', '.join(each['device'] for each in found['devices'])} ({found['devices'][0]['kind']}), "
        f"{f'{scaled(usable)}B of memory to use on each' if usable else 'memory not told'}",
        f"peak       {scaled(found['matmul_flops_per_second'])}FLOP/s in float32 matrix products, on all devices",
        f"machine    {found['processor']}, {found['cores']} cores, {scaled(found['memory_bytes'])}B of memory "
        f"({scaled(found['free_memory_bytes'])}B free), {found['platform']}",
        f"versions   {versions}",
        f"cache      {cache['folder']}: {scaled(cache['bytes'])}B of compiled programs",
        f"disk       {disk['folder']}: {scaled(disk['free_bytes'])}B free",
        f"clock      {clock['now']}",
    ]
    return "\n".join([*lines, *(f"problem    {problem}" for problem in found["problems"] or ["none found"])])


def _bytes(folder: Path) -> int:
    """Return what a folder's files take; another process may delete one meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _disk_clock(folder: Path) -> float | None:
    """By how many seconds a file written now seems to be from the future (or, negative, the past)."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            return round(os.stat(file.name).st_mtime - time.time(), 3)
    except OSError:
        return None
