"""What has changed since a run was last started: other code, data or libraries would mix two experiments."""

import difflib
import importlib.metadata
from pathlib import Path
from typing import Any

from jaxloop.core.task import Task
from jaxloop.errors import DamagedError
from jaxloop.formatting import shell_quoted
from jaxloop.storage import run_folder
from jaxloop.storage.format_2 import with_present_keys
from jaxloop.storage.store import Store
from jaxloop.sweep.sweep import Sweep
from jaxloop.tasks.load import code_hash, task_files

PACKAGES = ("jaxloop", "jax", "jaxlib", "flax", "optax", "numpy")  # whose versions a member's bits may depend on
LINES = 40  # of a diff that are shown


def origin(sweep: Sweep, task: Task) -> dict[str, str]:
    """Return fingerprints of code, data and library versions, which a member's numbers follow from."""
    return {
        "code": code_hash(sweep.document.run.task, sweep.folder),
        "data": task.data.fingerprint(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def source(sweep: Sweep) -> str:
    """Return the text of the task's files, each under its name; "" for a task that ships."""
    files = task_files(sweep.document.run.task, sweep.folder)
    texts = {file: file.read_text(encoding="utf-8", errors="replace") for file in files}
    if len(texts) == 1:
        return texts[files[0]]
    return "".join(f"# {file.relative_to(files[0].parent)}\n{text}\n" for file, text in texts.items())


def changes(store: Store, now: dict[str, str]) -> list[str]:
    """List what has changed of a run's origin, a line each.

    Args:
      now: as `origin` gives it.
    """
    was = store.origins[-1]
    return [f"{name}: was {was.get(name)}, is {now[name]}" for name in now if was.get(name) != now[name]]


def compare(
    run: Path, sweep: Sweep, store: Store, now: dict[str, str], turn: int, *, trains: bool, allowed: bool
) -> dict[str, Any]:
    """Compare a run with what it would be resumed with.

    Args:
      now: as `origin` gives it.
      turn: after which it would go on.
      trains: whether there is anything left to train, which code, data and libraries matter to.
      allowed: to go on in spite of what has changed.

    Returns:
      Facts to record where something has changed.

    Raises:
      DamagedError: something has changed, and that is not allowed.
    """
    changed = changes(store, now) if trains else []
    diff = _diff(store.source, source(sweep), "the task's code") if changed else []
    edited = [] if store.growing else _edited(run, store)
    if not changed and not edited:
        return {}
    if not allowed:
        back = "puts the file back, " if edited else ""
        hints = (
            f"`jaxloop resume {shell_quoted(run)} --allow-drift` {back}goes on all the same and records it",
            f"`jaxloop fork {shell_quoted(run)}` trains anew from the sweep as recorded, with what is here today",
        )
        told = [f"{run}: not as it was when the run was last started:", *changed, *diff, *edited, *hints]
        raise DamagedError("\n".join(told))
    what = [*changed, *([f"{run_folder.SWEEP}: was edited"] if edited else [])]
    facts = {"origins": [*store.origins, now], "source": source(sweep)} if changed else {}
    record = {"turn": turn, "changes": what, "diff": [*diff, *edited]}
    return {"drift": [*store.drift, record], **facts}


def _edited(run: Path, store: Store) -> list[str]:
    """Return how the sweep's file differs from the sweep as recorded; not at all if it is missing."""
    file = run_folder.sweep(run)
    lines = (
        _diff(store.sweep, with_present_keys(file.read_text(encoding="utf-8", errors="replace")), str(file))
        if file.exists()
        else []
    )
    return [*lines, "(what a run may change is changed by `resume --set`, not in its file)"] if lines else []


def _diff(recorded: str | None, found: str, name: str) -> list[str]:
    """Return how a text differs from the recorded one, if that is known, as the first lines of a diff."""
    if recorded is None:
        return []
    pair = recorded.splitlines(), found.splitlines()
    lines = list(difflib.unified_diff(*pair, "as recorded", name, n=0, lineterm=""))
    more = [f"(and {len(lines) - LINES} more lines)"] if len(lines) > LINES else []
    return [*lines[:LINES], *more]
