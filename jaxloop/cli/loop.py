"""The commands of the loop."""

import csv
import sys
from pathlib import Path

import click

from jaxloop.cli.options import (
    Together,
    as_json,
    echo_in_lines,
    one_of_several,
    overrides,
    run_folder,
    strict_json,
)
from jaxloop.cli.training import end, shown, start_jax, train
from jaxloop.errors import INTERRUPTED
from jaxloop.readers.terminal.ledger import experiments_table, summary_lines
from jaxloop.storage.destination import refuse_taken


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@overrides
@click.option("--out", type=click.Path(path_type=Path), help="The run's own folder.")
@one_of_several
@as_json
def loop(file: Path, overrides: tuple[str, ...], out: Path | None, together: Together, as_json: bool) -> None:
    """Propose configs, screen them, confirm the best on fresh seeds, and judge each, round by round."""
    from jaxloop.sweep.sweep import check_kind, load

    if out:
        refuse_taken(out)
    with shown(as_json, together) as panel:
        panel.phase(f"reading {file}")
        check_kind(load(file, overrides), is_loop=True)
        panel.phase("starting JAX")
        from jaxloop import api

        start_jax(together)
        panel.phase("reading data")
        summary = train(api.created(file, out, overrides, is_loop=True), panel)
    end(summary, as_json)


@click.command()
@run_folder
@click.option("--csv", "as_csv", is_flag=True, help="One row an experiment, as CSV on stdout.")
@as_json
def ledger(run: Path, as_csv: bool, as_json: bool) -> None:
    """Show what a loop has recorded: every experiment with its verdict."""
    from jaxloop.errors import SweepError
    from jaxloop.storage.store import Store

    with Store(run) as store:
        records = store.ledger()
        if not records and not store.is_loop:
            raise SweepError(f"{run}: has no [loop], and so no ledger; `jaxloop best` ranks its configs")
    if as_json:
        click.echo(strict_json(records))
        return
    experiments = [record for record in records if record["kind"] == "experiment"]
    if as_csv:
        columns = list(dict.fromkeys(name for record in experiments for name in record if name != "kind"))
        writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore")
        writer.writeheader()
        for record in experiments:
            nested = {name: strict_json(cell) for name, cell in record.items() if isinstance(cell, dict | list)}
            writer.writerow(record | nested)
        return
    from jaxloop.readers.terminal.panel import console

    screen = console()
    for part in experiments_table(experiments, screen.width):
        screen.print(part, markup=False, highlight=False)
    for line in summary_lines(records):
        echo_in_lines(line)


@click.command("try")
@run_folder
@click.option(
    "--set",
    "changed",
    multiple=True,
    metavar="HPARAM=VALUE",
    help="What differs from the incumbent.",
)
@click.option(
    "--task", default="", metavar="FILE.py:NAME", help="Task that trains the changed config, in a separate run."
)
@click.option("--because", required=True, help="The hypothesis, in words.")
@click.option("--expect", "expected", type=float, help="The effect that is predicted, in units of the metric.")
@click.option("--plan", "planned", type=click.IntRange(1), help="How many tries are planned in all.")
@as_json
def attempt(
    run: Path,
    changed: tuple[str, ...],
    task: str,
    because: str,
    expected: float | None,
    planned: int | None,
    as_json: bool,
) -> None:
    """Test one hypothesis against a loop's incumbent; the exit code is the verdict's."""
    from jaxloop import api
    from jaxloop.experiments.verdict import EXIT_CODES, Outcome
    from jaxloop.readers.terminal.panel import Panel

    if not changed and not task:
        raise click.UsageError("needs --set, what differs from the incumbent, or --task, other code")
    with Panel(to_stderr=True, tells_rounds=False) as panel:
        panel.phase("starting JAX")
        start_jax(run=run)
        loaded, ready = api.attempted(run, changed, because, expected=expected, planned=planned, task=task)
        panel.varied = ready.sweep.varied
        before = summary_lines(loaded.ledger)
        signal = ready.train(panel).signal
    with loaded:
        if signal:
            sys.exit(INTERRUPTED + signal)
        records = loaded.ledger
    record = records[-1]
    if as_json:
        click.echo(strict_json(record))
    else:
        for line in summary_lines(records)[len(before) :]:
            echo_in_lines(line)
    sys.exit(EXIT_CODES[Outcome(record["verdict"])])


@click.command("next")
@run_folder
@as_json
def advice(run: Path, as_json: bool) -> None:
    """Say what a run's results suggest to try next: importances, ends of axes, gaps, open questions."""
    from jaxloop import api

    found = api.advice(run)
    if as_json:
        click.echo(strict_json([each.json() for each in found]))
        return
    for each in found:
        echo_in_lines(f"{each.kind + ':':12} {each.says}", 13 * " ")


COMMANDS = (loop, attempt, ledger, advice)
