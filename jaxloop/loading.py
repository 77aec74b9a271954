"""Load a package's names on first use, so that `import jaxloop` does not load JAX, nor a plan what trains."""

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def names_on_first_use(
    package: str, homes: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's `__getattr__` and `__dir__` (PEP 562).

    Args:
      homes: the names that each module of jaxloop gives the package.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def __getattr__(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"jaxloop.{home_of[name]}"), name)

    def __dir__() -> list[str]:
        return sorted(home_of)

    return __getattr__, __dir__
