"""Python's face: run a sweep, load a run. The command line calls the same functions."""

from typing import TYPE_CHECKING

from jaxloop.loading import lazy_names

if TYPE_CHECKING:
    from jaxloop.api.planning import planned
    from jaxloop.api.ready import Ready, created, forked, opened, prepare_for, resumed
    from jaxloop.api.results import advice, compare, draw, export, report
    from jaxloop.api.runs import fork, loop, resume, run
    from jaxloop.api.tries import attempt, attempted
    from jaxloop.readers.run import Run, load
    from jaxloop.tasks.of_sweep import read, task_of

__all__ = [
    "Ready",
    "Run",
    "advice",
    "attempt",
    "attempted",
    "compare",
    "created",
    "draw",
    "export",
    "fork",
    "forked",
    "load",
    "loop",
    "opened",
    "planned",
    "prepare_for",
    "read",
    "report",
    "resume",
    "resumed",
    "run",
    "task_of",
]
if not TYPE_CHECKING:  # a type checker would take any name to be one of these
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "api.planning": ("planned",),
            "api.ready": ("Ready", "created", "forked", "opened", "prepare_for", "resumed"),
            "api.results": ("advice", "compare", "draw", "export", "report"),
            "api.runs": ("fork", "loop", "resume", "run"),
            "api.tries": ("attempt", "attempted"),
            "readers.run": ("Run", "load"),
            "tasks.of_sweep": ("read", "task_of"),
        },
    )
