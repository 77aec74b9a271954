"""Suggestions for a name that is not known."""

import difflib
from collections.abc import Iterable
from typing import Any

SYNONYMS = {  # what others call it
    "lr": "learning_rate",
    "wd": "weight_decay",
    "beta1": "b1",
    "beta2": "b2",
    "epsilon": "eps",
    "hidden_size": "width",
    "hidden_dim": "width",
    "num_layers": "depth",
    "layers": "depth",
    "num_heads": "heads",
    "grad_clip": "clip",
    "lr_schedule": "schedule",
    "seeds": "seed",
}


def nearest(name: Any, known: Iterable[str]) -> str:
    """Return "; did you mean `x`?" if a known name is close, whatever its case, else nothing."""
    folded = {each.casefold(): each for each in sorted(known, reverse=True)}
    written = str(name).casefold()
    meant = SYNONYMS.get(written)
    close = [meant] if meant in folded else difflib.get_close_matches(written, folded, n=1, cutoff=0.6)
    return f"; did you mean `{folded[close[0]]}`?" if close else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return a name that is not known, with the nearest that is, or all of them."""
    return f"unknown {kind} `{name}`" + (nearest(name, known) or f"; known: {', '.join(sorted(known))}")


def not_one_of(value: Any, choices: Iterable[str]) -> str:
    return f"needs one of {', '.join(choices)}, got {value!r}{nearest(value, choices)}"
