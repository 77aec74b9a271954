"""What has changed since a run began: to go on with other code, data or libraries would mix two experiments."""

import difflib
import importlib.metadata
from pathlib import Path

from jaxloop.errors import DamagedError
from jaxloop.store import Store
from jaxloop.sweep import Sweep
from jaxloop.task import Task
from jaxloop.tasks.load import code_hash

PACKAGES = ("jaxloop", "jax", "jaxlib", "flax", "optax", "numpy")  # whose versions a member's bits may depend on
SWEEP = "sweep.toml"


def origin(sweep: Sweep, task: Task) -> dict[str, str]:
    """What a member's numbers follow from beside its hparams, each part as a short text."""
    return {
        "code": code_hash(sweep.document.run.task, sweep.folder),
        "data": task.data.fingerprint(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def check(run: Path, store: Store, now: dict[str, str], *, allowed: bool) -> None:
    """Compares a run with what it would be resumed with.

    Args:
      now: as `origin` gives it.
      allowed: to go on in spite of what has changed, which is recorded.

    Raises:
      DamagedError: something has changed, and that is not allowed.
    """
    origins = store.get("origins")
    recorded = origins[-1]
    changes = [
        f"{name}: was {recorded.get(name)}, is {now[name]}" for name in now if recorded.get(name) != now[name]
    ]
    edited = _edited(run, store)
    if (changes or edited) and not allowed:
        back = "puts the file back, " if edited else ""
        hints = (
            f"`jaxloop resume {run} --allow-drift` {back}goes on all the same and records it",
            f"`jaxloop fork {run}` trains anew from the sweep as recorded, with what is here today",
        )
        raise DamagedError("\n".join([f"{run}: not as it was when the run began:", *changes, *edited, *hints]))
    if changes or edited:
        turn = store.get("checkpoint", {"turn": 0})["turn"]
        drifts = [*store.get("drift", []), {"turn": turn, "changes": [*changes, *edited]}]
        store.put(origins=[*origins, now] if changes else origins, drift=drifts)


def _edited(run: Path, store: Store) -> list[str]:
    """How the sweep's file differs from the sweep as recorded, as lines of a diff; not at all if it is missing."""
    file = run / SWEEP
    if not file.exists() or store.get("growing", False):
        return []
    told, found = store.get("sweep").splitlines(), file.read_text(errors="replace").splitlines()
    lines = list(difflib.unified_diff(told, found, "as recorded", str(file), n=0, lineterm=""))
    return [*lines, "(what a run may change is changed by `resume --set`, not in its file)"] if lines else []
