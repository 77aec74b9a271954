"""A sweep and the task that it names, checked against each other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxloop.core.task import Task
from jaxloop.errors import SweepError
from jaxloop.sweep import sweep
from jaxloop.sweep.hparams import Namespace
from jaxloop.sweep.sweep import Sweep
from jaxloop.tasks import load


def read(path: str | Path, overrides: tuple[str, ...] = ()) -> tuple[Sweep, Task]:
    """Return a checked sweep and its task."""
    return with_task(lambda names_of: sweep.load(Path(path), overrides, names_of))


def with_task(check: Callable[[sweep.NamesOf], Sweep]) -> tuple[Sweep, Task]:
    """Check a sweep against its task, which is loaded once."""
    loaded = []

    def names_of(name: str, folder: Path, options: dict[str, Any]) -> Namespace:
        loaded.append(load.load(name, folder, options))
        return Namespace(loaded[0].hparams, loaded[0].models, loaded[0].optimizer)

    checked = check(names_of)
    return checked, loaded[0] if loaded else task_of(checked)


def task_of(checked: Sweep) -> Task:
    """Return the task that a sweep names, with its data."""
    document = checked.document
    try:
        return load.load(document.run.task, checked.folder, document.data)
    except SweepError as error:
        raise SweepError(checked.source_map.say(("data",), str(error))) from error
