"""TensorBoard on what can be read of a run: its summary and its best members, in a log directory of links."""

import importlib.util
import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jaxloop.errors import JaxloopError, SweepError
from jaxloop.formatting import counted
from jaxloop.storage import aggregates, hparams_tab, run_folder, tensorboard
from jaxloop.storage.ranking import metrics_in_order, ranked
from jaxloop.storage.records import Member, Status
from jaxloop.storage.store import Store

MOST = 38  # TensorBoard runs, and one more at the root: where there are more than 40, it unticks all
BEST = 24  # members shown of one run
MANY, FEW = 12, 4  # of a config with more members than `MANY`, as a loop's have, `FEW` are shown
RUN = "run"  # the column that tells runs apart
REFRESH = 30.0  # seconds between two reads of runs that still train


@contextmanager
def logdir(
    runs: Sequence[Path], *, every: bool = False, members: Sequence[str] | None = None
) -> Iterator["LogDir"]:
    """Yield a temporary log directory: each run's current summary, and links to its members' events.

    Of several runs, up to five, there are fewer configs and members each, so that TensorBoard ticks all; a row of
    its HPARAMS tab is a config of one run.

    Args:
      every: all members, in place of the best 24, or of fewer from several runs.
      members: these alone, by number or the beginning of an id.

    Raises:
      NotFoundError: there is no such run or member.
      SweepError: TensorBoard is not installed.
    """
    if not importlib.util.find_spec("tensorboard"):
        raise SweepError('TensorBoard is not installed: pip install "jaxloop[tensorboard]"')
    folder = Path(tempfile.mkdtemp(prefix="jaxloop-tensorboard-"))
    try:
        found = LogDir(folder, runs, every, members)
        found.fill()
        yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class LogDir:
    """A log directory for TensorBoard about runs, which may still train.

    Attributes:
      path: the folder.
      counts: how many members of each run are shown, and how many it has.
    """

    def __init__(self, path: Path, runs: Sequence[Path], every: bool, members: Sequence[str] | None) -> None:
        self.path, self.runs, self.every, self.members = path, runs, every, members
        self.counts: dict[Path, tuple[int, int]] = {}
        self.trained: dict[Path, bool] = {}  # whether a run still trained when it was last looked at

    def fill(self) -> None:
        """Write each run's summary and links to its members, but for runs that had ended at the last look."""
        names = distinct_names(self.runs) if len(self.runs) > 1 else [""]
        changed = [run for run in self.runs if self.trained.get(run, True)]
        for run, name in zip(self.runs, names, strict=True):
            if run in changed:
                with Store(run) as store:
                    is_running = store.status == "running"
                    self._fill(name, store)
                self.trained[run] = is_running
        if changed and len(self.runs) > 1:
            self._declare(names)

    def _fill(self, name: str, store: Store) -> None:
        """Show one run.

        Args:
          name: among several; "" for the only one.
        """
        left = MOST // len(self.runs) - aggregates.OTHERS
        configs = max(0, min(aggregates.BEST // len(self.runs), left - 1))
        members = max(1, left - configs)
        aggregates.Aggregates(self.path / name / run_folder.SUMMARY, configs).write(store)
        target = self.path / name / run_folder.MEMBERS
        target.mkdir(exist_ok=True)
        if not name:
            hparams_tab.write(target, [member.hparams for member in store.members()], store)  # the whole axes
        chosen = [store.member(label) for label in self.members or ()]
        chosen = chosen or _best(store, None if self.every else min(BEST, members))
        every = store.members()
        self.counts[store.path.parent] = len(chosen), len(every)
        shown, have = (Counter(member.config for member in each) for each in (chosen, every))
        for member in chosen:
            own = run_folder.member(store.path.parent, member.folder).absolute()
            group = tensorboard.group_name(member.hparams, store.varied, member.config)
            part, count = shown[member.config], have[member.config]
            if part < count and store.status != "running":  # its row shows means of these alone
                group += f" ({part} of {counted(count, 'member')})"
            hparams, prefix = ({**member.hparams, RUN: name}, f"{name}: ") if name else (member.hparams, "")
            if own.is_dir():
                _link_events(own, target / member.folder, hparams, prefix + group)

    def _declare(self, names: Sequence[str]) -> None:
        """Declare the axes of all runs, and which run a member is of."""
        members: list[dict[str, Any]] = []
        varied, metrics = {RUN: None}, {}
        for run, name in zip(self.runs, names, strict=True):
            with Store(run) as store:
                members += [{**member.hparams, RUN: name} for member in store.members()]
                varied |= dict.fromkeys(store.varied)
                metrics |= dict.fromkeys(metrics_in_order(store))
        hparams_tab.declare(self.path, members, list(varied), list(metrics))


def _link_events(own: Path, shown: Path, hparams: dict[str, Any], group: str) -> None:
    """Link a member's event files behind one that gives its hparams and its row in the HPARAMS tab.

    TensorBoard keeps the first that it finds, and reads files in the order of their names.

    Args:
      own: the member's folder.
      shown: the folder with the links.
    """
    if not shown.exists():
        tensorboard.MemberSummaries(shown, hparams, group).flush()
    for file in tensorboard.files(own):
        link = shown / file.name.replace("tfevents.", "tfevents.later.", 1)
        if not link.is_symlink():
            link.symlink_to(file)


def distinct_names(runs: Sequence[Path]) -> list[str]:
    """Return a name for each run: its folder's, with a number before it where several have the same."""
    names = [run.absolute().name for run in runs]
    return [name if names.count(name) == 1 else f"{number}-{name}" for number, name in enumerate(names)]


def _best(store: Store, most: int | None) -> list[Member]:
    """Return members of the best configs: of whole ones, but for the first and for those of more than `MANY`.

    Args:
      most: how many; None for all that have begun.
    """
    begun = {member.number: member for member in store.members() if member.status != Status.WAITING}
    if most is None:
        return list(begun.values())
    found: list[Member] = []
    for config in ranked(store, so_far=store.trains, every=True):
        members = [begun[number] for number in config.members if number in begun]
        members = members[: FEW if len(members) > MANY else None]
        if found and len(found) + len(members) > most:
            break  # a part of a config would have other means than the whole
        found += members[:most]
    return found


def command(folder: Path, port: int) -> list[str]:
    """Return the command that starts TensorBoard on a log directory."""
    options = ["--logdir", str(folder), "--host", "localhost", "--port", str(port), "--reload_interval", "5"]
    return [sys.executable, "-m", "tensorboard.main", *options]


def address(run: Path, port: int) -> str:
    """Return where TensorBoard shows a run, the metric that members are ranked by pinned on top."""
    with Store(run) as store:
        pinned = json.dumps([{"plugin": "scalars", "tag": store.metric}])
    return f"http://localhost:{port}/?smoothing=0&pinnedCards={urllib.parse.quote(pinned)}#timeseries"


def port(wanted: int) -> int:
    """Return a port of this machine that nobody listens on: the one that is wanted, or for 0 any.

    Raises:
      SweepError: the one that is wanted is taken.
    """
    with socket.socket() as tried:
        try:
            tried.bind(("localhost", wanted))
        except OSError as error:
            raise SweepError(f"port {wanted}: {error.strerror}: choose another, or --port 0 for any") from None
        return int(tried.getsockname()[1])


def serve(command: Sequence[str], shown: LogDir) -> int:
    """Run TensorBoard until it ends, or Ctrl-C or SIGTERM; meanwhile keep up with runs that train."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    server = subprocess.Popen(command)
    try:
        while True:
            try:
                return server.wait(REFRESH)
            except subprocess.TimeoutExpired:
                with suppress(JaxloopError, sqlite3.Error, OSError):  # it is tried again
                    shown.fill()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        server.wait()
        signal.signal(signal.SIGTERM, before)
