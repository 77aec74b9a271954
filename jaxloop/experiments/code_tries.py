"""A change of code as a hypothesis: another task trains the incumbent's config in a run beside the loop's own."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from jaxloop.core.checks import check_sweep
from jaxloop.core.task import Task
from jaxloop.errors import SweepError
from jaxloop.experiments import space
from jaxloop.storage.destination import refuse_taken
from jaxloop.storage.ledger import incumbent
from jaxloop.storage.records import ENDED, Status
from jaxloop.storage.run_folder import exists
from jaxloop.storage.store import Store
from jaxloop.sweep import sweep
from jaxloop.sweep.sweep import Sweep
from jaxloop.tasks.of_sweep import with_task
from jaxloop.training import processes

OF_A_LOOP = ("loop", "verdict", "baseline", "axes", "cases")  # sections that the other run does not have


def qualified_task(spec: str) -> str:
    """Return a task as a sweep names it from anywhere: "file.py:name", with the file's whole path.

    Raises:
      SweepError: there is no such file, or several processes train the run.
    """
    if processes.are_several():
        raise SweepError("--task: several processes cannot train another task beside the loop's own")
    file, colon, name = spec.rpartition(":")
    if not colon:
        raise SweepError(f"--task: needs FILE.py:NAME, got {spec!r}")
    path = Path(file).absolute()
    if not path.is_file():
        raise SweepError(f"--task: no file {file}")
    return f"{path}:{name}"


def refuse_stale(run: Path, ledger: Sequence[Mapping[str, Any]]) -> None:
    """Make sure that the next try's folder is free: another loop of the same name may have left it.

    Raises:
      SweepError: it is not.
    """
    number = 1 + sum(record["kind"] == "experiment" and record["proposer"] == "try" for record in ledger)
    refuse_taken(folder(run, number))


def folder(run: Path, number: int) -> Path:
    """Return where the other task is trained for a try."""
    return run.with_name(f"{run.name}-try-{number}")


def sweep_for_task(
    loop: Sweep, store: Store, spec: str, config: Mapping[str, Any], seeds: Sequence[int]
) -> tuple[Sweep, Task]:
    """Return the sweep of one config by another task, a member for each seed.

    Args:
      loop, store: the loop's own, which the metric, the data and all other settings are of.
      spec: as `qualified_task` gives it.

    Raises:
      SweepError: the task cannot be loaded, or lacks hparams of the loop.
    """
    written = tomllib.loads(store.written)
    raw = {name: section for name, section in written.items() if name not in OF_A_LOOP}
    raw["run"] = {**raw["run"], "task": spec}
    raw["hparams"] = {**raw.get("hparams", {}), **config}
    raw["axes"] = {"seed": {"values": list(seeds)}}
    raw["evaluate"] = {**raw.get("evaluate", {}), "metric": store.metric, "mode": store.mode}
    text, source = tomli_w.dumps(raw), f"the sweep of {spec}"
    found, task = with_task(lambda names_of: sweep.parse(text, (), source, loop.folder, "try", names_of))
    check_sweep(found, task)
    return found, task


def incumbent_of(ledger: Sequence[Mapping[str, Any]], loop: Sweep) -> Mapping[str, Any]:
    """Return the config that another task would train."""
    searched = space.of(loop)
    return incumbent(ledger) or searched.config_of(searched.values(loop.members[0]))


def values(run: Path, seeds: Sequence[int], metric: str) -> list[float] | None:
    """Return what the other task measured, NaN for a member that diverged; None while a seed has not ended."""
    if not exists(run):
        return None
    with Store(run) as store:
        members = {member.hparams["seed"]: member for member in store.members() if member.status in ENDED}
    if not all(seed in members for seed in seeds):
        return None
    finished = [members[seed] if members[seed].status == Status.FINISHED else None for seed in seeds]
    found = [member.metrics.get(metric, math.nan) if member else math.nan for member in finished]
    return [value if math.isfinite(value) else math.nan for value in found]


def waited_for(ledger: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the stage of a try that waits for another task's members; None if none does."""
    kinds = ("stage", "values", "experiment")
    last = next((record for record in reversed(ledger) if record["kind"] in kinds), None)
    return last if last and last["kind"] == "stage" and last.get("task") else None
