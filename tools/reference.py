"""Writes docs/commands.md and docs/keys.md from commands and schema: `python tools/reference.py`."""

import types
import typing
from pathlib import Path
from typing import Any

import click
import tomli_w
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from jaxloop.cli import cli
from jaxloop.sweep import catalog
from jaxloop.sweep.schema import Document
from jaxloop.sweep.sizes import plain

DOCS = Path(__file__).parent.parent / "docs"
GENERATED = "<!-- written by tools/reference.py -->\n\n"
EXIT_CODES = """## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | a fault of jaxloop's, with a traceback; or the reader of its output closed the pipe |
| 2 | bad usage or sweep: the message names file, line, key, rule and value; nothing is written |
| 3 | no such run, member or metric |
| 4 | damaged or incompatible data |
| 5 | out of memory or disk; what was saved is whole |
| 6 | no member finished with finite metrics |
| 7 | the run is locked by another jaxloop |
| 8 | another of the processes that train the run has stopped |
| 10, 11, 12, 13 | of `jaxloop try`: tie, failure, undecided, crash; a success is 0 |
| 130, 143 | interrupted by Ctrl-C or SIGTERM; the state is saved |

## Completion in your shell

For bash, `eval "$(_JAXLOOP_COMPLETE=bash_source jaxloop)"` in `~/.bashrc`; `zsh_source` in `~/.zshrc`; for fish,
`_JAXLOOP_COMPLETE=fish_source jaxloop > ~/.config/fish/completions/jaxloop.fish`.
"""


def commands() -> str:
    """Return the page about all commands: what each does, takes, and ends with."""
    parts = ["# Commands\n"]
    for name in sorted(cli.commands):
        command = cli.commands[name]
        usage = " ".join(command.collect_usage_pieces(click.Context(command, info_name=name)))
        parts += [f"## `jaxloop {name}`\n", f"    jaxloop {name} {usage}\n", _text(command.help or "")]
        rows = [_option(option) for option in command.params if isinstance(option, click.Option)]
        if rows:
            parts.append("| option | |\n|---|---|\n" + "\n".join(rows) + "\n")
    return GENERATED + "\n".join([*parts, EXIT_CODES])


def _text(help: str) -> str:
    return "\n".join(line.strip() for line in help.splitlines()) + "\n"


def _option(option: click.Option) -> str:
    metavar = "" if option.is_flag else f" {option.make_metavar(click.Context(cli))}"
    return f"| `{', '.join(option.opts)}{metavar}` | {option.help or ''} |".replace("[max|min]", "max or min")


def keys() -> str:
    """Return the page about all keys of a sweep file."""
    parts = [
        "# All keys of a sweep file\n",
        "[sweep.md](sweep.md) and [loop.md](loop.md) explain each of them.\n",
    ]
    for name, field in Document.model_fields.items():
        section = _model(field.annotation)
        if section is None:
            continue
        rows = [_key(key, each) for key, each in section.model_fields.items()]
        parts.append(f"## `[{name}]`\n\n| key | default | values |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    parts.append("## `[hparams]` and `[axes]`\n\nOf the engine:\n")
    rows = [f"| `{name}` | `{_plain(default)}` |" for name, default in catalog.ENGINE.items()]
    rows += [f"| `{name}` | none: absent unless given |" for name in catalog.OPTIONAL]
    parts.append("| hparam | default |\n|---|---|\n" + "\n".join(rows) + "\n")
    for model, hparams in catalog.MODELS.items():
        if hparams:
            rows = [f"| `{name}` | `{_plain(default)}` |" for name, default in hparams.items()]
            parts.append(f"Of the model `{model}`:\n\n| hparam | default |\n|---|---|\n" + "\n".join(rows) + "\n")
    return GENERATED + "\n".join(parts)


def _model(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a field of the document holds."""
    options = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    found = [each for each in options if isinstance(each, type) and issubclass(each, BaseModel)]
    return found[0] if found and len(found[0].model_fields) else None


LIMITS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}", "min_length": "of {} or more"}


def _key(name: str, field: FieldInfo) -> str:
    values = ", ".join(filter(None, [_type(field.annotation), *_limits(field.metadata)]))
    if field.default is PydanticUndefined and field.default_factory is None:
        return f"| `{name}` | required | {values} |"
    return f"| `{name}` | {_toml(field.get_default(call_default_factory=True))} | {values} |"


def _limits(metadata: list[Any]) -> list[str]:
    return [
        text.format(getattr(each, limit))
        for each in metadata
        for limit, text in LIMITS.items()
        if hasattr(each, limit)
    ]


def _type(annotation: Any) -> str:
    """Return a type in words; "" where a rule of its own checks it, as sweep.md tells."""
    names = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
    if isinstance(annotation, types.UnionType):
        return " or ".join(filter(None, (_type(each) for each in typing.get_args(annotation))))
    if typing.get_origin(annotation) is typing.Annotated:
        of, field = typing.get_args(annotation)
        return f"{_type(of)} {' and '.join(_limits(field.metadata))}"
    if typing.get_origin(annotation) is list:
        return f"a list, each {_type(typing.get_args(annotation)[0])}"
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{each}`" for each in typing.get_args(annotation))
    return names.get(annotation, "")


def _toml(value: Any) -> str:
    """Return a default as TOML writes it."""
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_none=True) or None
    return "none" if value is None or value == "" else f"`{_line(value)}`"


def _line(value: Any) -> str:
    return " ".join(tomli_w.dumps({"x": value})[4:].split()).replace("[ ", "[").replace(", ]", "]")


def _plain(default: Any) -> Any:
    """Return a declared hparam's default: the value of a size, the first name of a choice."""
    return str(plain(default)).lower() if isinstance(default, bool) else plain(default)


PAGES = {"commands.md": commands, "keys.md": keys}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
