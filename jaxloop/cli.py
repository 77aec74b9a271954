"""The command line: parses, calls, prints. JAX is loaded only by commands that need it.

Exit codes: 0 done, 2 bad usage or sweep, 3 not found, 4 damaged or incompatible data, 5 out of memory or
disk, 6 no member finished finite, 7 run is locked, 8 another process stopped, 130/143 interrupted (state saved).
"""

import functools
import json
import math
import re
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from jaxloop import __version__
from jaxloop.errors import INTERRUPTED, NO_MEMBER_FINISHED, JaxloopError, ResourceError, is_out_of_resources

EPILOG = (
    "Exit codes: 0 done, 2 bad usage or sweep, 3 not found, 4 damaged or incompatible data, 5 out of memory or "
    "disk, 6 no member finished finite, 7 run is locked, 8 another process stopped, 130/143 interrupted (state "
    "saved)."
)
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


Together = tuple[str | None, int | None, int | None]  # coordinator, processes, process
TOLD = 300  # characters of a library's own words
ALONE: Together = (None, None, None)


def one_of_several(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of a process that trains a run together with others, as its `together`."""

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


def main() -> None:
    """The `jaxloop` command: errors a user can act on are one message and an exit code."""
    sys.unraisablehook = _told_once
    try:
        code = _code()
    except Exception:  # a fault of ours
        traceback.print_exc()
        code = 1
    if code and code < INTERRUPTED and "jaxloop.processes" in sys.modules:
        from jaxloop import processes

        if processes.are_several():
            processes.leave(code)
    sys.exit(code)


def _told_once(unraisable: Any) -> None:
    """Leaves out what tensorstore's threads say of a save or restore that failed, which orbax raises too."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def _code() -> int:
    """Runs the command; its exit code."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort:
        return INTERRUPTED + 2
    except click.ClickException as error:
        error.show()
        return 2
    except SystemExit as stop:
        return int(stop.code or 0)
    except JaxloopError as error:
        click.echo(f"jaxloop: {error}", err=True)
        return error.code
    except Exception as error:  # libraries say it in their own types
        if not is_out_of_resources(error):
            raise
        hint = "The last checkpoint is whole: make room, then `jaxloop resume RUN` goes on from it."
        click.echo(f"jaxloop: out of memory or disk: {str(error)[:TOLD]}\n{hint}", err=True)
        return ResourceError.code
    return 0


@click.group(epilog=EPILOG)
@click.version_option(__version__)
def cli() -> None:
    """Hundreds of training runs as one XLA program."""


@cli.command()
@sweep_file
@overrides
@click.option("--seeds", type=click.IntRange(1), help="Short for --set axes.seed.count=N.")
@as_json
def plan(file: Path, overrides: tuple[str, ...], seeds: int | None, as_json: bool) -> None:
    """What a sweep would do: members, programs, memory, disk, FLOPs. Nothing is run or written."""
    checked, task = _read(file, overrides, seeds)
    from jaxloop import planned

    found = planned.plan(checked, task)
    click.echo(_json(found) if as_json else planned.text(found))


@cli.command()
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
    checked, task = _read(file, overrides, seeds, together)
    from jaxloop import api, create

    folder = out or (Path("runs") / name if name else api.free_folder(checked.name))
    create.create(checked, task, folder)
    _train(folder, checked, task, as_json)


def _read(
    file: Path, overrides: tuple[str, ...], seeds: int | None, together: Together | None = None
) -> tuple[Any, Any]:
    """A sweep and its task; what is wrong in the file is told before JAX is loaded."""
    from jaxloop.sweep import load

    overrides = (*overrides, f"axes.seed.count={seeds}") if seeds else overrides
    load(file, overrides)
    from jaxloop import api

    _start_jax(together)
    return api.read(file, overrides)


def _start_jax(together: Together | None = None) -> None:
    """Sets JAX up, and joins the other processes of a command that trains."""
    from jaxloop import processes
    from jaxloop.devices import prepare

    prepare()
    if together is not None:
        processes.join(*together)


@cli.command()
@run_folder
@overrides
@click.option("--allow-drift", is_flag=True, help="Go on although code, data or libraries have changed.")
@one_of_several
@as_json
def resume(run: Path, overrides: tuple[str, ...], allow_drift: bool, together: Together, as_json: bool) -> None:
    """Go on with a run from its last whole checkpoint; --set may give it more members."""
    from jaxloop import api

    loaded = api.load(run)
    was_finished = loaded.store.get("status") == "finished"
    _start_jax(together)
    _train(run, *loaded.changed(overrides), as_json, allow_drift=allow_drift)
    if was_finished and not overrides:
        click.echo(f"{run} was finished already: nothing was left to train", err=True)


@cli.command()
@run_folder
@overrides
@click.option("--out", type=click.Path(path_type=Path), help="The new run's own folder; by default beside RUN.")
@as_json
def fork(run: Path, overrides: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Start a new run from the sweep of another, with today's code, data and libraries."""
    from jaxloop import api

    _start_jax()
    folder, checked, task = api.forked(run, out, overrides)
    _train(folder, checked, task, as_json)


def _train(folder: Path, checked: Any, task: Any, as_json: bool, *, allow_drift: bool = False) -> None:
    from jaxloop import processes, runner
    from jaxloop.panel import Panel, best_table

    if not processes.leads():
        if signal := runner.train(folder, checked, task, allow_drift=allow_drift)["signal"]:
            sys.exit(INTERRUPTED + signal)
        return
    with Panel(checked.varied, to_stderr=as_json) as panel:
        summary = runner.train(folder, checked, task, panel, allow_drift=allow_drift)
    signal = summary.pop("signal")
    if as_json:
        click.echo(_json(summary))
    else:
        if summary["best"]:
            panel.console.print(best_table(summary["best"][:5], checked.varied, summary["metric"]))
        click.echo(
            f"{summary['finished']} finished, {summary['diverged']} diverged of {summary['members']} members in "
            f"{summary['seconds']:.1f} s of training (compiled in {summary['compile_seconds']:.1f} s): "
            f"{summary['member_steps_per_second']:,.0f} member-steps/s"
        )
        if signal:
            done = f"{summary['share_done']:.0%} of the steps are done and saved"
            click.echo(f"interrupted: {done}; `resume` goes on from there")
        verb = "resume" if signal else "best" if summary["best"] else "show"
        logdir = shlex.quote(str(folder / "members"))
        click.echo(f"tensorboard --logdir {logdir}\njaxloop {verb} {shlex.quote(str(folder))}")
    if signal:
        sys.exit(INTERRUPTED + signal)
    if summary["finished"] == 0:
        click.echo("jaxloop: no member finished: all diverged", err=True)
        sys.exit(NO_MEMBER_FINISHED)


@cli.command()
@run_folder
@as_json
def verify(run: Path, as_json: bool) -> None:
    """Check that all in a run's folder is what was written, and agrees; exit code 4 if not."""
    from jaxloop import verify as verification
    from jaxloop.errors import DamagedError

    found = verification.verify(run)
    told = ", ".join(f"{count} {kind}" for kind, count in found["checked"].items())
    click.echo(_json(found) if as_json else f"{run}: checked {told}")
    if found["problems"]:
        raise DamagedError("\n".join(found["problems"]))


@cli.command()
@as_json
def doctor(as_json: bool) -> None:
    """What this machine gives a run, and what is missing: devices, memory, versions, cache, disk, clock."""
    from jaxloop import doctor as examination

    _start_jax()
    found = examination.doctor(Path("runs"))
    click.echo(_json(found) if as_json else examination.text(found))


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("runs"))
@as_json
def ls(folder: Path, as_json: bool) -> None:
    """List the runs in a folder."""
    from jaxloop.errors import DamagedError
    from jaxloop.report import run_json
    from jaxloop.store import Store, exists

    found = []
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    for run in [folder] if exists(folder) else filter(exists, inside):
        try:
            with Store(run) as store:
                found.append(run_json(store))
        except DamagedError as error:
            click.echo(f"jaxloop: {error}", err=True)
    if as_json:
        click.echo(_json(found))
    elif not found:
        click.echo(f"no runs in {folder}; `jaxloop population SWEEP` makes one", err=True)
    for row in () if as_json else found:
        click.echo(
            f"{row['run']}  {row['status']}  {row['members']} members  "
            f"{row['finished']} finished  {row['diverged']} diverged"
        )


@cli.command()
@click.argument("target", metavar="RUN[/MEMBER]", type=click.Path(path_type=Path))
@as_json
def show(target: Path, as_json: bool) -> None:
    """A run's members, or one member."""
    from jaxloop.errors import NotFoundError
    from jaxloop.report import member_json, run_json
    from jaxloop.store import Store, exists

    run, label = (target, None) if exists(target) or target.is_dir() else (target.parent, target.name)
    if label and not exists(run):
        raise NotFoundError(f"{target}: neither a run nor RUN/MEMBER; `jaxloop ls` lists runs")
    with Store(run) as store:
        if label is not None:
            found = member_json(store.member(label))
            click.echo(_json(found) if as_json else json.dumps(found, indent=1))
            return
        members = [member_json(member) for member in store.members()]
        if as_json:
            click.echo(_json({**run_json(store), "members": members}))
            return
        varied = store.get("varied")
        for member in members:
            values = " ".join(f"{n}={member['hparams'][n]}" for n in varied if n in member["hparams"])
            metric = member["metrics"].get(store.get("metric"))
            shown = "-" if metric is None else f"{metric:.4f}"
            line = f"{member['number']:04d}  {member['status']:9} step {member['step']:>6}  {shown:>8}  {values}"
            click.echo(line)
        _remark(store)


def _remark(store: Any) -> None:
    """Tells, beside results, what a reader of them should know of the run."""
    from jaxloop.report import run_json

    found = run_json(store)
    if found["status"] != "finished":
        click.echo(f"{found['run']} is {found['status']}", err=True)
    for drift in found["drift"]:
        told = "; ".join(drift["changes"])
        click.echo(f"{found['run']}: from turn {drift['turn']} on trained after a change: {told}", err=True)


@cli.command()
@run_folder
@click.option("-k", type=click.IntRange(1), default=5, help="How many configs.")
@click.option("--metric", help="Rank by this metric instead of the sweep's.")
@click.option("--mode", type=click.Choice(["max", "min"]), help="Whether more or less is better.")
@as_json
def best(run: Path, k: int, metric: str | None, mode: str | None, as_json: bool) -> None:
    """Configs ranked by their mean over seeds, with its standard error."""
    from jaxloop.declared import direction
    from jaxloop.errors import NotFoundError, SweepError
    from jaxloop.report import ranked
    from jaxloop.store import Store

    with Store(run) as store:
        metric = metric or store.get("metric")
        if metric not in store.metric_names():
            raise NotFoundError(f"no metric {metric!r}; there are {', '.join(store.metric_names())}")
        better = mode or (store.get("mode") if metric == store.get("metric") else direction(metric))
        if better is None:
            raise SweepError(f"--mode: `{metric}` does not tell what is better: needs max or min")
        rows = ranked(store, metric, better)[:k]
        if as_json:
            click.echo(_json(rows))
            return
        if not rows:
            click.echo(
                f"no member has finished with a {metric}; `jaxloop show {shlex.quote(str(run))}` lists them"
            )
            return
        from jaxloop.panel import best_table, console

        console().print(best_table(rows, store.get("varied"), metric))
        _remark(store)


@cli.command()
@run_folder
@click.argument("member")
@as_json
def replay(run: Path, member: str, as_json: bool) -> None:
    """Train one member alone and compare its curve with the recorded one."""
    from jaxloop import api
    from jaxloop.replay import train_alone

    loaded = api.load(run)
    number = loaded.store.member(member).number
    _start_jax()
    found = train_alone(*loaded.sweep_and_task, loaded.store, number)
    text = (
        "member {member}: {steps} steps alone, {points} points, {missing} of them in one curve only, "
        "largest difference {largest_difference:g}"
    )
    click.echo(_json(found) if as_json else text.format(**found))


@cli.command()
@run_folder
@click.argument("member")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--average", is_flag=True, help="their average over steps, of a member that has an ema_decay")
def export(run: Path, member: str, folder: Path, average: bool) -> None:
    """Write one member's final parameters as an orbax checkpoint of their own."""
    from jaxloop import api, checkpoints
    from jaxloop.errors import SweepError

    if folder.exists():
        raise SweepError(f"{folder}: exists already; choose another folder")
    checkpoints.refuse_patterns(folder)
    loaded = api.load(run)
    checkpoints.save_one(folder, loaded.average(member) if average else loaded.params(member))
    click.echo(folder)


def _json(document: Any) -> str:
    """Strict JSON: what is not finite was not measured, null."""

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(plain(document), allow_nan=False)
