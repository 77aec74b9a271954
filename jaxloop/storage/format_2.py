"""Runs of format 2: the keys that their sweeps had then, by the names of today."""

import tomllib

import tomli_w

from jaxloop.sweep.rules import RENAMED


def with_present_keys(text: str) -> str:
    """Return a recorded sweep with the present names of its keys; a text that needs none stays as it is."""
    try:
        sweep = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # reported where it is parsed
        return text
    for (section, old), present in RENAMED.items():
        table = sweep.get(section)
        if isinstance(table, dict) and old in table:
            new = present.removeprefix(f"{section}.")
            sweep[section] = {new if key == old else key: value for key, value in table.items()}
            text = tomli_w.dumps(sweep)
    return text
