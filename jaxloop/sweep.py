"""A sweep: the TOML file a user writes, checked whole before anything is done. No JAX here."""

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from jaxloop import declared
from jaxloop.axes import Axis, Value, sample, size
from jaxloop.errors import SweepError, nearest


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Run(Section):
    task: str
    steps: int = Field(ge=1, le=2**31 - 1)
    evaluate_every: int = Field(100, ge=1)


class Population(Section):
    sampler: Literal["grid", "zip", "random", "sobol"] = "grid"
    members: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)
    capacity: Literal["auto"] | int = "auto"
    width: Literal["auto"] | int = "auto"
    max_members: int = Field(100_000, ge=1)

    @field_validator("capacity", "width", mode="after")
    @classmethod
    def _positive(cls, value):
        if value != "auto" and value < 1:
            raise ValueError('needs "auto" or an integer >= 1')
        return value


class Evaluate(Section):
    batch_size: int = Field(1000, ge=1)
    metric: str = "validation/accuracy"
    mode: Literal["max", "min"] = "max"


class Checkpoint(Section):
    every: int | str = "60s"
    keep: str = "all"

    @field_validator("every")
    @classmethod
    def _steps_or_seconds(cls, value):
        if (isinstance(value, int) and value >= 1) or (isinstance(value, str) and _seconds(value)):
            return value
        raise ValueError('needs steps (an integer >= 1) or a time such as "60s", "5m", "1h"')

    @field_validator("keep")
    @classmethod
    def _keep(cls, value):
        if value in ("all", "none") or re.fullmatch(r"best:[1-9]\d*", value):
            return value
        raise ValueError('needs "all", "none" or "best:K"')

    def seconds(self) -> float | None:
        """The interval as a time, or None where it counts steps."""
        return _seconds(self.every) if isinstance(self.every, str) else None


class Document(Section):
    """The file's sections."""

    run: Run
    data: dict[str, Any] = {}
    hparams: dict[str, Value] = {}
    axes: dict[str, Axis] = {}
    population: Population = Field(default_factory=lambda: Population.model_validate({}))
    evaluate: Evaluate = Field(default_factory=lambda: Evaluate.model_validate({}))
    checkpoint: Checkpoint = Field(default_factory=lambda: Checkpoint.model_validate({}))


@dataclass(frozen=True)
class Sweep:
    """A checked sweep: its document and its members' hparams, every default filled in."""

    document: Document
    members: list[dict[str, Any]]
    folder: Path  # what relative paths in the file are relative to
    name: str

    def toml(self) -> str:
        """The sweep with every default written out; reading it back gives the same members."""
        return tomli_w.dumps(self.document.model_dump(exclude_none=True))

    @property
    def varied(self) -> list[str]:
        return list(self.document.axes)


def digest(value: Any) -> str:
    """A content hash of plain data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def load(
    path: Path,
    overrides: tuple[str, ...] = (),
    task_hparams: Callable[[str, Path], dict[str, Any]] | None = None,
) -> Sweep:
    """Reads and checks a sweep file.

    Args:
      overrides: "section.key=value", the value in TOML; a bare word is a string.
      task_hparams: gives the declared hparams of a user's own task file.

    Raises:
      SweepError: all that is wrong, a line each, with file, line, key, rule, value and the nearest name.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SweepError(f"{path}: cannot be read: {error}") from None
    return parse(text, overrides, str(path), path.absolute().parent, path.stem, task_hparams)


def parse(text, overrides=(), source="sweep", folder=None, name="sweep", task_hparams=None) -> Sweep:
    """`load` on a text; `source` names it in errors."""
    folder = folder or Path.cwd()
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SweepError(f"{source}: not TOML: {error}") from None
    where = _Places(source, text)
    for override in overrides:
        where.overridden(_override(raw, override), override)
    try:
        document = Document.model_validate(raw)
    except ValidationError as error:
        raise SweepError("\n".join(_explain(error, where, raw))) from None

    task = document.run.task
    if task in declared.TASKS:
        known = declared.TASKS[task]
    elif ":" not in task:
        raise SweepError(where.say(("run", "task"), f"unknown task {task!r}{nearest(task, declared.TASKS)}"))
    else:
        known = task_hparams(task, folder) if task_hparams else None
    problems: list[str] = list(_problems(document, known, where))
    defaults: dict[str, Any] = {}
    members: list[dict[str, Any]] = []
    if not problems:
        try:
            defaults = _defaults(document, known or {})
            members = _members(document, defaults)
        except ValueError as error:
            problems = [where.say(("population", "sampler"), str(error))]
    if not problems:
        problems = list(_duplicates(members, where))
    if problems:
        raise SweepError("\n".join(problems))
    varied = set(document.axes)
    document = document.model_copy(
        update={
            "hparams": {k: v for k, v in {**defaults, **document.hparams}.items() if k not in varied | {"steps"}},
            "data": {**declared.DATA.get(task, {}), **document.data},
        }
    )
    return Sweep(document, members, folder, name)


def _problems(document: Document, task: dict[str, Any] | None, where: "_Places") -> Iterator[str]:
    known = {**declared.ENGINE, **declared.OPTIONAL, "steps": 1, **(task or {})}
    for arguments in declared.OPTIMIZERS.values():
        known.update(arguments)
    for section, given in (("hparams", document.hparams), ("axes", document.axes)):
        for key in given:
            if key not in known:
                yield where.say((section, key), f"unknown hparam `{key}`{nearest(key, known)}")
            elif section == "axes" and key in document.hparams:
                yield where.say((section, key), f"`{key}` is fixed in [hparams] as well")
    if "steps" in document.hparams:
        yield where.say(("hparams", "steps"), "the step budget belongs in `run.steps` (or is an axis)")

    total = size(document.axes, document.population.sampler, document.population.members)
    if total > document.population.max_members:
        rule = f"{total} members are more than population.max_members = {document.population.max_members}"
        yield where.say(("axes",), rule)
        return

    from jaxloop.axes import points

    used = set(_optimizers(document))
    for section, key, values in [
        *(("hparams", key, [value]) for key, value in document.hparams.items()),
        *(("axes", key, points(axis, True)) for key, axis in document.axes.items()),
    ]:
        if key not in known:
            continue
        owners = {name for name, arguments in declared.OPTIMIZERS.items() if key in arguments}
        if owners and key not in (task or {}) and not owners & used:
            yield where.say((section, key), f"no optimizer of this sweep takes `{key}` (used: {sorted(used)})")
        for value in values:
            if rule := _broken(key, value, known[key]):
                yield where.say((section, key), f"{rule}, got {value!r}")

    options = declared.DATA.get(document.run.task)
    for key, value in document.data.items():
        if options is None:
            continue
        if key not in options:
            yield where.say(("data", key), f"unknown option `{key}`{nearest(key, options)}")
        elif rule := _broken(key, value, options[key]):
            yield where.say(("data", key), f"{rule}, got {value!r}")


def _broken(key: str, value: Any, default: Any) -> str | None:
    """The rule that a value breaks, if any."""
    if key in declared.CHOICES:
        choices = declared.CHOICES[key]
        return None if value in choices else f"needs one of {', '.join(choices)}{nearest(value, choices)}"
    wanted = type(default)
    if wanted is float and (isinstance(value, bool) or not isinstance(value, int | float)):
        return "needs a number"
    if wanted is int and (isinstance(value, bool) or not isinstance(value, int)):
        return "needs an integer"
    if wanted in (bool, str) and not isinstance(value, wanted):
        return f"needs a {'true or false' if wanted is bool else 'string'}"
    low, high = declared.BOUNDS.get(key, (None, None))
    if isinstance(value, int | float) and (
        (low is not None and value < low) or (high is not None and value > high)
    ):
        return f"needs a value from {low} to {high}" if high is not None else f"needs at least {low}"
    return None


def _optimizers(document: Document) -> list[str]:
    if axis := document.axes.get("optimizer"):
        return [str(value) for value in axis.values or []]
    return [str(document.hparams.get("optimizer", declared.ENGINE["optimizer"]))]


def _defaults(document: Document, task: dict[str, Any]) -> dict[str, Any]:
    used = _optimizers(document)
    given = set(document.hparams) | set(document.axes)
    table = declared.defaults(task, document.run.steps, used, given)
    for name in {key for optimizer in used for key in declared.OPTIMIZERS[optimizer]} - set(task):
        options = {declared.OPTIMIZERS[o][name] for o in used if name in declared.OPTIMIZERS[o]}
        if len(options) > 1:
            table.pop(name, None)  # the optimizers disagree: each member takes its own
    return table


def _members(document: Document, defaults: dict[str, Any]) -> list[dict[str, Any]]:
    every = {**defaults}
    for arguments in declared.OPTIMIZERS.values():
        every = {**arguments, **every}
    is_float = {name for name, value in every.items() if isinstance(value, float)}
    whole = {name: name not in is_float for name in document.axes}
    drawn = sample(
        document.axes,
        document.population.sampler,
        document.population.members,
        document.population.seed,
        whole,
    )
    members = []
    for values in drawn:
        given = {**document.hparams, **values}
        own = declared.OPTIMIZERS[given.get("optimizer", declared.ENGINE["optimizer"])]
        foreign = {key for table in declared.OPTIMIZERS.values() for key in table} - set(own)
        foreign -= set(declared.TASKS.get(document.run.task, {}))
        hparams = {**own, **defaults, **given}
        members.append(
            {
                key: float(value) if key in is_float else value
                for key, value in sorted(hparams.items())
                if key not in foreign or key not in every
            }
        )
    return members


def _duplicates(members: list[dict[str, Any]], where: "_Places") -> Iterator[str]:
    seen: dict[str, int] = {}
    for number, hparams in enumerate(members):
        first = seen.setdefault(digest(hparams), number)
        if first != number:
            yield where.say(("axes",), f"members {first} and {number} are the same: an axis repeats a value")
            return


def _explain(error: ValidationError, where: "_Places", raw: dict[str, Any]) -> Iterator[str]:
    seen = set()
    for problem in error.errors():
        path = tuple(part for part in problem["loc"] if isinstance(part, str) and part in where.known(raw))
        missing = problem["type"] == "missing"
        if missing:
            path = tuple(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            parent = path[:-1]
            sections = {"run": Run, "population": Population, "evaluate": Evaluate, "checkpoint": Checkpoint}
            model = Axis if parent[:1] == ("axes",) else sections.get(parent[0] if parent else "", Document)
            message = f"unknown key `{path[-1]}`{nearest(path[-1], model.model_fields)}"
        elif not missing and problem["type"] != "value_error":
            message += f", got {problem['input']!r}"
        line = where.say(path, message)
        if line not in seen:
            seen.add(line)
            yield line


class _Places:
    """Where each key stands: file and line, or the `--set` that gave it."""

    HEADER = re.compile(r"^\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$")
    KEY = re.compile(r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")

    def __init__(self, source: str, text: str):
        self.source, self.lines, self.sets = source, {}, {}
        table: tuple[str, ...] = ()
        for number, line in enumerate(text.splitlines(), 1):
            if header := self.HEADER.match(line):
                table = self._split(header[1])
                self.lines.setdefault(table, number)
            elif key := self.KEY.match(line):
                self.lines.setdefault(table + self._split(key[1]), number)

    @staticmethod
    def _split(dotted: str) -> tuple[str, ...]:
        return tuple(part.strip().strip("\"'") for part in dotted.split("."))

    def known(self, raw: Any) -> set[str]:
        if not isinstance(raw, dict):
            return set()
        return set(raw) | {name for value in raw.values() for name in self.known(value)}

    def overridden(self, path: tuple[str, ...], text: str) -> None:
        self.sets[path] = f"--set {text}"

    def say(self, path: tuple[str, ...], message: str) -> str:
        for length in range(len(path), 0, -1):
            if place := self.sets.get(path[:length]):
                return f"{place}: {'.'.join(path)}: {message}"
            if line := self.lines.get(path[:length]):
                return f"{self.source}:{line}: {'.'.join(path)}: {message}"
        return f"{self.source}: {'.'.join(path) or 'sweep'}: {message}"


def _override(raw: dict[str, Any], text: str) -> tuple[str, ...]:
    key, equals, value = text.partition("=")
    path: list[str] = list(_Places._split(key))
    if not equals or not all(path):
        raise SweepError(f"--set {text}: needs section.key=value, such as run.steps=100")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        if not re.fullmatch(r"\s*[A-Za-z_][\w.:/-]*\s*", value):
            raise SweepError(f"--set {text}: {value!r} is not a TOML value") from None
        parsed = value.strip()
    table = raw
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise SweepError(f"--set {text}: `{part}` is a value, not a section")
    if path[0] == "axes" and len(path) > 2 and path[-1] != "num":
        for form in ("values", "log", "linear", "range", "count"):
            table.pop(form, None)  # a new form replaces the old one
        if path[-1] not in ("log", "linear"):
            table.pop("num", None)
    other = {"axes": "hparams", "hparams": "axes"}.get(path[0])  # what varies is not fixed, and the reverse
    if other and len(path) > 1 and isinstance(raw.get(other), dict):
        raw[other].pop(path[1], None)
    table[path[-1]] = parsed
    return tuple(path)


def _seconds(text: str) -> float | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", text)
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match and float(match[1]) > 0 else None
