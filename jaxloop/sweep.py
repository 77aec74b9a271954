"""A sweep: the TOML file a user writes, checked whole before anything is done. No JAX here."""

import hashlib
import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from jaxloop import declared, rules
from jaxloop.axes import sample
from jaxloop.document import Document
from jaxloop.errors import SweepError, unknown
from jaxloop.places import Places, override

TaskHparams = Callable[[str, Path, dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Sweep:
    """A checked sweep.

    Attributes:
      document: the file's sections, every default filled in.
      members: each member's hparams, by name, in the order of their numbers.
      folder: what relative paths in the file are relative to.
      name: of the file, without its suffix.
      places: where each key stands, for errors that only the task can tell.
    """

    document: Document
    members: list[dict[str, Any]]
    folder: Path
    name: str
    places: Places

    def toml(self) -> str:
        """The sweep with every default written out; reading it back gives the same members."""
        return tomli_w.dumps(self.document.model_dump(exclude_none=True))

    @property
    def varied(self) -> list[str]:
        """The names of its axes."""
        return list(self.document.axes)


def digest(value: Any) -> str:
    """A content hash of plain data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def load(path: Path, overrides: tuple[str, ...] = (), task_hparams: TaskHparams | None = None) -> Sweep:
    """Reads and checks a sweep file.

    Args:
      overrides: "section.key=value", the value in TOML; a bare word is a string.
      task_hparams: `(task, folder, data)` gives the hparams, with defaults, that a user's own task declares.
        Without it, the hparams of such a task are not checked.

    Raises:
      SweepError: all that is wrong, a line each, with file, line, key, rule, value and the nearest name.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SweepError(f"{path}: cannot be read: {error}") from None
    return parse(text, overrides, str(path), path.absolute().parent, path.stem, task_hparams)


def parse(
    text: str,
    overrides: tuple[str, ...] = (),
    source: str = "sweep",
    folder: Path | None = None,
    name: str = "sweep",
    task_hparams: TaskHparams | None = None,
) -> Sweep:
    """`load` of a text; `source` names it in errors."""
    folder = folder or Path.cwd()
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SweepError(f"{source}: not TOML: {error}") from None
    places = Places(source, text)
    for assignment in overrides:
        places.overridden(override(raw, assignment), assignment)
    document, problems = _document(raw, places)
    task = _task(document, places, folder, task_hparams) if document else None
    if document:
        problems += rules.broken(document, task, places)
    if problems or not document:
        raise SweepError("\n".join(problems))
    try:
        drawn = _drawn(document, task or {})
    except ValueError as error:
        raise SweepError(places.say(("population", "sampler"), str(error))) from None
    members = [_member(document, task or {}, values) for values in drawn]
    if repeated := list(rules.repeated([digest(hparams) for hparams in members], places)):
        raise SweepError(repeated[0])
    return Sweep(_written_out(document, members), members, folder, name, places)


def _document(raw: dict[str, Any], places: Places) -> tuple[Document | None, list[str]]:
    """The sections, and what is malformed in them; then without it, so that the rest is checked too."""
    try:
        return Document.model_validate(raw), []
    except ValidationError as error:
        problems = list(rules.explained(error, places))
        for section, *keys in {problem["loc"][:2] for problem in error.errors()}:
            table = raw.get(str(section))
            if keys and isinstance(table, dict):
                table.pop(keys[0], None)
    if isinstance(run := raw.get("run"), dict):
        run.setdefault("steps", 1)
    try:
        return Document.model_validate(raw), problems
    except ValidationError:
        return None, problems


def _task(document: Document, places: Places, folder: Path, of_file: TaskHparams | None) -> dict[str, Any] | None:
    """The hparams that the sweep's task declares; None where they are not known."""
    name = document.run.task
    if name in declared.TASKS:
        return declared.TASKS[name]
    if ":" not in name:
        raise SweepError(places.say(("run", "task"), unknown("task", name, declared.TASKS)))
    if of_file is None:
        return None
    try:
        return of_file(name, folder, document.data)
    except SweepError as error:
        raise SweepError(places.say(("run", "task"), str(error))) from error


def _drawn(document: Document, task: dict[str, Any]) -> list[dict[str, Any]]:
    """The values along the axes, a dict a member."""
    population = document.population
    whole = {name: name not in declared.floats(task) for name in document.axes}
    return sample(document.axes, population.sampler, population.members, population.seed, whole)


def _member(document: Document, task: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """All hparams of one member: its own optimizer's arguments, and no other optimizer's."""
    given = {**document.hparams, **values}
    own = declared.OPTIMIZERS[given.get("optimizer", declared.ENGINE["optimizer"])]
    others = {name for arguments in declared.OPTIMIZERS.values() for name in arguments} - set(own) - set(task)
    hparams = {**declared.ENGINE, "steps": document.run.steps, **own, **task, **given}
    floats = declared.floats(task)
    return {
        name: float(value) if name in floats else value
        for name, value in sorted(hparams.items())
        if name not in others
    }


def _written_out(document: Document, members: list[dict[str, Any]]) -> Document:
    """The document with the defaults that all members share."""
    shared = {
        name: value
        for name, value in members[0].items()
        if name != "steps" and name not in document.axes and all(name in member for member in members)
    }
    shared = {name: value for name, value in shared.items() if all(m[name] == value for m in members)}
    data = {**declared.DATA.get(document.run.task, {}), **document.data}
    return document.model_copy(update={"hparams": {**document.hparams, **shared}, "data": data})
