"""Overrides: `--set section.key=value` put into a parsed sweep."""

import re
import tomllib
from typing import Any

from jaxloop.errors import SweepError
from jaxloop.sweep.axes import FORMS
from jaxloop.sweep.source_map import split_assignment, split_key


def override(raw: dict[str, Any], assignment: str) -> tuple[str, ...]:
    """Put "section.key=value" into a parsed sweep; return the key's path.

    A new form of an axis replaces the old one; what becomes an axis is no longer fixed, and the reverse.

    Raises:
      SweepError: no key, no value, or a path through a value.
    """
    key, equals, text = split_assignment(assignment)
    path = split_key(key)
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
    if path[0] == "axes" and len(path) == 3 and path[-1] in FORMS:
        for form in FORMS:
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
