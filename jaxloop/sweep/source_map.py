"""The line of each key of a sweep file, for messages."""

import re
import tomllib

KEY = r"""(?:[\w-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
KEY_LINE = re.compile(rf"^\s*({KEY}(?:\s*\.\s*{KEY})*)\s*=")
ASSIGNMENT = re.compile(rf"\s*({KEY}(?:\s*\.\s*{KEY})*)\s*=")
HEADER_LINE = re.compile(r"^\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$")


class SourceMap:
    """The line of each key in a file, or the `--set` that gave it.

    `tomllib` keeps no lines, so they are found again by pattern; a key inside an inline table has its table's.
    """

    def __init__(self, source: str, text: str) -> None:
        self.source = source
        self.lines: dict[tuple[str, ...], int] = {}
        self.sets: dict[tuple[str, ...], str] = {}
        self.keys: set[str] = set()
        table: list[str] = []
        for number, line in enumerate(text.splitlines(), 1):
            self.keys |= _keys(re.findall(KEY + r"(?=\s*[=.\]])", line))
            if header := HEADER_LINE.match(line):
                table = split_key(header[1])
                self.lines.setdefault(tuple(table), number)
            elif key := KEY_LINE.match(line):
                self.lines.setdefault((*table, *split_key(key[1])), number)

    def overridden(self, path: tuple[str, ...], assignment: str) -> None:
        self.sets[path] = f"--set {assignment}"
        self.keys |= set(path) | _keys(re.findall(KEY + r"(?=\s*=)", split_assignment(assignment)[2]))

    def longest_known(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """Return the parts of a path that are keys of the file."""
        return tuple(part for part in path if part in self.keys)

    def say(self, path: tuple[str, ...], message: str) -> str:
        """Return one line: where, which key, what is wrong."""
        key = ".".join(path) or "sweep"
        inside = [assignment for given, assignment in self.sets.items() if given[: len(path)] == path]
        if path and inside and (len(path) > 1 or path not in self.lines):
            return f"{inside[0]}: {key}: {message}"
        for length in range(len(path), 0, -1):
            if assignment := self.sets.get(path[:length]):
                return f"{assignment}: {key}: {message}"
            if line := self.lines.get(path[:length]):
                return f"{self.source}:{line}: {key}: {message}"
        return f"{self.source}: {key}: {message}"


def _keys(written: list[str]) -> set[str]:
    """Single keys, without the quotes around them."""
    return {split_key(key)[0] for key in written}


def split_assignment(assignment: str) -> tuple[str, str, str]:
    """Return the key of an assignment, its "=" and its value; a quoted part of the key may hold any of them."""
    if found := ASSIGNMENT.match(assignment):
        return found[1], "=", assignment[found.end() :]
    return assignment.partition("=")


def split_key(dotted: str) -> list[str]:
    """Return the parts of a TOML key. Letters that TOML wants in quotes may go without."""
    try:
        table, path = tomllib.loads(f"{dotted} = 0"), []
        while isinstance(table, dict):
            ((key, table),) = table.items()
            path.append(key)
    except ValueError:  # no TOML key, or more than one
        return [part.strip().strip("\"'") for part in dotted.split(".")]
    return path
