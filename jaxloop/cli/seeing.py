"""The commands that show results as a whole: a page, a comparison of runs, TensorBoard."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jaxloop.cli.options import as_json, echo_in_lines, run_folder, strict_json
from jaxloop.formatting import counted, value

if TYPE_CHECKING:
    from jaxloop.experiments.comparison import Comparison

several_runs = click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.command()
@several_runs
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), help="The file; by default RUN's name and .html, here."
)
@click.option("--png", type=click.Path(path_type=Path), help="Also draw the figures as PNG, into this folder.")
@click.option("--svg", type=click.Path(path_type=Path), help="Also draw the figures as SVG, into this folder.")
@as_json
def report(runs: tuple[Path, ...], out: Path | None, png: Path | None, svg: Path | None, as_json: bool) -> None:
    """Write one HTML file about one run or several: it needs no network, and no jaxloop."""
    from jaxloop import api

    drawn: list[Path] = []
    for folder, kind in ((png, "png"), (svg, "svg")):
        if folder:
            drawn += api.draw(*runs, out=folder, kind=kind)
    written = api.report(*runs, out=out)
    if as_json:
        click.echo(strict_json({"report": str(written), "figures": [str(path) for path in drawn]}))
        return
    for path in (written, *drawn):
        click.echo(path)


@click.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--metric", help="Compare by this metric instead of the first run's.")
@click.option("--mode", type=click.Choice(["max", "min"]), help="Whether more or less is better.")
@click.option("-k", type=click.IntRange(1), default=20, help="How many configs.")
@as_json
def compare(first: Path, second: Path, metric: str | None, mode: str | None, k: int, as_json: bool) -> None:
    """Compare the configs of two runs, paired by seed: the second's effect over the first."""
    from jaxloop import api

    found = api.compare(first, second, metric=metric, mode=mode)
    if as_json:
        click.echo(strict_json(found.json()))
        return
    _tell(found, k)


def _tell(found: "Comparison", k: int) -> None:
    """Print a comparison as a table, with what it leaves out."""
    from jaxloop.readers.terminal.ledger import cell
    from jaxloop.readers.terminal.panel import console
    from jaxloop.readers.terminal.tables import fitted

    better = "more" if found.mode == "max" else "less"
    title = f"{found.runs[1]} over {found.runs[0]}, by {found.metric}: {better} is better"
    names = list(dict.fromkeys(name for each in found.differences for name in each.hparams))
    headings = [*names, "seeds", "first", "second", "effect", "interval", "verdict"]
    rows, screen = [], console()
    if found.caution:
        echo_in_lines(found.caution)
    for each in found.differences[:k]:
        interval = "-" if each.verdict is None else f"[{cell(each.low)}, {cell(each.high)}]"
        measured = (cell(each.first), cell(each.second), cell(each.effect), interval)
        values = [value(each.hparams.get(name)) for name in names]
        rows.append([*values, str(each.seeds), *measured, each.said()])
    if found.differences:
        screen.print(fitted(title, headings, rows, screen.width, left=("verdict",)))
        echo_in_lines("simultaneous 95% intervals (Bonferroni); an effect above 0 is better")
    if len(found.differences) > k:
        rest = counted(len(found.differences) - k, "config")
        echo_in_lines(f"{rest} with worse means in both runs not shown: `-k {len(found.differences)}` shows all")
    summary = [f"{counted(len(found.differences), 'config')} in both runs"]
    summary += [f"{count} only in {run}" for count, run in zip(found.only, found.runs, strict=True) if count]
    unfinished = zip(found.unfinished, found.runs, strict=True)
    summary += [f"{counted(count, 'member')} of {run} without a result" for count, run in unfinished if count]
    echo_in_lines("; ".join(summary))
    if not found.differences:
        echo_in_lines("a config is in both if the hparams that vary in either run, and some seeds, are the same")
    for name, values in (found.hparams | found.provenance).items():
        echo_in_lines(f"differs: {name}: {values[0]} in the first, {values[1]} in the second")


@click.command()
@several_runs
@click.option("--all", "every", is_flag=True, help="Show all members, not the best alone.")
@click.option("--members", help="Show these members alone, such as 3,17.")
@click.option("--port", type=click.IntRange(0, 65535), default=6006, help="0: any that is free.")
def tb(runs: tuple[Path, ...], every: bool, members: str | None, port: int) -> None:
    """Start TensorBoard on the summary and the best 24 members of a run, or on fewer of each of several runs.

    Of a config with more than 12 seeds, as a loop's have, 4 are shown.
    """
    from jaxloop.readers import board

    numbers = [part.strip() for part in members.split(",")] if members else None
    with board.logdir(runs, every=every, members=numbers) as shown:
        port = board.port(port)
        command = board.command(shown.path, port)
        click.echo(f"{shlex.join(command)}\n{board.address(runs[0], port)}")
        for run, (few, all_of_it) in shown.counts.items():
            if few < all_of_it:
                echo_in_lines(f"{run}: {few} of {counted(all_of_it, 'member')} are shown, `--all` shows all")
        click.echo("Ctrl-C ends it")
        sys.exit(board.serve(command, shown))


@click.command()
@run_folder
@click.option("--every", type=click.FloatRange(0.1), default=2.0, help="Seconds between refreshes.")
@click.option("--once", is_flag=True, help="Print one snapshot and exit.")
def watch(run: Path, every: float, once: bool) -> None:
    """Watch a run from another terminal: progress, best configs, a curve, a heatmap. Into a pipe: once."""
    from jaxloop.cli.watching import watch as watching

    watching(run, every, once=once)


COMMANDS = (report, compare, tb, watch)
