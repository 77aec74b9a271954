"""`jaxloop verify`: whether all that a run's folder holds is what was written, and tells one story."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxloop.errors import DamagedError, JaxloopError
from jaxloop.formatting import ranges
from jaxloop.storage import checkpoints, final_parameters, lock, run_folder, seal, tensorboard
from jaxloop.storage.format_2 import with_present_keys
from jaxloop.storage.records import Member, Status
from jaxloop.storage.store import Store
from jaxloop.sweep import identity
from jaxloop.sweep.sweep import parse
from jaxloop.training import extension, provenance


def verify(run: Path) -> dict[str, Any]:
    """Check a run that nobody trains at the moment; nothing is changed.

    Returns:
      `checked`, how many things of each kind; `problems`, a line each.

    Raises:
      LockedError: the run is being trained.
      DamagedError: the store cannot be read at all.
    """
    with Store(run) as store, lock.kept_out(run):
        members = store.members()
        checked: dict[str, int] = {}
        problems: list[str] = []
        kinds: dict[str, Callable[[], Iterator[str | None]]] = {
            "links": lambda: _links(run),
            "store": lambda: _store(store, members),
            "sweep": lambda: _sweep(run, store),
            "provenance": lambda: _provenance(run),
            "members": lambda: _members(store, members),
            "curves": lambda: _curves(store, members),
            "checkpoints": lambda: _checkpoints(run, store),
            "final parameters": lambda: _finals(run, members),
            "final states": lambda: _states(run, store),
            "members' own checkpoints": lambda: _own(run, members),
            "TensorBoard files": lambda: _events(run, store, members),
        }
        for kind, check in kinds.items():
            checked[kind] = 0
            for problem in _told(check):
                checked[kind] += 1
                problems += [problem] if problem else []
    return {"run": str(run), "checked": checked, "problems": problems}


def _told(check: Callable[[], Iterator[str | None]]) -> Iterator[str | None]:
    """Yield what a check finds, of each thing None or a problem; damage that ends it is one more."""
    try:
        yield from check()
    except JaxloopError as error:
        yield str(error)
    except Exception as error:  # whatever comes of data that are not what jaxloop writes
        yield f"cannot be checked: {error!r}"


def _links(run: Path) -> Iterator[str | None]:
    seal.refuse_links(run)
    yield None


def _store(store: Store, members: list[Member]) -> Iterator[str | None]:
    found = [line for (line,) in store.connection.execute("pragma integrity_check")]
    yield None if found == ["ok"] else f"{store.path}: {'; '.join(found)}"
    numbers = [member.number for member in members]
    yield None if numbers == list(range(len(members))) else f"{store.path}: member numbers have gaps"


def _sweep(run: Path, store: Store) -> Iterator[str | None]:
    file, text = run_folder.sweep(run), store.sweep
    if not file.exists():
        yield f"{file}: is missing; `resume` writes it anew"
    else:
        yield (
            None
            if with_present_keys(file.read_text(encoding="utf-8", errors="replace")) == text
            else f"{file}: is not as recorded"
        )


def _provenance(run: Path) -> Iterator[str | None]:
    whole = provenance.is_whole(run)
    yield None if whole else f"{run_folder.provenance(run)}: is missing or damaged; `resume` writes it anew"


def _members(store: Store, members: list[Member]) -> Iterator[str | None]:
    """Check that each member's hparams give its id: neither has changed since the run began."""
    document = parse(store.sweep, folder=Path(store.folder)).document
    origins = store.origins
    ids = {member.number: member.id for member in members}
    for member in members:
        parent = None if member.parent is None else identity.Parent(ids[member.parent], member.parent_step)
        wanted = {
            identity.member(member.hparams, document, each["code"], each["data"], parent) for each in origins
        }
        fits = member.id in wanted and member.config == identity.config(member.hparams)
        yield None if fits else f"member {member.number}: its hparams are not those of its id {member.id}"


def _curves(store: Store, members: list[Member]) -> Iterator[str | None]:
    """Check that a member has a point at each evaluation up to its step, and ended where its status says."""
    every = parse(store.sweep, folder=Path(store.folder)).document.run.evaluate_every
    for member in members:
        steps, budget = store.steps(member.number).tolist(), member.hparams["steps"]
        start = member.parent_step
        # a member that diverged at once has its point there
        nowhere = set() if member.status == Status.DIVERGED else {start}
        first = (start // every + 1) * every
        wanted = sorted({*range(first, member.step + 1, every), member.step} - nowhere)
        if steps != wanted:
            yield f"member {member.number}: has points at steps {steps}, its {member.step} steps need {wanted}"
        elif (member.status == Status.FINISHED) != (member.step == budget) and not (
            store.ends_early and member.status == Status.FINISHED
        ):
            yield f"member {member.number}: {member.status} after {member.step} of {budget} steps"
        elif member.status == Status.WAITING and member.step:
            yield f"member {member.number}: waits, and has taken {member.step} steps"
        else:
            yield None


def _checkpoints(run: Path, store: Store) -> Iterator[str | None]:
    """Check that the checkpoints in the store are whole and hold the members that the curves say trained then."""
    newest, waiting = store.checkpoint, extension.kept_at(run)  # these continue from their final states
    for checkpoint in (newest, newest.get("previous")):
        if not checkpoint:
            continue
        turn = checkpoint["turn"]
        try:
            held = checkpoints.steps(run, turn, checkpoint["parts"])
        except DamagedError as error:
            yield str(error)
            continue
        wanted = {at for at in store.trained_at(turn).items() if at[0] in held or at not in waiting}
        wanted = dict(sorted(wanted))
        if not checkpoint["parts"] and not wanted:
            continue
        apart = f"checkpoint of turn {turn}: holds members at steps {held}, curves say {wanted}"
        yield None if held == wanted else apart


def _finals(run: Path, members: list[Member]) -> Iterator[str | None]:
    """Check that each ended member's final parameters are where the store says, once."""
    holders: dict[str, set[int]] = {}
    for member in members:
        if member.final_folder:
            holders.setdefault(member.final_folder, set()).add(member.number)
    for folder, wanted in holders.items():
        try:
            held = checkpoints.members(run / folder)
        except DamagedError as error:
            yield str(error)
            continue
        yield (
            None
            if wanted <= set(held) and len(set(held)) == len(held)  # others may have got more steps
            else f"{run / folder}: holds members {ranges(sorted(held))}, needs {ranges(sorted(wanted))}"
        )


def _states(run: Path, store: Store) -> Iterator[str | None]:
    """Check the states of members that have finished; others may be half written, or half deleted."""
    turns = store.turns_of_ends(Status.FINISHED)
    for folder, turn in run_folder.by_turn(run_folder.states(run)).items():
        if turn > store.checkpoint["turn"] or turn not in turns:
            continue
        try:
            checkpoints.state_steps(folder)
            yield None
        except DamagedError as error:
            yield str(error)


def _own(run: Path, members: list[Member]) -> Iterator[str | None]:
    for member in members:
        for folder in final_parameters.own_folders(run, member):
            if seal.is_sealed(folder) or not member.final_folder:
                try:
                    seal.compare(folder)
                    yield None
                except DamagedError as error:
                    yield str(error)


def _events(run: Path, store: Store, members: list[Member]) -> Iterator[str | None]:
    """TensorBoard's files have the store's values up to the last checkpoint; later ones may not be written yet."""
    turn = store.checkpoint["turn"]
    tensorboard.scalars(run_folder.members(run))  # the experiment's own file
    for member in members:
        recorded = store.points(member.number, turn)
        if not recorded:
            continue
        folder = run_folder.member(run, member.folder)
        if not folder.is_dir():
            yield f"{folder}: is missing"
            continue
        try:
            shown = tensorboard.scalars(folder)
        except DamagedError as error:
            yield str(error)
            continue
        last = max(step for _, step in recorded)
        missing = {at for at, value in recorded.items() if np.float32(shown.get(at, np.nan)) != np.float32(value)}
        foreign = {at for at in shown.keys() - recorded.keys() if at[1] <= last and not at[0].startswith("test/")}
        apart = ", ".join(f"{metric} at step {step}" for metric, step in sorted(missing | foreign)[:3])
        yield f"member {member.number}: TensorBoard and store differ in {apart}" if apart else None
