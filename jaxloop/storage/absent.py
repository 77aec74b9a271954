"""Imports as if a package were not installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def absent(package: str) -> Iterator[None]:
    """Import in this context as if a package were not installed, unless it is loaded already."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # pyright: ignore[reportArgumentType] (as Python documents it)
    try:
        yield
    finally:
        sys.modules.pop(package, None)
