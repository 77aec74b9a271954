"""Finds a sweep's task: one that ships, or the user's own "file.py:name"."""

import hashlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from jaxloop import declared
from jaxloop.errors import SweepError
from jaxloop.task import Task


def load(name: str, folder: Path, options: dict[str, Any]) -> Task:
    """The task, made from its `[data]` options.

    Args:
      folder: what a relative path in `name` is relative to.

    Raises:
      SweepError: the file, the name in it, or what it gives is not a task.
    """
    if name in declared.TASKS:
        from jaxloop import tasks

        return getattr(tasks, name)(**options)
    path, _, attribute = name.rpartition(":")
    file = (folder / path).resolve()
    if not file.is_file():
        raise SweepError(f"run.task: no file {file}")
    spec = importlib.util.spec_from_file_location(f"jaxloop_task_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise SweepError(f"run.task: {file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    task = getattr(module, attribute, None)
    if callable(task):
        task = task(**options)
    elif options and task is not None:
        raise SweepError(f"run.task: {name} is a Task, not a function of [data]; [data] gives {sorted(options)}")
    if not isinstance(task, Task):
        raise SweepError(f"run.task: {name} needs to be a jaxloop.Task, or a function that returns one")
    clash = sorted(set(task.hparams) & set(declared.known({})))
    if clash:
        raise SweepError(f"run.task: {name} declares {clash}, which are the engine's own")
    return task


def code_hash(name: str, folder: Path) -> str:
    """What identifies a task's code: its file's content; for a task that ships, its name."""
    if name in declared.TASKS:
        return name
    return hashlib.sha256((folder / name.rpartition(":")[0]).read_bytes()).hexdigest()[:16]
