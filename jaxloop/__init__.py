"""jaxloop: hundreds of training runs as one XLA program."""

from typing import TYPE_CHECKING, Any

from jaxloop.loading import lazy_names

if TYPE_CHECKING:
    from jaxloop.api import advice, attempt, compare, fork, loop, report, resume, run
    from jaxloop.core.data import Data, from_disk, padded
    from jaxloop.core.optimizer import optimizer
    from jaxloop.core.task import Task
    from jaxloop.errors import (
        DamagedError,
        JaxloopError,
        LockedError,
        NotFoundError,
        PeerError,
        ResourceError,
        SweepError,
    )
    from jaxloop.readers.run import Run, load
    from jaxloop.sweep.sizes import Choice, Size, choice, size
    from jaxloop.training.progress import Progress
    from jaxloop.training.scheduler import Decisions, Join, Measured, Scheduler

    __version__: str

__all__ = [
    "Choice",
    "DamagedError",
    "Data",
    "Decisions",
    "JaxloopError",
    "Join",
    "LockedError",
    "Measured",
    "NotFoundError",
    "PeerError",
    "Progress",
    "ResourceError",
    "Run",
    "Scheduler",
    "Size",
    "SweepError",
    "Task",
    "advice",
    "attempt",
    "choice",
    "compare",
    "fork",
    "from_disk",
    "load",
    "loop",
    "optimizer",
    "padded",
    "report",
    "resume",
    "run",
    "size",
]
_load, _public_names = lazy_names(
    __name__,
    {
        "api": ("advice", "attempt", "compare", "fork", "loop", "report", "resume", "run"),
        "readers.run": ("Run", "load"),
        "errors": (
            "DamagedError",
            "JaxloopError",
            "LockedError",
            "NotFoundError",
            "PeerError",
            "ResourceError",
            "SweepError",
        ),
        "sweep.sizes": ("Choice", "Size", "choice", "size"),
        "core.optimizer": ("optimizer",),
        "core.data": ("Data", "from_disk", "padded"),
        "core.task": ("Task",),
        "training.progress": ("Progress",),
        "training.scheduler": ("Decisions", "Join", "Measured", "Scheduler"),
    },
)


if not TYPE_CHECKING:  # a type checker would take any name to be one of these

    def __getattr__(name: str) -> Any:
        """Load a public name on first use."""
        if name != "__version__":
            return _load(name)
        import importlib.metadata

        return importlib.metadata.version("jaxloop")


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return [*_public_names(), "__version__"]
