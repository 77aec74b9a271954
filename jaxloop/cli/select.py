"""Which members a command shows, and in which order: `--where "learning_rate>0.01"`, `--sort -validation/loss`."""

import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from jaxloop import formatting
from jaxloop.errors import SweepError
from jaxloop.storage.records import Member, Status
from jaxloop.sweep.suggest import unknown

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
CONDITION = re.compile(r"\s*([\w./-]+?)\s*(==|!=|<=|>=|=|<|>)\s*(.*?)\s*")
OWN = ("number", "id", "status", "step")


def selected(members: Sequence[Member], where: Sequence[str], sort: str | None, count: int | None) -> list[Member]:
    """Return the members that meet all conditions, in order, and of these the first so many.

    Args:
      where: such as "status=diverged" or "width>=64".
      sort: a name; with "-" before it, the largest first. Members without a value come last.

    Raises:
      SweepError: a condition cannot be read, or no member has the name.
    """
    found = list(members)
    for condition in where:
        found = [member for member in found if _meets(member, condition, members)]
    if sort:
        name = sort.removeprefix("-")
        _check(name, members)
        sign = -1 if sort.startswith("-") else 1
        with_value = [member for member in found if _is_ordered(_value(member, name))]
        without = [member for member in found if not _is_ordered(_value(member, name))]
        words = any(isinstance(_value(member, name), str) for member in with_value)
        ordered = sorted(with_value, key=lambda each: str(_value(each, name)) if words else _value(each, name))
        found = [*(ordered if sign > 0 else reversed(ordered)), *without]
    return found[:count]


def _meets(member: Member, condition: str, members: Sequence[Member]) -> bool:
    parts = CONDITION.fullmatch(condition)
    if not parts:
        raise SweepError(f"--where: needs NAME, one of = != {' '.join(OPERATORS)}, and a value, got {condition!r}")
    name, sign, text = parts.groups()
    _check(name, members)
    value = _value(member, name)
    if value is None:
        return False
    wanted = _read(text, value)
    if name == "status" and wanted not in (statuses := [str(status) for status in Status]):
        raise SweepError(f"--where: {unknown('status', wanted, statuses)}")
    if type(wanted) is not type(value) and not (_is_number(wanted) and _is_number(value)):
        raise SweepError(
            f"--where: `{name}` is {value!r} in member {member.number}, and cannot be compared with {text!r}"
            f"{'; give --where once for each condition' if ' and ' in text else ''}"
        )
    if sign in ("=", "==", "!="):  # a value is named as it is, or as tables show it
        return (value == wanted or formatting.value(value) == text) is (sign != "!=")
    return OPERATORS[sign](value, wanted)


def _read(text: str, like: Any) -> Any:
    """Return a condition's value, as the type of what it is compared with wants it."""
    if isinstance(like, bool):
        return {"true": True, "false": False}.get(text.lower(), text)
    if isinstance(like, str):
        return text.strip("\"'")
    try:
        return float(text)
    except ValueError:
        return text


def _check(name: str, members: Sequence[Member]) -> None:
    known = {*OWN, *(each for member in members for each in (*member.hparams, *member.metrics))}
    if name not in known:
        raise SweepError(unknown("name", name, known))


def _value(member: Member, name: str) -> Any:
    """Return a member's own fact, hparam or last metric; None where it has none."""
    if name in OWN:
        return str(member.status) if name == "status" else getattr(member, name)
    return member.hparams.get(name, member.metrics.get(name))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_ordered(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))
