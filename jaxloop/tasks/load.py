"""Finds a sweep's task: one that ships, or the user's own "file.py:name"."""

import hashlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

from jaxloop import declared
from jaxloop.errors import SweepError, nearest, told, unknown
from jaxloop.sizes import Size
from jaxloop.task import Task


def load(name: str, folder: Path, options: dict[str, Any]) -> Task:
    """The task, made from its `[data]` options.

    Args:
      folder: what a relative path is relative to: the one in `name`, and options called `path` or `..._path`.

    Raises:
      SweepError: the file, the name in it, or what it gives is not a task.
    """
    options = {key: _absolute(folder, value) if _is_path(key) else value for key, value in options.items()}
    if name in declared.DATA:
        from jaxloop import tasks

        make = getattr(tasks, name)
    else:
        make = _from_file(name, folder)
    if isinstance(make, Task) and options:
        raise SweepError(f"{name} is a Task, not a function of [data], which gives {', '.join(options)}")
    if not isinstance(make, Task) and (rule := _unbound(make, options)):
        raise SweepError(f"{name}: {rule}")
    try:
        task = make if isinstance(make, Task) else make(**options)
    except Exception as error:  # the user's code: say what it raised, and where
        raise SweepError(f"{name}: {told(error)}") from error
    if not isinstance(task, Task):
        raise SweepError(f"{name} needs to be a jaxloop.Task or a function that returns one, got {type(task)}")
    clash = task.hparams.keys() & declared.ENGINE_NAMES  # an optimizer's are refused where a sweep uses it
    if isinstance(task.hparams.get("batch_size"), Size):
        clash -= {"batch_size"}  # its loss weighs its examples
    if clash:
        raise SweepError(f"{name} declares {', '.join(sorted(clash))}, which are the engine's own names")
    return task


def _from_file(name: str, folder: Path) -> Any:
    path, _, attribute = name.rpartition(":")
    file = (folder / path).resolve()
    spec = importlib.util.spec_from_file_location(f"jaxloop_task_{file.stem}", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise SweepError(f"no Python file {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SweepError(f"{name}: {told(error)}") from error
    if not hasattr(module, attribute):
        public = [each for each in vars(module) if not each.startswith("_")]
        raise SweepError(f"{file} has no `{attribute}`{nearest(attribute, public)}")
    return getattr(module, attribute)


def _unbound(make: Any, options: dict[str, Any]) -> str | None:
    """What [data] gives that a task's function does not take, or lacks that it needs."""
    if not callable(make):
        return f"needs to be a jaxloop.Task or a function that returns one, got {type(make).__name__}"
    takes = inspect.signature(make).parameters
    if any(each.kind is each.VAR_KEYWORD for each in takes.values()):
        return None
    for key in options:
        if key not in takes:
            return f"[data] has {unknown('option', key, takes)}"
    needs = [name for name, each in takes.items() if each.default is each.empty and name not in options]
    return f"[data] needs {', '.join(needs)}, which the task's function takes" if needs else None


def _is_path(key: str) -> bool:
    return key == "path" or key.endswith("_path")


def _absolute(folder: Path, value: Any) -> Any:
    return str(folder / value) if isinstance(value, str) and value else value


def code_hash(name: str, folder: Path) -> str:
    """What identifies a task's code: its file's content; for a task that ships, its name."""
    file = task_file(name, folder)
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file else name


def task_file(name: str, folder: Path) -> Path | None:
    """The file of a user's own task; None of one that ships."""
    return None if name in declared.DATA else folder / name.rpartition(":")[0]
