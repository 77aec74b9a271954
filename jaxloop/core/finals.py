"""What a member ends with, by kind; in plain Python, since readers of runs need no JAX."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

Final = Literal["params", "average", "state", "best", "best_state"]
MISSING: dict[Final, str] = {  # what a member lacks that has no such kind, and why
    "params": "final parameters",
    "average": "average of its parameters: it has no `ema_decay`",
    "state": "state beside its parameters: only a `stateful_loss` keeps one",
    "best": "best parameters: its sweep has no `checkpoint.best`",
    "best_state": "state beside its best parameters: its task keeps none, or its sweep has no `checkpoint.best`",
}


def ends_with(kinds: Iterable[Final], hparams: Mapping[str, Any]) -> list[Final]:
    """Return what a member ends with.

    Args:
      kinds: what every member of its run ends with.
    """
    return [*kinds, "average"] if "ema_decay" in hparams else [*kinds]
