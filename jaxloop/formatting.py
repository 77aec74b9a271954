"""Numbers, texts and paths as people and their shells read them."""

import math
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

NO_BREAK = "\u00a0"  # a space at which no line ends
PREFIXES = ["", "k", "M", "G", "T", "P", "E"]


def scaled(value: float) -> str:
    """Return a number with three digits and a prefix, for a unit to follow: "6.91 T"."""
    power = min(max(0, math.floor(math.log10(max(value, 1.0)) / 3)), len(PREFIXES) - 1)
    return f"{value / 1000**power:.3g} {PREFIXES[power]}"


def duration(seconds: float) -> str:
    """Return a time in two units at the most: "47 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def shell_quoted(path: object) -> str:
    """Return a path as a shell's command line takes it."""
    return shlex.quote(str(path))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which takes an s in the plural: "1 member", "2 members"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers, those that follow each other as a range: "4-7 12"."""
    starts = [number for i, number in enumerate(numbers) if i == 0 or numbers[i - 1] != number - 1]
    stops = [number for i, number in enumerate(numbers, 1) if i == len(numbers) or numbers[i] != number + 1]
    pairs = zip(starts, stops, strict=True)
    return " ".join(str(start) if start == stop else f"{start}-{stop}" for start, stop in pairs)


def value(value: Any) -> str:
    """Return an hparam or a measured value with four digits; a word as it is, "-" for none."""
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else visible(str(value))


def visible(text: str) -> str:
    """Return a text with escapes for characters that a terminal or browser would obey, not show."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def in_order(values: Iterable[Any]) -> list[Any]:
    """Return distinct values in ascending order, numbers before words, without None."""
    known = {value for value in values if value is not None}
    return sorted(known, key=lambda each: (isinstance(each, str), str(each) if isinstance(each, str) else each))
