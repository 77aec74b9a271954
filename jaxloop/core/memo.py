"""What has been found of a task, kept as long as the task."""

from collections.abc import Callable
from typing import Any, TypeVar

from jaxloop.core.task import Task

Found = TypeVar("Found")


def memoized(task: Task, key: Any, compute: Callable[[], Found]) -> Found:
    """Memoize `compute()` by task and key: tracing is most of the time before a program compiles."""
    if key not in task.traced:
        task.traced[key] = compute()
    return task.traced[key]
