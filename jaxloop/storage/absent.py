"""Imports as if a package were not installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def absent(package: str) -> Iterator[None]:
    """What is imported meanwhile finds that a package is not installed, unless it is loaded already."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # pyright: ignore[reportArgumentType] (as Python documents it)
    try:
        yield
    finally:
        sys.modules.pop(package, None)
