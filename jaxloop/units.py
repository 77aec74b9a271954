"""Numbers for people."""

import math

PREFIXES = ["", "k", "M", "G", "T", "P", "E"]


def scaled(value: float) -> str:
    """A number with three digits and a prefix, for a unit to follow: "6.91 T"."""
    power = min(max(0, math.floor(math.log10(max(value, 1.0)) / 3)), len(PREFIXES) - 1)
    return f"{value / 1000**power:.3g} {PREFIXES[power]}"
