"""Finds a sweep's task: one that ships, or the user's own "file.py:name"."""

import hashlib
import importlib.util
import inspect
import json
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from jaxloop.core.task import Task
from jaxloop.errors import SweepError, told
from jaxloop.sweep import catalog
from jaxloop.sweep.sizes import Choice, Size
from jaxloop.sweep.suggest import nearest, unknown
from jaxloop.tasks import beside


def load(name: str, folder: Path, options: dict[str, Any]) -> Task:
    """Return the task, made from its `[data]` options.

    Args:
      folder: where the path in `name`, and options called `path` or `..._path`, are `located`.

    Raises:
      SweepError: the file, the name in it, or what it gives is not a task.
    """
    options = {**options, **{key: str(located(value, folder)) for key, value in _paths(options).items()}}
    if name in catalog.DATA:
        from jaxloop import tasks

        make = getattr(tasks, name)
    else:
        make = _from_file(name, folder)
    if isinstance(make, Task) and options:
        raise SweepError(f"{name} is a Task, not a function of [data], which gives {', '.join(options)}")
    if not isinstance(make, Task) and (rule := _unbound(make, options)):
        raise SweepError(f"{name}: {rule}")
    try:
        if name in catalog.DATA and not _paths(options):  # a file's content may have changed
            task = _shipped(name, json.dumps(options, sort_keys=True))
        else:
            task = make if isinstance(make, Task) else make(**options)
    except (Exception, SystemExit) as error:  # the user's code: say what it raised, and where
        raise SweepError(f"{name}: {told(error)}") from error
    if not isinstance(task, Task):
        raise SweepError(f"{name} needs to be a jaxloop.Task or a function that returns one, got {type(task)}")
    _check_hparams(name, task)
    return task


@lru_cache(maxsize=8)
def _shipped(name: str, options: str) -> Task:
    """Return a task that ships, the same one each time: a process then traces its functions once.

    Args:
      options: as JSON.
    """
    from jaxloop import tasks

    return getattr(tasks, name)(**json.loads(options))


def _check_hparams(name: str, task: Task) -> None:
    """Make sure that a task's hparams have usable defaults, and names of their own.

    Raises:
      SweepError: one has not.
    """
    for table in (task.hparams, *task.models.values()):
        for hparam, default in table.items():
            if rule := _no_default(default):
                raise SweepError(f"{name}: hparam {hparam!r} {rule}")
    clash = task.hparams.keys() & catalog.ENGINE_NAMES  # an optimizer's are refused where a sweep uses it
    if isinstance(task.hparams.get("batch_size"), Size):
        clash -= {"batch_size"}  # its loss weighs its examples
    if clash:
        raise SweepError(f"{name} declares {', '.join(sorted(clash))}, which are the engine's own names")


def _no_default(value: Any) -> str | None:
    """Return the rule that a default of an hparam breaks, if any."""
    if not isinstance(value, bool | int | float | str | Size | Choice):
        hint = " (declare one hparam for each element)" if isinstance(value, list | tuple | dict) else ""
        kinds = "a bool, int, float or str, or a default made by jaxloop.size or jaxloop.choice"
        return f"needs {kinds}{hint}, got {value!r}, of type {type(value).__name__}"
    if isinstance(value, float) and not abs(value) <= catalog.LARGEST_FLOAT:
        return f"needs a finite number that float32 can hold, got {value!r}"
    return None


def _from_file(name: str, folder: Path) -> Any:
    path, _, attribute = name.rpartition(":")
    file = located(path, folder).resolve()
    spec = importlib.util.spec_from_file_location(f"jaxloop_task_{file.stem}", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise SweepError(f"no Python file {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    for name_beside in beside.modules(
        file
    ):  # reload them like the file; another project may have some of that name
        sys.modules.pop(name_beside, None)
    if (first := str(file.parent)) not in sys.path[:1]:
        sys.path.insert(0, first)  # as Python does for a script; functions may import when they are called
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise SweepError(f"{name}: {told(error)}") from error
    if not hasattr(module, attribute):
        public = [each for each in vars(module) if not each.startswith("_")]
        raise SweepError(f"{file} has no `{attribute}`{nearest(attribute, public)}")
    return getattr(module, attribute)


def _unbound(make: Any, options: dict[str, Any]) -> str | None:
    """Return what [data] gives that a task's function does not take, or lacks that it needs."""
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


def _paths(options: dict[str, Any]) -> dict[str, str]:
    """Return those options of a dataset that are paths, by their names."""
    return {
        key: value
        for key, value in options.items()
        if (key == "path" or key.endswith("_path")) and isinstance(value, str) and value
    }


def located(path: str, folder: Path) -> Path:
    """Resolve a path relative to the sweep's folder; an absolute one that is gone, by its name there."""
    there = folder / path
    return folder / there.name if Path(path).is_absolute() and not there.exists() else there


def missing(name: str, folder: Path, options: dict[str, Any]) -> list[tuple[tuple[str, ...], Path]]:
    """Files that a sweep names and that are not where it says, each with its key.

    Args:
      name, options: the sweep's `run.task` and `[data]`.
    """
    paths = {("data", key): folder / value for key, value in _paths(options).items()}
    if name not in catalog.DATA:
        paths["run", "task"] = folder / name.rpartition(":")[0]
    return [(key, path) for key, path in paths.items() if not path.exists()]


def code_hash(name: str, folder: Path) -> str:
    """Return a fingerprint of a task's code: of its files; for a task that ships, its name."""
    files = task_files(name, folder)
    if not files:
        return name
    contents = [file.read_bytes() for file in files]
    if len(files) > 1:
        contents = [
            f"{file.relative_to(files[0].parent)}\0{len(content)}\0".encode() + content
            for file, content in zip(files, contents, strict=True)
        ]
    return hashlib.sha256(b"".join(contents)).hexdigest()[:16]


def task_files(name: str, folder: Path) -> list[Path]:
    """Return the files of a user's own task: its own, then those that it imports from its folder."""
    file = task_file(name, folder)
    if not file:
        return []
    return [file.resolve(), *(path for path in beside.modules(file.resolve()).values() if path)]


def task_file(name: str, folder: Path) -> Path | None:
    """Return the file of a user's own task; None of one that ships."""
    return None if name in catalog.DATA else located(name.rpartition(":")[0], folder)
