"""Where a run's numbers come from: versions, machine, code."""

import importlib.metadata
import json
import os
import platform
import socket
import subprocess
from pathlib import Path
from typing import Any

import jax

from jaxloop.storage import run_folder
from jaxloop.storage.seal import write_whole
from jaxloop.training import host

PACKAGES = (
    "jaxloop",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "tensorboardX",
    "mnist1d",
)


def add(run: Path, facts: dict[str, Any]) -> None:
    """Add facts to the run's `run.json`, which is for people: a damaged one is begun anew."""
    write_whole(run_folder.provenance(run), json.dumps({**read(run), **facts}, indent=1))


def read(run: Path) -> dict[str, Any]:
    """Return the run's `run.json`; empty where it is missing or damaged."""
    try:
        return dict(json.loads(run_folder.provenance(run).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def is_whole(run: Path) -> bool:
    """Return whether the run's `run.json` is there and tells what it should."""
    return "versions" in read(run)


def restore(run: Path, facts: dict[str, Any], code: Path) -> list[str]:
    """Begin a lost `run.json` anew.

    Args:
      facts: that it began with and the store has kept.
      code: as for `collect`.

    Returns:
      A note where it was lost.
    """
    if is_whole(run):
        return []
    add(run, {**facts, **collect(code)})
    return [f"{run_folder.provenance(run)} was missing or damaged: rebuilt from the current versions and machine"]


def collect(code: Path) -> dict[str, Any]:
    """Versions, devices, process, and the git commit and uncommitted diff of the folder `code`."""
    return {
        "versions": versions(),
        "devices": [str(device) for device in jax.devices()],
        "device_kind": jax.devices()[0].device_kind,
        "processor": processor(),
        "cores": host.cores(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "process": os.getpid(),
        "git_commit": _git(code, "rev-parse", "HEAD"),
        "git_diff": _git(code, "diff", "HEAD"),
    }


def versions() -> dict[str, str | None]:
    """Of Python and the packages that numbers may depend on."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def processor() -> str:
    """Return the CPU's model."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
