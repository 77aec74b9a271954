"""Data that took a generator seconds to make, kept in the user's cache folder."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import platformdirs

from jaxloop.sweep.sweep import digest


def remembered(recipe: Any, generate: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return what `generate` gives: read back where an earlier process made it, else made and kept.

    A damaged file (its format carries checksums), or a folder that cannot be written, costs generating again.

    Args:
      recipe: plain data that the arrays follow from: the generator's name, version and options.
    """
    file = platformdirs.user_cache_path("jaxloop") / "data" / f"{digest(recipe)}.npz"
    try:
        with np.load(file) as kept:
            return dict(kept)
    except Exception:  # missing, or damaged: NumPy and zipfile say it in many types
        arrays = generate()
    part = file.with_suffix(f".{os.getpid()}.npz")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(part, allow_pickle=False, **arrays)
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)
    return arrays
