"""What a person sees while a run goes: a live panel in a terminal, plain lines elsewhere."""

import sys
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from jaxloop.cli.output import ignoring_broken_pipe

if TYPE_CHECKING:
    from jaxloop.training.progress import Progress

PLAIN_EVERY = 5.0  # seconds between plain lines
WIDE = 500  # columns where there is no terminal


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich's own would end the process


def console(*, stderr: bool = False) -> Console:
    """Return where tables are printed: as wide as the terminal, and into a file or a pipe as wide as they are."""
    terminal = _Console(stderr=stderr)
    return terminal if terminal.is_terminal else _Console(stderr=stderr, width=WIDE)


class Panel:
    """An observer of a run; a context that leaves the terminal as it was."""

    def __init__(self, varied: list[str], *, to_stderr: bool = False) -> None:
        self.varied = varied
        self.console = console(stderr=to_stderr)
        self.live = (
            Live(console=self.console, auto_refresh=False, transient=True) if self.console.is_terminal else None
        )
        self.said, self.notes, self.rounds = 0.0, 0, 0

    def __enter__(self) -> "Panel":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def __call__(self, progress: "Progress") -> None:
        self.tell(progress.notes)
        if progress.remaining_member_steps and time.monotonic() - self.said < (0.5 if self.live else PLAIN_EVERY):
            return
        self.said = time.monotonic()
        ledger = progress.store.ledger()
        self._tell_rounds(ledger)
        stream = sys.stderr if self.console.stderr else sys.stdout
        with ignoring_broken_pipe(stream):
            if self.live:
                self.live.update(self._render(progress, ledger), refresh=True)
            else:
                print(_line(progress, ledger), file=stream, flush=True)

    def tell(self, notes: list[str]) -> None:
        """Print those of a run's notes that have not been printed yet."""
        with ignoring_broken_pipe(sys.stderr):
            for note in notes[self.notes :]:
                print(f"jaxloop: {note}", file=sys.stderr, flush=True)
        self.notes = len(notes)

    def _tell_rounds(self, ledger: list[dict[str, Any]]) -> None:
        """Print what a loop has recorded since the last turn."""
        from jaxloop.cli.ledger import summary_lines

        lines = summary_lines(ledger)
        stream = sys.stderr if self.console.stderr else sys.stdout
        with ignoring_broken_pipe(stream):
            for line in lines[self.rounds :]:
                self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        self.rounds = len(lines)

    def _render(self, progress: "Progress", ledger: list[dict[str, Any]]) -> Group:
        from jaxloop.cli.ledger import standing
        from jaxloop.cli.tables import best_table
        from jaxloop.storage.ranking import ranked, with_finite_mean

        name = escape(str(progress.store.name))
        bar = Bar(TextColumn(name), BarColumn(None), TextColumn("{task.percentage:>3.0f}%"), expand=True)
        bar.add_task("", total=1000, completed=round(1000 * progress.share_done))
        rows = with_finite_mean(ranked(progress.store, so_far=True))[:5]
        metric = str(progress.store.metric)
        table = best_table(rows, self.varied, metric) if rows else ""
        return Group(bar, _line(progress, ledger), *map(escape, standing(ledger)), table)


def _line(progress: "Progress", ledger: list[dict[str, Any]]) -> str:
    counts, rate = progress.store.counts(), progress.member_steps_per_second
    speed = f"{rate:,.0f} member-steps/s  {progress.remaining_member_steps / rate:.0f} s left  " if rate else ""
    begun = [record for record in ledger if record["kind"] == "stage"]
    stage = f"of round {begun[-1]['round']}, {begun[-1]['stage']}  " if begun else ""
    return (
        f"{progress.share_done:4.0%}  {stage}{speed}"
        f"running {counts['running']}  finished {counts['finished']}  diverged {counts['diverged']}  "
        f"{scheduled(counts)}waiting {counts['waiting']}  program {progress.program}/{progress.programs}"
    )


def scheduled(counts: dict[str, int]) -> str:
    """Return how many members a scheduler has stopped or paused, where there are any."""
    return "".join(f"{status} {counts[status]}  " for status in ("stopped", "paused") if counts[status])
