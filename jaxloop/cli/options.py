"""What several commands take, and the one way in which they give JSON."""

import functools
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
overrides = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the sweep with a TOML value.",
)
sweep_file = click.argument("file", type=click.Path(path_type=Path))
run_folder = click.argument("run", type=click.Path(path_type=Path))
sweep_folder = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Where the sweep's task and data are now, if they have been moved without the run.",
)

Together = tuple[str | None, int | None, int | None]  # coordinator, processes, process
ALONE: Together = (None, None, None)


def one_of_several(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a process that trains a run together with others, as its `together`."""

    @click.option("--coordinator", metavar="HOST:PORT", help="Where the first of several processes listens.")
    @click.option("--processes", type=click.IntRange(1), help="How many processes train the run together.")
    @click.option("--process", type=click.IntRange(0), help="Which of them this is, from 0 on.")
    @functools.wraps(command)
    def checked(coordinator: str | None, processes: int | None, process: int | None, **arguments: Any) -> None:
        if None in (coordinator, processes, process) and (coordinator, processes, process) != ALONE:
            raise click.UsageError("--coordinator, --processes and --process go together")
        if process is not None and processes is not None and process >= processes:
            raise click.UsageError(f"--process: needs to be below --processes {processes}, got {process}")
        if coordinator is not None and not re.fullmatch(r".+:\d+", coordinator):
            raise click.UsageError(f"--coordinator: needs HOST:PORT, got {coordinator}")
        command(**arguments, together=(coordinator, processes, process))

    return checked


def echo_in_lines(text: str, indent: str = "  ", *, err: bool = False) -> None:
    """Print a text in lines that fit the terminal; none breaks within a word, or a command in backticks."""
    from jaxloop.readers.terminal.panel import console
    from jaxloop.readers.terminal.tables import in_lines

    width = console(stderr=err).width
    for paragraph in text.splitlines():
        for line in in_lines(paragraph, width, indent) or [""]:
            click.echo(line, err=err)


def strict_json(document: Any) -> str:
    """Strict JSON: what is not finite was not measured, null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(plain(document), allow_nan=False)
