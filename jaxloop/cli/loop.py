"""The commands of the loop."""

import csv
import math
import sys
from pathlib import Path
from typing import Any

import click

from jaxloop.cli.options import Together, as_json, one_of_several, overrides, run_folder, strict_json
from jaxloop.cli.training import start_jax, train
from jaxloop.storage.disk import refuse_taken

COLUMNS = ("id", "round", "verdict", "effect", "low", "high", "n", "level", "rho", "changed")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@overrides
@click.option("--out", type=click.Path(path_type=Path), help="The run's own folder.")
@one_of_several
@as_json
def loop(file: Path, overrides: tuple[str, ...], out: Path | None, together: Together, as_json: bool) -> None:
    """Propose configs, screen them, confirm the best on fresh seeds, and judge each, round by round."""
    from jaxloop.errors import SweepError
    from jaxloop.sweep.sweep import load

    if out:
        refuse_taken(out)
    if load(file, overrides).document.loop is None:
        raise SweepError(f"{file}: has no [loop]: `jaxloop population {file}` trains it")
    from jaxloop import api

    start_jax(together)
    ready = api.created(file, out, overrides)
    train(ready, as_json)
    if not as_json:
        _tell(ready.folder)


def _tell(run: Path) -> None:
    """Print what the loop found."""
    from jaxloop.storage.store import Store

    with Store(run) as store:
        for line in told(store.ledger()):
            click.echo(line)
    click.echo(f"jaxloop ledger {run}")


@click.command()
@run_folder
@click.option("--csv", "as_csv", is_flag=True, help="One row an experiment, as CSV on stdout.")
@as_json
def ledger(run: Path, as_csv: bool, as_json: bool) -> None:
    """Show what a loop has recorded: every experiment with its verdict."""
    from jaxloop.storage.store import Store

    with Store(run) as store:
        records = store.ledger()
    if as_json:
        click.echo(strict_json(records))
        return
    experiments = [record for record in records if record["kind"] == "experiment"]
    if as_csv:
        columns = list(dict.fromkeys(name for record in experiments for name in record if name != "kind"))
        writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(experiments)
        return
    from rich.table import Table

    from jaxloop.cli.panel import console

    table = Table(title=f"{len(experiments)} experiments")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("verdict", "changed") else "right")
    for record in experiments:
        table.add_row(*(_cell(record.get(name)) for name in COLUMNS))
    console().print(table)
    for line in told(records):
        click.echo(line)


def told(records: list[dict[str, Any]]) -> list[str]:
    """Return the noise floor, the rounds and the audit, a line each."""
    lines = []
    for record in records:
        if record["kind"] == "floor":
            lines.append(f"noise floor: sd {_cell(record['sd'])} over {record['seeds']} seeds of the baseline")
        elif record["kind"] == "round":
            successes = [
                each
                for each in records
                if each["kind"] == "experiment"
                and each["round"] == record["round"]
                and each["verdict"] == "success"
            ]
            lines.append(
                f"round {record['round']}: {record['experiments']} experiments so far, {len(successes)} successes; "
                f"incumbent {_changes(record['incumbent'])}; alpha left {record['alpha_left']:.4f}"
            )
        elif record["kind"] == "audit" and "effect" in record:
            lines.append(
                f"audit on the test split: {record['verdict']}, {record['effect']:+.4g} "
                f"[{record['low']:+.4g}, {record['high']:+.4g}] over the baseline on {record['n']} fresh seeds"
            )
        elif record["kind"] == "audit":
            lines.append("audit: no success, the baseline stays")
    return lines


def _changes(config: dict[str, Any]) -> str:
    return " ".join(f"{name}={_cell(value)}" for name, value in config.items())


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return _changes(value)
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4g}"
    return "-" if value is None else str(value)


COMMANDS = (loop, ledger)
