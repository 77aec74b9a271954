"""Where each key of a sweep stands, and what `--set` puts in its place."""

import re
import tomllib
from typing import Any

from jaxloop.errors import SweepError

KEY = r"""(?:[\w-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
KEY_LINE = re.compile(rf"^\s*({KEY}(?:\s*\.\s*{KEY})*)\s*=")
ASSIGNMENT = re.compile(rf"\s*({KEY}(?:\s*\.\s*{KEY})*)\s*=")
HEADER_LINE = re.compile(r"^\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$")
AXIS_FORMS = ("values", "log", "linear", "range", "count")


class Places:
    """The line of each key in a file, or the `--set` that gave it.

    `tomllib` keeps no lines, so they are found again by pattern; a key inside an inline table has its table's.
    """

    def __init__(self, source: str, text: str):
        self.source = source
        self.lines: dict[tuple[str, ...], int] = {}
        self.sets: dict[tuple[str, ...], str] = {}
        self.keys: set[str] = set()
        table: list[str] = []
        for number, line in enumerate(text.splitlines(), 1):
            self.keys |= _keys(re.findall(KEY + r"(?=\s*[=.\]])", line))
            if header := HEADER_LINE.match(line):
                table = _split(header[1])
                self.lines.setdefault(tuple(table), number)
            elif key := KEY_LINE.match(line):
                self.lines.setdefault((*table, *_split(key[1])), number)

    def overridden(self, path: tuple[str, ...], assignment: str) -> None:
        self.sets[path] = f"--set {assignment}"
        self.keys |= set(path) | _keys(re.findall(KEY + r"(?=\s*=)", _parted(assignment)[2]))

    def longest_known(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """The parts of a path that are keys of the file."""
        return tuple(part for part in path if part in self.keys)

    def say(self, path: tuple[str, ...], message: str) -> str:
        """One line: where, which key, what is wrong."""
        key = ".".join(path) or "sweep"
        inside = [assignment for given, assignment in self.sets.items() if given[: len(path)] == path]
        if len(path) > 1 and inside:
            return f"{inside[0]}: {key}: {message}"
        for length in range(len(path), 0, -1):
            if assignment := self.sets.get(path[:length]):
                return f"{assignment}: {key}: {message}"
            if line := self.lines.get(path[:length]):
                return f"{self.source}:{line}: {key}: {message}"
        return f"{self.source}: {key}: {message}"


def override(raw: dict[str, Any], assignment: str) -> tuple[str, ...]:
    """Puts "section.key=value" into a parsed sweep; gives the key's path.

    A new form of an axis replaces the old one; what becomes an axis is no longer fixed, and the reverse.

    Raises:
      SweepError: no key, no value, or a path through a value.
    """
    key, equals, text = _parted(assignment)
    path = _split(key)
    if not equals or not all(path):
        raise SweepError(f"--set {assignment}: needs section.key=value, such as run.steps=100")
    value = _value(text, assignment)
    other = {"axes": "hparams", "hparams": "axes"}.get(path[0])
    if other and len(path) > 1 and isinstance(raw.get(other), dict):
        raw[other].pop(path[1], None)
    table = raw
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise SweepError(f"--set {assignment}: `{part}` is a value, not a section")
    if path[0] == "axes" and len(path) == 3 and path[-1] in AXIS_FORMS:
        for form in AXIS_FORMS:
            table.pop(form, None)
        if path[-1] not in ("log", "linear"):
            table.pop("num", None)
    table[path[-1]] = value
    return tuple(path)


def _value(text: str, assignment: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        if not re.fullmatch(r"\s*([A-Za-z_][\w.:/-]*|\d+(\.\d+)?[smh])\s*", text):
            raise SweepError(f"--set {assignment}: {text!r} is not a TOML value") from None
        return text.strip()


def _keys(written: list[str]) -> set[str]:
    """Single keys, without the quotes around them."""
    return {_split(key)[0] for key in written}


def _parted(assignment: str) -> tuple[str, str, str]:
    """The key of an assignment, its "=" and its value; a quoted part of the key may hold any of them."""
    if found := ASSIGNMENT.match(assignment):
        return found[1], "=", assignment[found.end() :]
    return assignment.partition("=")


def _split(dotted: str) -> list[str]:
    """The parts of a TOML key. Letters that TOML wants in quotes may go without."""
    try:
        table, path = tomllib.loads(f"{dotted} = 0"), []
        while isinstance(table, dict):
            ((key, table),) = table.items()
            path.append(key)
    except ValueError:  # no TOML key, or more than one
        return [part.strip().strip("\"'") for part in dotted.split(".")]
    return path
