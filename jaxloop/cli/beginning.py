"""The commands at both ends of a project: files to start from, and disk space to get back."""

from collections import Counter
from importlib.resources import files
from pathlib import Path

import click

from jaxloop.cli.options import as_json, strict_json
from jaxloop.formatting import scaled

TEMPLATES = ("sweep.toml", "task.py", "loop.toml")


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Write a commented sweep, a task and a loop to start from; they run as they are."""
    from jaxloop.errors import SweepError

    taken = [folder / name for name in TEMPLATES if (folder / name).exists()]
    if taken or (folder.exists() and not folder.is_dir()):
        raise SweepError(f"{taken[0] if taken else folder}: exists already; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for name in TEMPLATES:
        text = files("jaxloop.cli").joinpath("templates", name).read_text(encoding="utf-8")
        (folder / name).write_text(text, encoding="utf-8")
        click.echo(folder / name)
    click.echo(f"jaxloop population {folder / TEMPLATES[0]}\njaxloop loop {folder / TEMPLATES[2]}")


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Delete; without it, only say what would be.")
@click.option("--all", "whole", is_flag=True, help="The whole run, not its checkpoints and parameters alone.")
@as_json
def clean(runs: tuple[Path, ...], yes: bool, whole: bool, as_json: bool) -> None:
    """Delete what takes space in ended runs; results, curves and the sweep stay unless --all is given."""
    from jaxloop.errors import NotFoundError, SweepError
    from jaxloop.storage import cleaning
    from jaxloop.storage.run_folder import exists

    for run in runs:
        if not exists(run):
            raise NotFoundError(f"{run}: no run is there; `jaxloop ls` lists those in a folder")
    distinct = {run.resolve(): run for run in reversed(runs)}
    found = [cleaning.plan(run, whole=whole) for run in reversed(distinct.values())]
    unfinished = [str(each.run) for each in found if not each.has_ended]
    if unfinished and not whole:
        have = f"{', '.join(unfinished)}: {'have' if len(unfinished) > 1 else 'has'} members left to train"
        others = "; the others were left as they are" if len(found) > len(unfinished) else ""
        raise SweepError(f"{have}, which need checkpoints; --all deletes whole runs{others}")
    for each in found:
        if yes:
            cleaning.clean(each)
    if as_json:
        click.echo(strict_json([{**each.json(), "deleted": yes} for each in found]))
        return
    for each in found:
        held = Counter("the whole run" if path == each.run else path.name for path in each.paths)
        names = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in held.items()) or "nothing"
        click.echo(f"{each.run}: {'deleted' if yes else 'would delete'} {names}, {scaled(each.size)}B")
    if not yes and any(each.paths for each in found):
        click.echo("nothing has been deleted: --yes deletes all of this", err=True)


COMMANDS = (init, clean)
