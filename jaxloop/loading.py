"""Lazy names of packages: `import jaxloop` loads no JAX, and a plan no code that trains."""

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's `__getattr__` and `__dir__` (PEP 562).

    Args:
      package: its name, for the message of an AttributeError.
      homes: for each module, relative to `jaxloop`, the names it provides.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def __getattr__(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"jaxloop.{home_of[name]}"), name)

    def __dir__() -> list[str]:
        return sorted(home_of)

    return __getattr__, __dir__
