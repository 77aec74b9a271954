"""What was measured of this machine, kept in the user's cache folder for later runs."""

import json
import os
from typing import Any

import jax
import platformdirs
from jax.sharding import Mesh

from jaxloop.training.provenance import processor


def machine(mesh: Mesh) -> tuple[Any, ...]:
    """Return what a measured speed belongs to: the devices, the processor, and JAX's version."""
    return mesh.devices.flat[0].device_kind, mesh.size, os.cpu_count(), processor(), jax.__version__


def read(name: str) -> dict[str, Any]:
    """Return what is kept in a file; nothing where it is missing or is not what it should be."""
    try:
        found = json.loads((platformdirs.user_cache_path("jaxloop") / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def keep(name: str, key: str, value: Any) -> None:
    """Add a value to a file, replaced in one move; a cache folder that cannot be written costs measuring again."""
    file = platformdirs.user_cache_path("jaxloop") / name
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps({**read(name), key: value}), encoding="utf-8")
        part.replace(file)
    except OSError:
        return
