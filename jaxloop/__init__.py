"""jaxloop: hundreds of training runs as one XLA program."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxloop.api import Run, load, run
    from jaxloop.task import Data, Task

__version__ = "0.1.0"
__all__ = ["Data", "Run", "Task", "load", "run"]
_HOMES = {"Data": "task", "Task": "task", "Run": "api", "load": "api", "run": "api"}


def __getattr__(name: str) -> Any:
    """Loads the public names on first use: `import jaxloop` alone does not load JAX."""
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxloop' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"jaxloop.{_HOMES[name]}"), name)
