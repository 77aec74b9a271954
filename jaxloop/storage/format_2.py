"""Runs of format 2: the keys that their sweeps had then, by the names of today."""

import tomllib

import tomli_w

RENAMED = {"population": {"width": "group_size"}}


def with_present_keys(text: str) -> str:
    """Return a recorded sweep with the present names of its keys; a text that needs none stays as it is."""
    try:
        sweep = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # reported where it is parsed
        return text
    for section, names in RENAMED.items():
        table = sweep.get(section)
        if isinstance(table, dict) and names.keys() & table.keys():
            sweep[section] = {names.get(key, key): value for key, value in table.items()}
            text = tomli_w.dumps(sweep)
    return text
