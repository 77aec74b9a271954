"""How a run begins: its folder with all its members waiting, or nothing."""

import itertools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from jaxloop.core import size_classes
from jaxloop.core.bucket import Bucket
from jaxloop.core.cautions import cautions
from jaxloop.core.checks import Checked, check_sweep
from jaxloop.core.task import Task
from jaxloop.errors import SweepError
from jaxloop.storage import checkpoints, destination, run_folder
from jaxloop.storage.run_folder import exists
from jaxloop.storage.store import Store
from jaxloop.sweep.sweep import Sweep, digest
from jaxloop.tasks.load import missing
from jaxloop.training import disk_estimate, drift, processes, provenance
from jaxloop.training.joins import new_member


def create(sweep: Sweep, task: Task, run: Path, *, numbered: bool = False, **facts: Any) -> Path:
    """Make a run's folder with all its members waiting; killed on the way, there is no run.

    Args:
      numbered: where the folder is taken, take the first free one of run-2, run-3, ...
      facts: to record beside the run's own.

    Returns:
      The run's folder.

    Raises:
      SweepError: the folder is taken, or the sweep requires something that the task lacks.
      ResourceError: the disk is too small.
    """
    _refuse_missing(sweep)
    checked, origin = check_sweep(sweep, task), drift.origin(sweep, task)
    processes.agree(digest([sweep.toml(), origin]))
    if processes.leads():
        checkpoints.refuse_patterns(run)
        buckets, notes = size_classes.buckets(sweep, task), cautions(sweep, task)
        destination.require_free(run, disk_estimate.needed(sweep, task, buckets, checked))
        if not numbered:
            destination.refuse_taken(run)
        wanted, run = run, _free(run) if numbered else run
        run.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".jaxloop-", dir=run.parent))
        try:
            _fill(part, run, sweep, checked, origin, buckets, {**facts, "notes": notes})
            while not _moved(part, run):  # another process was first
                if not numbered:
                    raise SweepError(f"{run}: exists already; choose another folder with --out")
                run = _free(wanted)
                _rename(part, run.name)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    return Path(os.fsdecode(processes.broadcast(os.fsencode(run))))


def _refuse_missing(sweep: Sweep) -> None:
    """Make sure that files are where a new run's sweep says.

    Raises:
      SweepError: one is not; a run that was moved would look for it elsewhere.
    """
    document = sweep.document
    if gone := missing(document.run.task, sweep.folder, document.data):
        raise SweepError("\n".join(sweep.source_map.say(key, f"no file {path}") for key, path in gone))


def whereabouts(sweep: Sweep, run: Path) -> dict[str, str]:
    """Record the sweep's folder: its absolute path, and its path from the run in case both are moved together."""
    place = run.parent.resolve() / run.name if not run.is_symlink() else run.resolve()
    beside = os.path.relpath(sweep.folder.resolve(), place)
    return {"folder": str(sweep.folder.absolute()), "folder_from_run": beside}


def _free(run: Path) -> Path:
    """Return the first of run, run-2, run-3, ... that is not there."""
    numbered = (run.with_name(f"{run.name}-{number}") for number in itertools.count(2))
    return next(folder for folder in itertools.chain([run], numbered) if not os.path.lexists(folder))


def _moved(part: Path, run: Path) -> bool:
    """Give a whole run's folder its name, in one step; return False if another run has it."""
    try:
        part.replace(run)
    except OSError:
        if not exists(run):
            raise
        return False
    return True


def _rename(part: Path, name: str) -> None:
    """Change the name that a new run has recorded."""
    provenance.add(part, {"name": name})
    with Store(part) as store:
        store.put(name=name)


def _fill(
    folder: Path,
    run: Path,
    sweep: Sweep,
    checked: Checked,
    origin: dict[str, str],
    buckets: list[Bucket],
    facts: dict[str, Any],
) -> None:
    """Write a new run's files to a temporary folder, which is then renamed to `run`."""
    folder.chmod(0o777 & ~_umask())
    run_folder.sweep(folder).write_text(sweep.toml(), encoding="utf-8")
    facts = {**facts, "name": run.name, **whereabouts(sweep, run), "origins": [origin]}
    provenance.add(folder, {**facts, **provenance.collect(sweep.folder)})
    with Store(folder, create=True) as store, store.transaction():
        store.add_members(new_member(sweep, origin, number) for number in range(len(sweep.members)))
        store.put(
            **facts,
            sweep=sweep.toml(),
            written=sweep.written,
            source=drift.source(sweep),
            varied=sweep.varied,
            metric=checked.metric,
            mode=checked.mode,
            final_kinds=checked.final_kinds,
            ends_early=checked.ends_early,
            size_classes=size_classes.numbers(buckets),
            status="created",
        )


def _umask() -> int:
    """Return the user's umask, which can be read only by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
