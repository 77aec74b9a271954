"""Measurements of this machine, kept in the user's cache folder for later runs."""

import json
import os
from typing import Any

import jax
import platformdirs
from jax.sharding import Mesh

from jaxloop.training.provenance import processor


def machine(mesh: Mesh) -> tuple[Any, ...]:
    """Return what identifies the machine that a speed was measured on."""
    return mesh.devices.flat[0].device_kind, mesh.size, os.cpu_count(), processor(), jax.__version__


def read(name: str) -> dict[str, Any]:
    """Return a cache file's content; empty if it is missing or malformed."""
    try:
        found = json.loads((platformdirs.user_cache_path("jaxloop") / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def keep(name: str, key: str, value: Any) -> None:
    """Set one key of a cache file, atomically.

    What cannot be written, or is overwritten by another process at the same time, is measured again.
    """
    file = platformdirs.user_cache_path("jaxloop") / name
    part = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({**read(name), key: value}), encoding="utf-8")
        part.replace(file)
    except OSError:
        return
