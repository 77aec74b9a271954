"""The commands that read a run, check it, or take something out of it."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import click

from jaxloop.cli.options import as_json, echo_in_lines, run_folder, strict_json, sweep_folder
from jaxloop.cli.training import start_jax
from jaxloop.core.finals import Final
from jaxloop.errors import SweepError
from jaxloop.formatting import NO_BREAK, counted, duration, shell_quoted, value, visible
from jaxloop.storage.destination import RUNS, refuse_existing
from jaxloop.storage.records import Member
from jaxloop.storage.run_folder import exists, provenance
from jaxloop.sweep.suggest import nearest


@click.command()
@run_folder
@as_json
def verify(run: Path, as_json: bool) -> None:
    """Check that all in a run's folder is what was written, and agrees; exit code 4 if not."""
    from jaxloop.errors import DamagedError
    from jaxloop.readers import verify as verification

    found = verification.verify(run)
    told = ", ".join(f"{kind} ({count})" for kind, count in found["checked"].items())
    click.echo(strict_json(found) if as_json else f"{run}: checked {told}")
    if found["problems"]:
        raise DamagedError("\n".join(found["problems"]))


@click.command()
@as_json
def doctor(as_json: bool) -> None:
    """Examine this machine: devices, matmul speed, memory, versions, cache, disk, clock; say what is missing."""
    from jaxloop.readers import doctor as examination

    start_jax()
    found = examination.doctor(RUNS)
    click.echo(strict_json(found) if as_json else examination.text(found))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=RUNS)
@as_json
def ls(folder: Path, as_json: bool) -> None:
    """List the runs in a folder."""
    from jaxloop.errors import DamagedError, NotFoundError
    from jaxloop.storage.overview import overview
    from jaxloop.storage.store import Store

    if not folder.is_dir() and folder != RUNS:
        raise NotFoundError(f"{folder}: no such folder")
    found, damaged = [], False
    inside = [path for path in sorted(folder.iterdir()) if path.name[0] != "."] if folder.is_dir() else []
    begun = (path for path in inside if exists(path) or provenance(path).exists())
    for run in [folder] if exists(folder) else begun:
        try:
            with Store(run) as store:
                found.append(overview(store))
        except DamagedError as error:
            damaged = True
            click.echo(f"jaxloop: {error}", err=True)
    if as_json:
        click.echo(strict_json([each.json() for each in found]))
    elif not found and not damaged:
        click.echo(f"no runs in {folder}; `jaxloop population SWEEP` makes one", err=True)
    for each in () if as_json else found:
        state = each.state
        words = state.counts_in_words()
        shown = [name for name in COUNTED if words.get(name) or name in ALWAYS]
        counts = [f"{words[name]} {name}" for name in shown]
        best = "-" if each.best is None else f"{each.best:.4f}"
        share = "" if each.share_done is None else f" {each.share_done:.0%}"
        trained = f"{duration(each.seconds)} of training"
        standing = [each.written(), f"{state.in_words()}{share}", trained, each.task]
        members = counted(sum(state.counts.values()), "member")
        parts = [visible(state.run), *standing, f"{state.metric} {best}", members, *counts]
        echo_in_lines("  ".join(part.replace(" ", NO_BREAK) for part in parts))


@click.command()
@click.argument("target", metavar="RUN[/MEMBER]", type=click.Path(path_type=Path))
@click.argument("member", required=False)
@click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help='Such as "width>=64"; all have to hold, if given twice.',
)
@click.option("--sort", metavar="NAME", help="An hparam, metric, number, status or step; -NAME: largest first.")
@click.option("-k", type=click.IntRange(1), help="How many members.")
@click.option("--csv", "as_csv", is_flag=True, help="All hparams and metrics of each member, as CSV on stdout.")
@as_json
def show(
    target: Path,
    member: str | None,
    where: tuple[str, ...],
    sort: str | None,
    k: int | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show a run's members, or one member: `show RUN 3` or `show RUN/3`."""
    from jaxloop.cli.select import selected
    from jaxloop.readers import rows
    from jaxloop.storage.state import state
    from jaxloop.storage.store import Store

    of_a_run = exists(target.parent) and not exists(target)
    run, label = (target.parent, target.name) if of_a_run else (target, member)
    with Store(run) as store:
        if label is not None:
            if where or sort or k or as_csv:
                raise click.UsageError("--where, --sort, -k and --csv go with a run, not with one member")
            found = store.member(label)
            facts = asdict(found)
            in_words = {**facts, "status": state(store).status_in_words(found.status)}
            click.echo(strict_json(facts) if as_json else _member_text(in_words))
            return
        every = store.members()
        members = selected(every, where, sort, k)
        if as_json:
            click.echo(strict_json({**state(store).json(), "members": [asdict(member) for member in members]}))
            return
        if as_csv:
            click.echo(rows.as_csv(rows.of_members(members)), nl=False)
            return
        for line in _table(members, store.metric, store.varied, state(store).status_in_words):
            click.echo(line)
        if where and not members:
            click.echo(f"{run}: none of {counted(len(every), 'member')} meets {' and '.join(where)}", err=True)
        _remark(store)


def _table(
    members: list[Member], metric: str, varied: list[str], status_in_words: Callable[[str], str]
) -> list[str]:
    """Return a line for each member behind a heading, in columns."""
    from jaxloop.readers.terminal.panel import console
    from jaxloop.readers.terminal.tables import in_columns, left_out_lines

    rows = []
    for member in members:
        measured = member.metrics.get(metric)
        facts = [f"{member.number:04d}", status_in_words(member.status), str(member.step)]
        hparams = [value(member.hparams.get(name)) for name in varied]
        rows.append([*facts, "-" if measured is None else f"{measured:.4f}", *hparams])
    width = console().width
    lines, left_out = in_columns(["member", "status", "step", metric, *varied], rows, width)
    return [*lines, *left_out_lines(left_out, width)]


def _member_text(member: dict[str, Any]) -> str:
    """Return a member's facts, a line each; then its hparams and its last metrics, by name."""
    facts = {name: member[name] for name in ("number", "id", "config", "status", "step", "folder", "final_folder")}
    parts = {"member": facts, "hparams": member["hparams"], "metrics": member["metrics"]}
    lines = []
    for heading, values in parts.items():
        named = {name: "-" if value is None else visible(str(value)) for name, value in values.items()}
        lines += [heading, *(f"  {name:22} {value}" for name, value in named.items())]
    return "\n".join(lines)


def _remark(store: Any) -> None:
    """Print what a reader of results should know about the run."""
    from jaxloop.storage.state import state

    found = state(store)
    if found.status != "finished":
        click.echo(f"{found.run} is {found.in_words()}", err=True)
    for drift in found.drift:
        told = "; ".join(drift["changes"])
        click.echo(f"{found.run}: from turn {drift['turn']} on trained after a change: {told}", err=True)


@click.command()
@run_folder
@click.option("-k", type=click.IntRange(1), default=5, help="How many configs.")
@click.option("--metric", help="Rank by this metric instead of the sweep's.")
@click.option("--mode", type=click.Choice(["max", "min"]), help="Whether more or less is better.")
@as_json
def best(run: Path, k: int, metric: str | None, mode: str | None, as_json: bool) -> None:
    """Configs ranked by their mean over seeds, with its standard error."""
    from jaxloop.storage.ranking import direction_of, not_finite, ranked, require_metric, with_finite_mean
    from jaxloop.storage.store import Store

    with Store(run) as store:
        metric = str(metric or store.metric)
        require_metric(store, metric)
        better, trains = direction_of(store, metric, mode), store.trains
        found = ranked(store, metric, better, so_far=trains)
        for told in not_finite(found, metric):
            click.echo(f"{run}: {told}", err=True)
        if as_json:
            click.echo(strict_json([asdict(config) for config in found[:k]]))
            return
        rows = with_finite_mean(found)[:k]
        if not rows and trains and not len(store.steps()):
            click.echo(f"{run}: nothing has been measured yet", err=True)
            return
        if not rows:
            shown = f"`jaxloop show {shell_quoted(run)}` lists the members"
            click.echo(f"no member has a finite {metric}; {shown}", err=True)
            return
        from jaxloop.experiments.headline import headline
        from jaxloop.readers.terminal.panel import console
        from jaxloop.readers.terminal.tables import best_table

        steps, screen = store.steps().tolist(), console()
        so_far = f", so far (step {steps[-1]} at most)" if trains and steps else ""
        screen.print(best_table(rows, store.varied, metric, screen.width, so_far))
        if store.ledger():
            echo_in_lines("these means include the seeds on which configs were selected; the loop's own result:")
            for line in headline(store):
                echo_in_lines(f"  {line}", 4 * " ")
        _remark(store)


@click.command()
@run_folder
@click.argument("member")
@sweep_folder
@as_json
def replay(run: Path, member: str, folder: Path | None, as_json: bool) -> None:
    """Train one member alone and compare its curves with the recorded ones; the exit code is 0 all the same."""
    from jaxloop import api
    from jaxloop.training.replay import train_alone

    loaded = api.load(run, folder=folder)
    number = loaded.store.member(member).number
    start_jax(run=run)
    found = train_alone(*loaded.sweep_and_task, loaded.store, number)
    text = (
        "member {member}: trained alone for {steps} steps; {points} measured values are in both curves, "
        "{missing} in one only; largest difference {largest_difference:g}"
    )
    click.echo(strict_json(found) if as_json else text.format(**found))
    for change in found["drift"]:
        click.echo(f"{run}: not as it was when the run was last started: {change}", err=True)


@click.command()
@run_folder
@click.argument("what", metavar="MEMBER|members|curves")
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@sweep_folder
@click.option(
    "--kind",
    type=click.Choice(get_args(Final)),
    default="params",
    show_default=True,
    help="Final parameters, their average over steps, the state kept with them, or those of the best evaluation.",
)
def export(run: Path, what: str, out: Path, folder: Path | None, kind: Final) -> None:
    """Write a member's final parameters, or all members or curves as a table.

    MEMBER: into a folder, an orbax checkpoint, or into a file OUT.safetensors. `members`, `curves`: into a file
    whose suffix says how, .csv, .json or .parquet.
    """
    from jaxloop import api
    from jaxloop.readers import rows
    from jaxloop.storage.store import Store

    if what not in TABLES and out.suffix in (".csv", ".json", ".parquet"):
        rule = f"{out.suffix} is for the tables {' and '.join(TABLES)}; a member's parameters go into a folder or"
        raise SweepError(f"{out}: {rule} OUT.safetensors, got {what!r}{nearest(what, TABLES)}")
    refuse_existing(out)
    if what in TABLES:
        with Store(run) as store:
            rows.write(rows.of_members(store.members()) if what == "members" else rows.of_curves(store), out)
    else:
        api.export(run, what, out, folder=folder, kind=kind)
    click.echo(out)


TABLES = ("members", "curves")  # that `export` writes
COUNTED = ("finished", "stopped", "paused", "diverged", "unfinished")
ALWAYS = ("finished", "diverged")  # counts that `ls` shows even where they are 0
COMMANDS = (verify, doctor, ls, show, best, replay, export)
