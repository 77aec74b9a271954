"""How a run grows: its sweep changes, and new members join behind those it has, which keep numbers and results."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from jaxloop.core import size_classes
from jaxloop.core.checks import check_sweep
from jaxloop.core.task import Task
from jaxloop.errors import DamagedError, SweepError
from jaxloop.formatting import shell_quoted
from jaxloop.storage import destination, run_folder
from jaxloop.storage.seal import write_whole
from jaxloop.storage.store import Store
from jaxloop.sweep import catalog
from jaxloop.sweep.schema import Document
from jaxloop.sweep.sweep import Sweep, digest
from jaxloop.training import disk_estimate, extension, retention
from jaxloop.training.joins import new_member


def as_recorded(sweep: Sweep, store: Store) -> Sweep:
    """Return a run's own sweep with its members as recorded, plus the defaults of hparams added since.

    Raises:
      DamagedError: the store's members are not those of a run.
    """
    recorded = _members(store)
    if recorded == sweep.members:
        return sweep
    return replace(sweep, members=[sweep.completed(had) for had in recorded])


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
    alike: dict[str, list[dict[str, Any]]] = {}
    for hparams in wanted.values():
        alike.setdefault(_digest_without_steps(hparams), []).append(hparams)
    for member in missing_here:
        others = alike.get(_digest_without_steps(member.hparams), [])
        if longer := [other for other in others if other[extension.STEPS] > member.hparams[extension.STEPS]]:
            fewest = min(longer, key=lambda other: other[extension.STEPS])
            others.remove(fewest)
            recorded[member.number] = wanted.pop(digest(fewest))
    missing_here = [member for member in missing_here if recorded[member.number] == member.hparams]
    lost = [member.hparams for member in missing_here if member.joined is None]
    if lost:
        run = store.path.parent
        raise SweepError(
            f"{run}: {len(lost)} of its {len(recorded)} members are not in this sweep (the first: "
            f"{_nearest_difference(lost[0], sweep.members)}): {for_a_fork(run)}"
        )
    grown = replace(sweep, members=[*recorded, *wanted.values()])
    extension.refuse(grown, store, _recorded(store), extension.extended(grown, _members(store)))
    return grown


def _digest_without_steps(hparams: dict[str, Any]) -> str:
    return digest({name: value for name, value in hparams.items() if name != extension.STEPS})


def for_a_fork(run: Path) -> str:
    """Return what to do with a change that a run does not take."""
    return f"a run only grows; `jaxloop fork {shell_quoted(run)} --set ...` starts another from it"


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
        before, members = _recorded(store), store.members()
        recorded = [member.hparams for member in members]
        longer = extension.extended(sweep, recorded)
        known = [
            {**hparams, extension.STEPS: had[extension.STEPS]} if number in longer else hparams
            for number, (hparams, had) in enumerate(zip(sweep.members, recorded, strict=False))
        ]
        if not all(had.items() <= wanted.items() for had, wanted in zip(recorded, known, strict=True)):
            raise SweepError(f"{run}: another process has changed its members meanwhile: run the command again")
        extension.refuse(sweep, store, before, longer)
        finished = [number for number in longer if extension.has_finished(members[number])]
        checked, had = check_sweep(sweep, task), store.size_classes
        new = list(range(len(recorded), len(sweep.members)))
        buckets = size_classes.buckets(sweep, task, new) if new else []
        classes = [*had, *size_classes.numbers(buckets)]
        trained = size_classes.recorded(sweep, classes) if longer else buckets
        destination.require_free(run, disk_estimate.needed(sweep, task, trained, checked, begun=bool(longer)))
        for number in finished:  # their final parameters are in the folders of those that finished together, too
            retention.drop_own(run, members[number])
        with store.transaction():
            store.upgrade()
            store.extend([new_member(sweep, origin, number) for number in longer], finished)
            store.add_members(new_member(sweep, origin, number) for number in new)
            store.put(
                **({"status": "interrupted"} if new or finished else {}),
                **facts,
                sweep=text,
                written=sweep.written,
                varied=sweep.varied,
                metric=checked.metric,
                mode=checked.mode,
                size_classes=classes,
                growing=True,
                extended=longer,
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


def _data_options(document: Document) -> dict[str, Any]:
    """Return the options of a sweep's data, those added since with their defaults."""
    return {**catalog.DATA.get(document.run.task, {}), **document.data}


def refuse_other_terms(sweep: Sweep, store: Store) -> None:
    """Make sure that what all members of a run share is as it was.

    Raises:
      SweepError: it is not.
    """
    before, after = _recorded(store), sweep.document
    shared = {
        "run.task": (before.run.task, after.run.task),
        "run.evaluate_every": (before.run.evaluate_every, after.run.evaluate_every),
        "checkpoint.best": (before.checkpoint.best, after.checkpoint.best),
        "evaluate.batch_size": (before.evaluate.batch_size, after.evaluate.batch_size),
        "population.deterministic": (before.population.deterministic, after.population.deterministic),
        "data": (_data_options(before), _data_options(after)),
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
    for section, (was, wanted) in shared.items():
        if was != wanted:
            key, had, got = _difference(section, was, wanted)
            rule = f"needs to stay {had!r}, as the run's members have it, got {got!r}; a fork can differ"
            raise SweepError(sweep.source_map.say(tuple(key.split(".")), rule))


def _difference(key: str, was: Any, wanted: Any) -> tuple[str, Any, Any]:
    """Return the first key in which two sections differ, and its two values."""
    ours, others = (dict(each) if isinstance(each, BaseModel | dict) else None for each in (was, wanted))
    if ours is None or others is None:
        return key, was, wanted
    name = next(name for name in {**ours, **others} if ours.get(name) != others.get(name))
    return _difference(f"{key}.{name}", ours.get(name), others.get(name))


def _recorded(store: Store) -> Document:
    return Document.model_validate(tomllib.loads(store.sweep))
