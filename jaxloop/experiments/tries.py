"""Whether a hypothesis may be tried against a loop's incumbent: from its ledger, before anything is recorded."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxloop.errors import SweepError
from jaxloop.experiments import space
from jaxloop.experiments.verdict import Outcome
from jaxloop.formatting import shell_quoted
from jaxloop.storage.ledger import incumbent
from jaxloop.sweep.schema import LoopSection

CLEAR = (Outcome.TIE, Outcome.DEAD, Outcome.FAILURE)  # verdicts that need no second try


def check_can_try(
    run: Path, loop: LoopSection, ledger: Sequence[Mapping[str, Any]], changed: Mapping[str, Any], task: str = ""
) -> None:
    """Make sure that a loop can take a try.

    Args:
      task: that trains the changed config; "" for the loop's own.

    Raises:
      SweepError: it is still running, has no alpha left, or the change needs no try.
    """
    kinds = Counter(record["kind"] for record in ledger)
    tries = sum(record["kind"] == "experiment" and record["proposer"] == "try" for record in ledger)
    if not kinds["audit" if loop.rounds else "floor"] or kinds["hypothesis"] > tries:
        resume = f"`jaxloop resume {shell_quoted(run)}` continues it"
        raise SweepError(f"{run}: its loop, or a try of it, has not ended: {resume}")
    left = [record["alpha_left"] for record in ledger if "alpha_left" in record]
    if left and left[-1] <= 0:
        rule = "in another loop, `[loop] reserve = 0.2` keeps a fifth of it for tries"
        raise SweepError(f"{run}: the loop has spent all of its alpha: no try can succeed any more; {rule}")
    if "seed" in changed:
        raise SweepError("seed: a try chooses its seeds itself")
    if task:
        return  # the same code may have changed since it was tried
    now = incumbent(ledger)
    wanted = space.key({**now, **changed})
    if wanted == space.key(now):
        raise SweepError("this is the incumbent itself: nothing is changed")
    for record in ledger:
        is_same = record["kind"] == "experiment" and space.key(record["config"]) == wanted
        if is_same and record["incumbent"] == now and record["verdict"] in CLEAR:
            raise SweepError(f"experiment {record['id']} has tried that already: {record['verdict']}")
