"""The commands that train, and the plan of it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jaxloop.cli.options import (
    Together,
    as_json,
    echo_in_lines,
    one_of_several,
    overrides,
    run_folder,
    strict_json,
    sweep_file,
    sweep_folder,
)
from jaxloop.errors import INTERRUPTED, NO_MEMBER_FINISHED
from jaxloop.formatting import counted, shell_quoted
from jaxloop.storage.destination import RUNS, refuse_taken
from jaxloop.storage.records import ENDED

if TYPE_CHECKING:
    from jaxloop.api import Ready
    from jaxloop.readers.terminal.panel import Panel
    from jaxloop.training.summary import Summary


@click.command()
@sweep_file
@overrides
@click.option("--seeds", type=click.IntRange(1), help="Short for --set axes.seed.count=N.")
@click.option("--compile", is_flag=True, help="Compile the programs, and measure instead of estimating.")
@as_json
def plan(file: Path, overrides: tuple[str, ...], seeds: int | None, compile: bool, as_json: bool) -> None:
    """Plan a sweep or a loop: members, programs, memory, disk, FLOPs. Nothing is run or written."""
    from jaxloop.sweep.sweep import load

    overrides = _with_seeds(overrides, seeds)
    load(file, overrides)  # its errors come before JAX is loaded
    from jaxloop.api import planned
    from jaxloop.training import plan as planning

    found = planned(file, overrides, compile=compile)
    if as_json:
        click.echo(strict_json(found.json()))
    else:
        echo_in_lines(planning.text(found), 6 * " ")


@click.command()
@sweep_file
@overrides
@click.option("--name", help="The run's name under runs/; by default the sweep file's.")
@click.option("--out", type=click.Path(path_type=Path), help="The run's own folder.")
@click.option("--seeds", type=click.IntRange(1), help="Short for --set axes.seed.count=N.")
@one_of_several
@as_json
def population(
    file: Path,
    overrides: tuple[str, ...],
    name: str | None,
    out: Path | None,
    seeds: int | None,
    together: Together,
    as_json: bool,
) -> None:
    """Train all members of a sweep at the same time."""
    from jaxloop.sweep.sweep import check_kind, load

    if name and (Path(name).name != name or name[0] == "."):
        raise click.UsageError(f"--name: needs a name without folders or a leading dot, got {name}; see --out")
    if name and out:
        raise click.UsageError("--name and --out both say where the run goes: give one")
    chosen = out or (RUNS / name if name else None)
    if chosen:
        refuse_taken(chosen)
    with shown(as_json, together) as panel:
        panel.phase(f"reading {file}")
        overrides = _with_seeds(overrides, seeds)
        check_kind(load(file, overrides), is_loop=False)  # its errors come before JAX is loaded
        panel.phase("starting JAX")
        from jaxloop import api

        start_jax(together)
        panel.phase("reading data")
        summary = train(api.created(file, chosen, overrides), panel)
    end(summary, as_json)


def _with_seeds(overrides: tuple[str, ...], seeds: int | None) -> tuple[str, ...]:
    return (*overrides, f"axes.seed.count={seeds}") if seeds else overrides


def start_jax(together: Together | None = None, run: Path | None = None) -> None:
    """Set JAX up, as a run had it, if there is one; join the other processes of a command that trains."""
    from jaxloop import api
    from jaxloop.training import host, processes

    if together is not None:
        processes.join(*together)
    if run is None:
        host.prepare()
    else:
        api.prepare_for(run)
    if processes.are_several():
        processes.meet()


@click.command()
@run_folder
@overrides
@click.option("--allow-drift", is_flag=True, help="Go on although code, data or libraries have changed.")
@sweep_folder
@one_of_several
@as_json
def resume(
    run: Path,
    overrides: tuple[str, ...],
    allow_drift: bool,
    folder: Path | None,
    together: Together,
    as_json: bool,
) -> None:
    """Go on with a run from its last whole checkpoint; --set may give it more members or steps."""
    with shown(as_json, together) as panel:
        panel.phase("starting JAX")
        from jaxloop import api

        start_jax(together, run)
        panel.phase(f"reading {run}")
        loaded, ready = api.resumed(run, overrides, folder)
        with loaded:
            members = loaded.store.members()
        unchanged = ready.sweep.members == [member.hparams for member in members]
        if unchanged and all(member.status in ENDED for member in members):
            panel.tell([f"{run}: nothing is left to train"])
        summary = train(ready, panel, allow_drift=allow_drift)
    end(summary, as_json)


@click.command()
@run_folder
@overrides
@click.option("--out", type=click.Path(path_type=Path), help="The new run's own folder; by default beside RUN.")
@sweep_folder
@one_of_several
@as_json
def fork(
    run: Path, overrides: tuple[str, ...], out: Path | None, folder: Path | None, together: Together, as_json: bool
) -> None:
    """Start a new run from the sweep of another, with today's code, data and libraries."""
    if out:
        refuse_taken(out)
    with shown(as_json, together) as panel:
        panel.phase("starting JAX")
        from jaxloop import api

        start_jax(together)
        panel.phase("reading data")
        summary = train(api.forked(run, out, overrides, folder), panel)
    end(summary, as_json)


def shown(as_json: bool, together: Together) -> "Panel":
    """Return the panel of a command that trains; of several processes, only the first shows one."""
    from jaxloop.readers.terminal.panel import Panel

    return Panel(to_stderr=as_json, quiet=together[2] not in (None, 0))


def train(ready: "Ready", panel: "Panel", *, allow_drift: bool = False) -> "Summary":
    """Train a run with a live panel, and return how it ended."""
    from jaxloop.storage.store import Store
    from jaxloop.training import processes

    if not processes.leads():
        return ready.train(allow_drift=allow_drift)
    panel.varied = ready.sweep.varied
    begins = "a loop that begins with " if ready.sweep.document.loop else ""
    panel.say(f"{ready.folder}: {begins}{counted(len(ready.sweep.members), 'member')}")
    with Store(ready.folder) as store:
        panel.tell(store.notes if store.status == "created" else [])
    summary = ready.train(panel, allow_drift=allow_drift)
    panel.tell(summary.notes)
    return summary


def end(summary: "Summary", as_json: bool) -> None:
    """Print how a run ended, and exit with the code that says so."""
    from jaxloop.readers.terminal.output import ignoring_broken_pipe
    from jaxloop.training import processes

    if processes.leads():
        with ignoring_broken_pipe(sys.stdout):
            if as_json:
                click.echo(strict_json(summary.json()))
            else:
                _tell(summary)
    if summary.signal:
        sys.exit(INTERRUPTED + summary.signal)
    if processes.leads() and summary.finished == 0:
        why = "all diverged" if not summary.stopped else "all diverged or were stopped"
        click.echo(f"jaxloop: no member finished: {why}", err=True)
        sys.exit(NO_MEMBER_FINISHED)


def _tell(summary: "Summary") -> None:
    """Print how a run ended, and the next useful commands."""
    from jaxloop.experiments.headline import headline
    from jaxloop.readers.terminal.panel import console
    from jaxloop.readers.terminal.tables import best_table
    from jaxloop.storage.store import Store

    with Store(Path(summary.run)) as store:
        is_loop = bool(store.ledger())
        found = headline(store) if is_loop else []
    for line in found:  # a table would mix configs of one seed with those of many
        echo_in_lines(line)
    if summary.best and not is_loop:
        screen = console()
        screen.print(best_table(summary.best[:5], summary.varied, summary.metric, screen.width))
    stopped = f", {summary.stopped} stopped" if summary.stopped else ""
    members = counted(summary.members, "member")
    echo_in_lines(
        f"{summary.finished} finished{stopped}, {summary.diverged} diverged of {members} in "
        f"{summary.seconds:.1f} s of training (compiled in {summary.compile_seconds:.1f} s): "
        f"{summary.member_steps_per_second:,.0f} member-steps/s"
        + (f", {summary.share_of_peak:.0%} of the matmul peak" if summary.share_of_peak is not None else "")
    )
    if summary.signal:
        done = (
            "what is done is" if is_loop else f"{summary.share_done:.0%} of the steps are done and"
        )  # a loop's total is not known
        echo_in_lines(f"interrupted: {done} saved; `resume` goes on from there")
    run = shell_quoted(summary.run)
    reads = ["report", "tb", "ledger" if is_loop else "best"]
    verbs = ["resume"] if summary.signal else reads if summary.best else ["show"]
    for verb in verbs:
        click.echo(f"jaxloop {verb} {run}")


COMMANDS = (plan, population, resume, fork)
