"""TensorBoard on what can be read of a run: its summary and its best members, in a log directory of links."""

import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jaxloop.errors import SweepError
from jaxloop.storage import aggregates, hparams_tab, run_folder
from jaxloop.storage.ranking import ranked
from jaxloop.storage.records import Member, Status
from jaxloop.storage.store import Store

BEST = (
    24  # members that are shown unless others are asked for: TensorBoard unticks all runs where there are over 40
)
REFRESH = 30.0  # seconds between two summaries of runs that still train


@contextmanager
def logdir(runs: Sequence[Path], *, every: bool = False, members: Sequence[str] | None = None) -> Iterator[Path]:
    """Give a log directory, deleted afterwards: of each run its summary as of now, and links to members' folders.

    Args:
      every: all members, in place of the best 24.
      members: these alone, by number or the beginning of an id.

    Raises:
      NotFoundError: there is no such run or member.
    """
    folder = Path(tempfile.mkdtemp(prefix="jaxloop-tensorboard-"))
    try:
        for run, name in zip(runs, _names(runs), strict=True):
            with Store(run) as store:
                _fill(folder / name if len(runs) > 1 else folder, store, every, members)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _names(runs: Sequence[Path]) -> list[str]:
    """Return a name for each run, its folder's where that is its own."""
    names = [run.absolute().name for run in runs]
    return [name if names.count(name) == 1 else f"{number}-{name}" for number, name in enumerate(names)]


def _fill(folder: Path, store: Store, every: bool, members: Sequence[str] | None) -> None:
    run = store.path.parent
    aggregates.Aggregates(folder / run_folder.SUMMARY).write(store)
    shown = [store.member(label) for label in members] if members else _best(store, every)
    target = folder / run_folder.MEMBERS
    target.mkdir()
    hparams_tab.write(target, [member.hparams for member in shown], store)
    for member in shown:
        own = run_folder.member(run, member.folder).absolute()
        if own.is_dir():
            (target / member.folder).symlink_to(own, target_is_directory=True)


def _best(store: Store, every: bool) -> list[Member]:
    """Return the members of the best configs, as many as are shown."""
    begun = {member.number: member for member in store.members() if member.status != Status.WAITING}
    if every:
        return list(begun.values())
    order = [number for config in ranked(store, so_far=True, every=True) for number in config.members]
    return [begun[number] for number in order if number in begun][:BEST]


def command(folder: Path, port: int) -> list[str]:
    """Return the command that starts TensorBoard on a log directory.

    Raises:
      SweepError: it is not installed.
    """
    if not importlib.util.find_spec("tensorboard"):
        raise SweepError('TensorBoard is not installed: pip install "jaxloop[tensorboard]"')
    options = ["--logdir", str(folder), "--host", "localhost", "--port", str(port), "--reload_interval", "5"]
    return [sys.executable, "-m", "tensorboard.main", *options]


def address(run: Path, port: int) -> str:
    """Return where TensorBoard shows a run, the metric that members are ranked by pinned on top."""
    with Store(run) as store:
        pinned = json.dumps([{"plugin": "scalars", "tag": store.metric}])
    return f"http://localhost:{port}/?smoothing=0&pinnedCards={urllib.parse.quote(pinned)}#timeseries"


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


def serve(command: Sequence[str], folder: Path, runs: Sequence[Path]) -> int:
    """Run TensorBoard until it ends; meanwhile the summaries of runs that train are kept up to date."""
    server = subprocess.Popen(command)
    try:
        while True:
            try:
                return server.wait(REFRESH)
            except subprocess.TimeoutExpired:
                _refresh(folder, runs)
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        server.wait()


def _refresh(folder: Path, runs: Sequence[Path]) -> None:
    for run, name in zip(runs, _names(runs), strict=True):
        with Store(run) as store:
            if store.status == "running":
                inside = folder / name if len(runs) > 1 else folder
                aggregates.Aggregates(inside / run_folder.SUMMARY).write(store)
