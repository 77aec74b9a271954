"""How members enter a run: when it is created, and when it grows. Those it has keep their numbers and results."""

import itertools
import os
import shlex
import shutil
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxloop.core import size_classes
from jaxloop.core.bucket import Bucket
from jaxloop.core.cautions import cautions
from jaxloop.core.checks import Checked, check_sweep
from jaxloop.core.task import Task
from jaxloop.errors import DamagedError, SweepError
from jaxloop.storage import checkpoints, disk, run_folder, tensorboard
from jaxloop.storage.database import FORMAT, exists
from jaxloop.storage.records import NewMember
from jaxloop.storage.seal import write_whole
from jaxloop.storage.store import Store
from jaxloop.sweep import identity
from jaxloop.sweep.schema import Document
from jaxloop.sweep.sweep import Sweep, digest
from jaxloop.tasks.load import missing
from jaxloop.training import disk_estimate, drift, processes, provenance


def create(sweep: Sweep, task: Task, run: Path, *, numbered: bool = False, **facts: Any) -> Path:
    """Make a run's folder with all its members waiting; killed on the way, there is no run.

    Args:
      numbered: where the folder is taken, take the first free one of run-2, run-3, ...
      facts: to record beside the run's own.

    Returns:
      The run's folder.

    Raises:
      SweepError: the folder is taken, or the sweep asks of the task what it has not.
      ResourceError: the disk is too small.
    """
    _refuse_missing(sweep)
    checked, origin = check_sweep(sweep, task), drift.origin(sweep, task)
    processes.agree(digest([sweep.toml(), origin]))
    if processes.leads():
        checkpoints.refuse_patterns(run)
        buckets, notes = size_classes.buckets(sweep, task), cautions(sweep, task)
        disk.require_free(run, disk_estimate.needed(sweep, task, buckets, len(checked.measured)))
        if not numbered:
            disk.refuse_taken(run)
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
        store.add_members(new_members(sweep, origin, range(len(sweep.members))))
        store.put(
            **facts,
            sweep=sweep.toml(),
            written=sweep.written,
            source=drift.source(sweep),
            varied=sweep.varied,
            metric=checked.metric,
            mode=checked.mode,
            size_classes=size_classes.numbers(buckets),
            status="created",
        )


def as_recorded(sweep: Sweep, store: Store) -> Sweep:
    """Return a run's own sweep with its members as recorded, plus the defaults of hparams added since.

    Raises:
      DamagedError: the store's members are not those of a run.
    """
    recorded = _members(store)
    if recorded == sweep.members:
        return sweep
    new = sweep.members[0]
    return replace(sweep, members=[{**{name: new[name] for name in new.keys() - had}, **had} for had in recorded])


def aligned(sweep: Sweep, store: Store) -> Sweep:
    """Return a changed sweep with its members in the order of their numbers in a run, new ones behind them.

    Raises:
      SweepError: the run has members that the sweep has not, or the sweep changes what they share.
      DamagedError: the store's members are not those of a run.
    """
    refuse_other_terms(sweep, store)
    recorded = _members(store)
    if recorded == sweep.members[: len(recorded)]:
        return sweep
    wanted = {digest(hparams): hparams for hparams in sweep.members}
    originals = [member for member in store.members() if member.parent is None]
    missing_here = [member for member in originals if wanted.pop(digest(member.hparams), None) is None]
    lost = [member.hparams for member in missing_here if member.joined is None]
    if lost:
        run = store.path.parent
        raise SweepError(
            f"{run}: {len(lost)} of its {len(recorded)} members are not in this sweep (the first: "
            f"{_nearest_difference(lost[0], sweep.members)}): {for_a_fork(run)}"
        )
    return replace(sweep, members=[*recorded, *wanted.values()])


def for_a_fork(run: Path) -> str:
    """Return what to do with a change that a run does not take."""
    return f"a run only grows; `jaxloop fork {shlex.quote(str(run))} --set ...` starts another from it"


def _members(store: Store) -> list[dict[str, Any]]:
    """Return the hparams of a run's members, by number."""
    members = store.members()
    if [member.number for member in members] != list(range(len(members))):
        raise DamagedError(f"{store.path}: member numbers have gaps: it lost rows")
    return [member.hparams for member in members]


def _nearest_difference(lost: dict[str, Any], members: list[dict[str, Any]]) -> str:
    """Return how a member differs from the one in a sweep that is most like it: "steps=200, here 400"."""

    def apart(other: dict[str, Any]) -> list[str]:
        return sorted(name for name in lost.keys() | other.keys() if lost.get(name) != other.get(name))

    other = min(members, key=lambda each: len(apart(each)))
    return ", ".join(f"{name}={lost.get(name)}, here {other.get(name)}" for name in apart(other)[:3])


def new_members(sweep: Sweep, origin: dict[str, str], numbers: Iterable[int]) -> Iterator[NewMember]:
    """Yield members of a sweep as a store records them.

    Args:
      origin: as `drift.origin` gives it.
    """
    for number in numbers:
        hparams = sweep.members[number]
        yield NewMember(
            number,
            identity.member(hparams, sweep.document, origin["code"], origin["data"]),
            identity.config(hparams),
            hparams,
            tensorboard.folder_name(number, hparams, sweep.varied),
        )


def grow(run: Path, sweep: Sweep, task: Task, store: Store, origin: dict[str, str], facts: dict[str, Any]) -> None:
    """Record a changed sweep and its new members, to be trained next; where nothing changed, `facts` alone.

    Killed at any instant, the run has them or not.

    Args:
      sweep: `aligned` with the run.
      origin: as `drift.origin` gives it.
      facts: to record together with them.

    Raises:
      SweepError: the sweep breaks a rule of the task.
      ResourceError: the disk is too small.
    """
    if (text := sweep.toml()) != store.sweep:
        before, recorded = _recorded(store), [member.hparams for member in store.members()]
        known = sweep.members[: len(recorded)]
        if not all(had.items() <= wanted.items() for had, wanted in zip(recorded, known, strict=True)):
            raise SweepError(f"{run}: has other members by now, which another process gave it: do that again")
        checked, had = check_sweep(sweep, task), store.size_classes
        new = list(range(len(recorded), len(sweep.members)))
        buckets = size_classes.buckets(sweep, task, new) if new else []
        disk.require_free(run, disk_estimate.needed(sweep, task, buckets, len(checked.measured)))
        with store.transaction():
            store.add_members(new_members(sweep, origin, new))
            store.put(
                **({"status": "interrupted"} if new else {}),
                **facts,
                format=FORMAT,
                sweep=text,
                written=sweep.written,
                varied=sweep.varied,
                metric=checked.metric,
                mode=checked.mode,
                size_classes=[*had, *size_classes.numbers(buckets)],
                growing=True,
            )
            if before.population != sweep.document.population:
                for index in range(len(had)):
                    store.put_layout(index, None)
    elif facts:
        store.put(**facts)
    file = run_folder.sweep(run)
    if not file.exists() or file.read_text(encoding="utf-8", errors="replace") != text:
        write_whole(file, text)
    if store.growing:
        store.put(growing=False)


def refuse_other_terms(sweep: Sweep, store: Store) -> None:
    """Make sure that what all members of a run share is as it was.

    Raises:
      SweepError: it is not.
    """
    before, after = _recorded(store), sweep.document
    shared = {
        "run.task": (before.run.task, after.run.task),
        "run.evaluate_every": (before.run.evaluate_every, after.run.evaluate_every),
        "evaluate.batch_size": (before.evaluate.batch_size, after.evaluate.batch_size),
        "population.deterministic": (before.population.deterministic, after.population.deterministic),
        "data": (before.data, after.data),
        "loop": (before.loop, after.loop),
        "verdict": (before.verdict, after.verdict),
        "baseline": (before.baseline, after.baseline),
        **(
            {
                "axes": (before.axes, after.axes),
                "run.steps": (before.run.steps, after.run.steps),
                "evaluate.metric": (before.evaluate.metric, after.evaluate.metric),
                "evaluate.mode": (before.evaluate.mode, after.evaluate.mode),
            }
            if before.loop
            else {}
        ),
    }
    for key, (was, wanted) in shared.items():
        if was != wanted:
            rule = f"needs to stay {was!r}, as the run's members have it, got {wanted!r}; a fork can differ"
            raise SweepError(sweep.source_map.say(tuple(key.split(".")), rule))


def _recorded(store: Store) -> Document:
    return Document.model_validate(tomllib.loads(store.sweep))


def _umask() -> int:
    """Return the user's umask, which can be read only by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
