"""The command line: parses, calls, prints. JAX is loaded only by commands that need it.

Exit codes: 0 done, 2 bad usage or sweep, 3 not found, 4 damaged or incompatible data, 5 out of memory or
disk, 6 no member finished with finite metrics, 7 run is locked, 8 another process stopped, 130/143 interrupted
(state saved); of `try`: 0 success, 10 tie, 11 failure, 12 undecided, 13 crash.
"""

import gc
import sys
import traceback
from typing import Any

import click

from jaxloop.cli import beginning, loop, reading, seeing, training
from jaxloop.cli.options import echo_in_lines
from jaxloop.errors import (
    INTERRUPTED,
    NO_MEMBER_FINISHED,
    TOLD,
    JaxloopError,
    ResourceError,
    SweepError,
    is_out_of_resources,
    is_unwritable,
)
from jaxloop.readers.terminal.output import is_unread, replace_unencodable, silence

EPILOG = (
    "Exit codes: 0 done, 2 bad usage or sweep, 3 not found, 4 damaged or incompatible data, 5 out of memory or "
    "disk, 6 no member finished with finite metrics, 7 run is locked, 8 another process stopped, 130/143 "
    "interrupted (state saved); of `try`: 0 success, 10 tie, 11 failure, 12 undecided, 13 crash."
)


@click.group(epilog=EPILOG)
@click.version_option(package_name="jaxloop")
def cli() -> None:
    """Hundreds of training runs as one XLA program."""


for command in (*beginning.COMMANDS, *training.COMMANDS, *loop.COMMANDS, *seeing.COMMANDS, *reading.COMMANDS):
    cli.add_command(command)


def main() -> None:
    """Run the `jaxloop` command: errors a user can act on are one message and an exit code."""
    sys.unraisablehook = _told_once
    # with Python's thresholds, collecting takes a tenth of the time of loading JAX and tracing (benchmarks/LOG.md)
    gc.set_threshold(100_000, 10, 10)
    replace_unencodable(sys.stdout, sys.stderr)
    try:
        code = _code()
    except Exception:  # a fault of ours
        traceback.print_exc()
        code = 1
    failed = code not in (0, NO_MEMBER_FINISHED) and code < INTERRUPTED
    if failed and "jaxloop.training.processes" in sys.modules:
        from jaxloop.training import processes

        if processes.are_several():
            processes.leave(code)
    sys.exit(code)


def _told_once(unraisable: Any) -> None:
    """Leave out what tensorstore's threads say of a save or restore that failed, which orbax raises too."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def _code() -> int:
    """Run the command and return its exit code."""
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
        echo_in_lines(f"jaxloop: {error}", err=True)
        return error.code
    except BrokenPipeError:
        if not is_unread(sys.stdout):
            raise
        silence(sys.stdout)  # `| head` has seen enough
        return 1
    except Exception as error:  # libraries say it in their own types
        if not (code := _code_of(error)):
            raise
        return code
    return 0


def _code_of(error: Exception) -> int | None:
    """Say what a library's error means for the user, and return its exit code; None for a fault of ours."""
    if isinstance(error, OSError) and is_unwritable(error):
        click.echo(f"jaxloop: {error.filename}: {error.strerror}", err=True)
        return SweepError.code
    if not is_out_of_resources(error):
        return None
    click.echo(f"jaxloop: out of memory or disk: {str(error)[:TOLD]}", err=True)
    return ResourceError.code
