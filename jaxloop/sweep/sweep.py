"""A sweep: the TOML file a user writes, checked whole before anything is done. No JAX here."""

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from jaxloop.errors import SweepError
from jaxloop.sweep import catalog, rules
from jaxloop.sweep.axes import Axis, extremes, sample
from jaxloop.sweep.hparams import UNREAD, Namespace, kind_of, namespace
from jaxloop.sweep.overrides import override
from jaxloop.sweep.schema import Document
from jaxloop.sweep.sizes import plain
from jaxloop.sweep.source_map import SourceMap
from jaxloop.sweep.suggest import nearest, unknown

NamesOf = Callable[[str, Path, dict[str, Any]], Namespace]  # of a task by its name, a folder and [data]


@dataclass(frozen=True)
class Sweep:
    """A checked sweep.

    Attributes:
      document: the file's sections, every default filled in.
      members: each member's hparams, by name, in the order of their numbers; it grows as members join.
      names: the hparams that its members may have, as the engine and the task declare them.
      folder: what relative paths in the file are relative to.
      name: of the file, without its suffix.
      source_map: where each key stands, for errors that only the task can tell.
      written: the file as it was, with what was overridden, in TOML.
    """

    document: Document
    members: list[dict[str, Any]]
    names: Namespace
    folder: Path
    name: str
    source_map: SourceMap
    written: str

    def toml(self) -> str:
        """Return the sweep with every default written out; reading it back gives the same members."""
        return tomli_w.dumps(self.document.model_dump(exclude_none=True))

    @property
    def declared(self) -> dict[str, Any]:
        """Every hparam that members may have, with its declared default."""
        return self.names.known

    def completed(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return all hparams of a member that has these: those of its own optimizer and model, no other's."""
        return _completed(self.names, self.document.run.steps, given)

    @cached_property
    def kinds(self) -> dict[str, str]:
        """How each hparam enters a program: a key of `hparams.KINDS`."""
        axes = self.document.all_axes()
        wanted = {name: axis.kind for name, axis in axes.items() if axis.kind}
        return {**{name: kind_of(name, default) for name, default in self.declared.items()}, **wanted}

    def sizes(self, number: int) -> list[str]:
        """Return the hparams of a member that are padded where members of its program differ in them."""
        return [name for name in self.members[number] if self.kinds[name] == "padded"]

    def is_padded_by_wish(self, name: str) -> bool:
        """Return whether the sweep itself asks for padding, so that nothing is estimated."""
        axis = self.document.all_axes().get(name)
        return axis is not None and axis.kind == "padded"

    @cached_property
    def space(self) -> dict[str, list[Any]]:
        """What members that join may have: of each axis of a loop's search space, its values or its two ends."""
        found: dict[str, list[Any]] = {}
        if self.document.loop:
            for *_, name, entry in ((*path, entry) for path, entry in self.document.entries()):
                if isinstance(entry, Axis):
                    found.setdefault(name, []).extend(extremes(entry, name not in self.names.floats))
        return found

    @property
    def varied(self) -> list[str]:
        """The names of its axes, and of what its cases fix."""
        return self.document.varied()


def check_kind(checked: Sweep, *, is_loop: bool) -> None:
    """Make sure that a sweep is a loop's, or that it is not.

    Raises:
      SweepError: it is the other.
    """
    if is_loop and checked.document.loop is None:
        raise SweepError(checked.source_map.say(("run",), "has no [loop]: `jaxloop population` trains it"))
    if not is_loop and checked.document.loop is not None:
        raise SweepError(checked.source_map.say(("loop",), "has a [loop]: `jaxloop loop` runs it"))


def digest(value: Any) -> str:
    """Return a content hash of plain data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def load(path: Path, overrides: tuple[str, ...] = (), names_of: NamesOf | None = None) -> Sweep:
    """Read and check a sweep file.

    Args:
      overrides: "section.key=value", the value in TOML; a bare word, or a time, is a string.
      names_of: `(task, folder, data)` gives the hparams that a user's own task declares.
        Without it, the hparams of such a task are not checked.

    Raises:
      SweepError: all that is wrong, a line each, with file, line, key, rule, value and the nearest name.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        beside = [other.name for other in path.parent.glob("*.toml")]
        raise SweepError(f"{path}: no such file{nearest(path.name, beside)}") from None
    except IsADirectoryError:
        raise SweepError(f"{path}: is a folder; name the sweep file in it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SweepError(f"{path}: cannot be read: {error}") from None
    return parse(text, overrides, str(path), path.absolute().parent, path.stem, names_of)


def parse(
    text: str,
    overrides: tuple[str, ...] = (),
    source: str = "sweep",
    folder: Path | None = None,
    name: str = "sweep",
    names_of: NamesOf | None = None,
) -> Sweep:
    """`load` of a text; `source` names it in errors."""
    folder = folder or Path.cwd()
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(error))
        where, rule = (f":{found[2]}", f"{found[1]} (column {found[3]})") if found else ("", error)
        raise SweepError(f"{source}{where}: not TOML: {rule}") from None
    source_map = SourceMap(source, text)
    if isinstance(overrides, str):
        raise SweepError(f"overrides: needs a tuple of settings, such as ({overrides!r},), got one text")
    for assignment in overrides:
        source_map.overridden(override(raw, assignment), assignment)
    written = tomli_w.dumps(raw)
    document, problems, malformed = _document(raw, source_map)
    names = None
    if document:
        try:
            names = _namespace(document, source_map, folder, names_of)
        except SweepError as error:
            problems.append(str(error))
        problems += rules.unknown_hparams(malformed, names, source_map)
        problems += rules.broken(document, names, source_map)
    if problems or not document:
        raise SweepError("\n".join(problems))
    try:
        members = list(_members(document, names or UNREAD))
    except ValueError as error:
        raise SweepError(source_map.say(("population", "sampler"), str(error))) from None
    if names and (repeated := rules.repeated(members, document, source_map)):
        raise SweepError(repeated)
    names = names or UNREAD
    return Sweep(_written_out(document, members), members, names, folder, name, source_map, written)


def _document(
    raw: dict[str, Any], source_map: SourceMap
) -> tuple[Document | None, list[str], list[tuple[str, ...]]]:
    """Parse the sections, without malformed keys so that the rest is checked too; return what was malformed."""
    try:
        return Document.model_validate(raw), [], []
    except ValidationError as error:
        problems = list(rules.explained(error, source_map))
        malformed = [tuple(map(str, problem["loc"][:2])) for problem in error.errors()]
        for section, *keys in malformed:
            table = raw.get(section)
            if keys and isinstance(table, dict):
                table.pop(keys[0], None)
            elif not keys:
                raw.pop(section, None)
    if isinstance(run := raw.get("run"), dict):
        run.setdefault("steps", 1)
    try:
        return Document.model_validate(raw), problems, malformed
    except ValidationError:
        return None, problems, malformed


def _namespace(
    document: Document, source_map: SourceMap, folder: Path, names_of: NamesOf | None
) -> Namespace | None:
    """Return the hparams that members of the sweep's task may have; None where they are not known."""
    name = document.run.task
    if name in catalog.TASKS:
        return namespace(name, document.data)
    if name.endswith(".py"):
        rule = f"needs the name of the task in the file too, such as {name}:task"
        raise SweepError(source_map.say(("run", "task"), rule))
    if ":" not in name and name not in catalog.DATA:
        raise SweepError(source_map.say(("run", "task"), unknown("task", name, catalog.DATA)))
    if names_of is None:
        return None
    try:
        return names_of(name, folder, document.data)
    except SweepError as error:
        raise SweepError(source_map.say(("run", "task"), str(error))) from error


def _members(document: Document, names: Namespace) -> Iterator[dict[str, Any]]:
    """Yield all hparams of each member, in order."""
    population = document.population
    for grid in document.grids():
        keeps_integers = {name: name not in names.floats for name in grid.axes}
        for values in sample(grid.axes, population.sampler, population.members, population.seed, keeps_integers):
            yield _completed(names, document.run.steps, {**grid.hparams, **values})


def _completed(names: Namespace, steps: int, given: dict[str, Any]) -> dict[str, Any]:
    """Return all hparams of a member that has some; see `Sweep.completed`."""
    hparams = {"steps": steps, **names.defaults(given), **given}
    return {
        name: float(value) if name in names.floats else plain(value)
        for name, value in sorted(hparams.items())
        if _takes(names, hparams, name)
    }


def _takes(names: Namespace, hparams: dict[str, Any], name: str) -> bool:
    """Return whether a member has this hparam: it is not another optimizer's or model's."""
    takers = names.takers(name)
    return takers is None or hparams[takers[0]] in takers[1]


def _written_out(document: Document, members: list[dict[str, Any]]) -> Document:
    """Return the document with the defaults that all members share."""
    varied = {"steps", *document.all_axes(), *(document.varied() if document.loop else ())}  # a loop adds cases
    shared = {
        name: value
        for name, value in members[0].items()
        if name not in varied and all(name in member for member in members)
    }
    shared = {name: value for name, value in shared.items() if all(m[name] == value for m in members)}
    data = {**catalog.DATA.get(document.run.task, {}), **document.data}
    return document.model_copy(update={"hparams": {**document.hparams, **shared}, "data": data})
