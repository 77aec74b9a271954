"""What a loop's ledger says of the loop as a whole."""

from collections.abc import Mapping, Sequence
from typing import Any


def incumbent(ledger: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the config to beat; an empty one in a loop without rounds and tries."""
    now: Mapping[str, Any] = {}
    for record in ledger:
        if record["kind"] in ("round", "audit"):
            now = record["incumbent"]
        elif record["kind"] == "experiment" and record["proposer"] == "try":
            is_adopted = record["verdict"] == "success" and not record.get("task")
            now = record["config"] if is_adopted else record["incumbent"]
    return now
