"""What a person sees while a run goes: a live panel in a terminal or a notebook, plain lines elsewhere."""

import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.spinner import Spinner
from rich.text import Text

from jaxloop.formatting import duration
from jaxloop.readers.terminal.notebook import NotebookLive
from jaxloop.readers.terminal.output import ignoring_broken_pipe
from jaxloop.readers.terminal.tables import best_table, in_lines

if TYPE_CHECKING:
    from jaxloop.training.progress import Progress

PLAIN_EVERY = 5.0  # seconds between plain lines
TABLE_EVERY = 0.5  # seconds between two reads of the store
REFRESHES = 4  # a second, of what moves by time alone
WIDE = 100_000  # columns where there is no terminal: a file or a pipe has room for any line


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich's own would end the process


def console(*, stderr: bool = False) -> Console:
    """Return where tables are printed: as wide as the terminal, and into a file or a pipe as wide as they are."""
    terminal = _Console(stderr=stderr)
    return terminal if is_live(terminal) else _Console(stderr=stderr, width=WIDE)


def is_live(screen: Console) -> bool:
    """Return whether output can be redrawn in place: in a terminal, and in a notebook."""
    return screen.is_terminal or screen.is_jupyter


class _Seen(NamedTuple):
    """Where a run was at the end of a turn, and when that was seen.

    Attributes:
      at: of the monotonic clock.
      share: of all member-steps that were done.
      speed: shares a second.
      advance: by which the share had grown since the look before.
      is_loop: whether it is a loop, whose remaining time cannot be estimated.
      rest: what is drawn below the bar.
    """

    at: float
    share: float
    speed: float
    advance: float
    is_loop: bool

    def share_at(self, now: float) -> float:
        """Return the share at a moment within a later turn, which is taken to advance no more than the last."""
        return min(1.0, self.share + min(self.speed * (now - self.at), self.advance))

    rest: list[RenderableType]


class Panel:
    """An observer of a run, from its first phase on; a context that leaves the terminal as it was.

    Args:
      varied: names of the axes, for the table of best configs; they may be set later.
      to_stderr: whether stdout is left to others.
      quiet: whether nothing is shown.
      tells_rounds: whether a loop's verdicts are printed as they come.
    """

    def __init__(
        self,
        varied: list[str] | None = None,
        *,
        to_stderr: bool = False,
        quiet: bool = False,
        tells_rounds: bool = True,
    ) -> None:
        self.varied, self.quiet, self.tells_rounds = varied or [], quiet, tells_rounds
        self.console = console(stderr=to_stderr)
        self.begun = self.phase_at = time.monotonic()
        self.doing = ""
        self.seen: _Seen | None = None
        self.said = 0.0
        self.told: set[str] = set()
        self.live = self._live() if is_live(self.console) and not quiet else None

    def _live(self) -> Live | NotebookLive:
        if self.console.is_jupyter:
            return NotebookLive(self._drawn)
        # drawn by a thread of rich's own, from what it was last given: no reading of the store there
        return Live(
            console=self.console,
            get_renderable=self._drawn,
            refresh_per_second=REFRESHES,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> "Panel":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def phase(self, doing: str) -> None:
        """Say what happens before the next turn: "compiling program 1 of 3"."""
        self.doing, self.phase_at = doing, time.monotonic()
        if self.live and self.live.is_started:
            self.live.refresh()
        elif not self.quiet:
            with ignoring_broken_pipe(self._stream):
                print(doing, file=self._stream, flush=True)

    def __call__(self, progress: "Progress") -> None:
        self.doing = ""
        self.varied = self.varied or progress.store.varied
        self.tell(progress.notes)
        now = time.monotonic()
        if self.quiet or (
            progress.remaining_member_steps and now - self.said < (TABLE_EVERY if self.live else PLAIN_EVERY)
        ):
            return
        self.said = now
        ledger = progress.store.ledger()
        if self.tells_rounds:
            self._tell_rounds(ledger)
        with ignoring_broken_pipe(self._stream):
            if self.live:
                self.seen = _seen(progress, bool(ledger), self._rest(progress, ledger), self.seen)
                self.live.refresh()
            else:
                print(_line(progress, ledger), file=self._stream, flush=True)

    def say(self, line: str) -> None:
        """Print a line that stays."""
        if not self.quiet:
            with ignoring_broken_pipe(self._stream):
                for part in in_lines(line, self.console.width):
                    self.console.print(part, markup=False, highlight=False, soft_wrap=True)

    def tell(self, notes: list[str]) -> None:
        """Print those of a run's notes that have not been printed yet."""
        with ignoring_broken_pipe(sys.stderr):
            for note in notes:
                if note not in self.told:
                    print(f"jaxloop: {note}", file=sys.stderr, flush=True)
        self.told.update(notes)

    @property
    def _stream(self) -> Any:
        return sys.stderr if self.console.stderr else sys.stdout

    def _tell_rounds(self, ledger: list[dict[str, Any]]) -> None:
        """Print what a loop has recorded since the last turn."""
        from jaxloop.readers.terminal.ledger import summary_lines

        for line in summary_lines(ledger):
            if line not in self.told:
                self.say(line)
                self.told.add(line)

    def _drawn(self) -> RenderableType:
        """Return the panel as of now; within a turn, its bar goes on at the speed of the turns before.

        While a program compiles nothing trains, and the bar stands still.
        """
        now = time.monotonic()
        parts: list[RenderableType] = []
        if seen := self.seen:
            share = seen.share_at(self.phase_at if self.doing else now)
            columns = [TextColumn("{task.description}"), BarColumn(None)]
            bar = Bar(*columns, *([] if seen.is_loop else [TextColumn("{task.percentage:>3.0f}%")]), expand=True)
            is_known = seen.speed > 0 and not seen.is_loop and not self.doing
            left = f", {duration((1 - share) / seen.speed)} left" if is_known else ""
            total = None if seen.is_loop else 1000  # of a loop nobody knows it: the bar only moves
            bar.add_task(f"{duration(now - self.begun)}{left}", total=total, completed=round(1000 * share))
            parts = [bar, *seen.rest]
        if self.doing or not parts:
            told = f"{self.doing or 'starting'}, {duration(now - self.phase_at)}"
            parts.append(Spinner("dots", Text(told)))
        return Group(*parts)

    def _rest(self, progress: "Progress", ledger: list[dict[str, Any]]) -> list[RenderableType]:
        """Return what stands below the bar until the next look at the store."""
        from jaxloop.readers.terminal.ledger import standing
        from jaxloop.storage.ranking import ranked, with_finite_mean

        rows = with_finite_mean(ranked(progress.store, so_far=True))[:5]
        lines = [str(progress.store.name), _line(progress, ledger, has_bar=True), *standing(ledger)]
        table = [best_table(rows, self.varied, str(progress.store.metric), self.console.width)] if rows else []
        return [*map(Text, lines), *table]


def _seen(progress: "Progress", is_loop: bool, rest: list[RenderableType], before: _Seen | None) -> _Seen:
    done = progress.earlier_member_steps + progress.member_steps
    speed = progress.member_steps_per_second / max(1, done + progress.remaining_member_steps)
    advance = max(0.0, progress.share_done - before.share) if before else progress.share_done
    return _Seen(time.monotonic(), progress.share_done, speed, advance, is_loop, rest)


def _line(progress: "Progress", ledger: list[dict[str, Any]], *, has_bar: bool = False) -> str:
    """Return where a run stands, in a line.

    Args:
      has_bar: whether a bar beside it shows the share that is done and the time left.
    """
    counts, rate = progress.store.counts(), progress.member_steps_per_second
    begun = [record for record in ledger if record["kind"] == "stage"]
    speed = f"{rate:,.0f} member-steps/s  " if rate else ""
    if begun:  # a loop's total is not known in advance
        head = f"{_stage(begun[-1], progress.store.rounds)}  {speed}"
    elif has_bar:
        head = speed
    else:
        left = f"{progress.remaining_member_steps / rate:.0f} s left  " if rate else ""
        head = f"{progress.share_done:4.0%}  {speed}{left}"
    return (
        f"{head}running {counts['running']}  finished {counts['finished']}  diverged {counts['diverged']}  "
        f"{scheduled(counts)}waiting {counts['waiting']}  program {progress.program}/{progress.programs}"
    )


def _stage(record: dict[str, Any], rounds: int | None) -> str:
    """Return the stage of a loop, with its round if it belongs to one."""
    if record["stage"] not in ("screen", "confirm"):
        return str(record["stage"])
    return f"round {record['round']}{f' of {rounds}' if rounds else ''}, {record['stage']}"


def scheduled(counts: dict[str, int]) -> str:
    """Return how many members a scheduler has stopped or paused, where there are any."""
    return "".join(f"{status} {counts[status]}  " for status in ("stopped", "paused") if counts[status])
