"""Results read: what to try next, two runs compared, a page about runs."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxloop.errors import SweepError
from jaxloop.storage.seal import write_whole
from jaxloop.storage.store import Store
from jaxloop.sweep import sweep

if TYPE_CHECKING:
    from jaxloop.experiments.advice import Finding
    from jaxloop.experiments.comparison import Comparison


def advice(path: str | Path) -> "list[Finding]":
    """Return what the results of a run suggest to try next: importances, ends of axes, gaps, open questions.

    Args:
      path: the folder of a run, which may still train.

    Raises:
      NotFoundError: there is no run.
    """
    from jaxloop.experiments import advice as advising

    with Store(Path(path)) as store:
        return advising.advice(sweep.parse(store.sweep, source=str(path)), store)


def compare(
    first: str | Path, second: str | Path, *, metric: str | None = None, mode: str | None = None
) -> "Comparison":
    """Compare the configs that two runs share, paired by seed: effects of the second run over the first.

    Args:
      first: the folder of a run, which may still train: members that have ended are compared.
      second: the folder of another.
      metric: by default the first run's own.
      mode: "max" or "min", which values are better; by default the first run's.

    Raises:
      NotFoundError: there is no run.
      SweepError: a run does not have the metric, or its configs cannot be told apart.
    """
    from jaxloop.experiments import comparison

    with Store(Path(first)) as ours, Store(Path(second)) as theirs:
        return comparison.compare(ours, theirs, metric, mode)


def report(*paths: str | Path, out: str | Path = "report.html") -> Path:
    """Write one HTML file about runs, which needs no network; with several, the first is compared with each other.

    Args:
      paths: folders of runs, which may still train.
      out: the file, replaced if it is there.

    Raises:
      NotFoundError: there is no run.
      SweepError: the file cannot be written, or is a folder.
    """
    from jaxloop.readers.report.page import page

    target = Path(out)
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise SweepError(
            f"{target}: is a folder" if target.is_dir() else f"{target.absolute().parent}: no such folder"
        )
    runs = [_results(Path(path)) for path in paths]
    comparisons = [_compared(paths[0], other) for other in paths[1:]]
    write_whole(target, page(runs, [each for each in comparisons if each]))
    return target


def draw(*paths: str | Path, out: str | Path, kind: str = "png") -> list[Path]:
    """Draw the figures of runs into files, with matplotlib, and return their paths.

    Args:
      paths: folders of runs.
      out: a folder, made if missing.
      kind: "png" or "svg".

    Raises:
      NotFoundError: there is no run.
      SweepError: matplotlib is not installed.
    """
    from jaxloop.readers import plots

    drawn: list[Path] = []
    for path in paths:
        with Store(Path(path)) as store:
            drawn += plots.draw(store, Path(out), kind)
    return drawn


def export(
    path: str | Path,
    member: int | str,
    out: str | Path,
    *,
    folder: str | Path | None = None,
    average: bool = False,
) -> None:
    """Write one member's final parameters: an orbax checkpoint, or one file if `out` ends in .safetensors.

    Args:
      path: the run's folder.
      member: its number, or the beginning of its id.
      out: a folder that is not there yet, or such a file.
      folder: where the sweep's task and data are now, if they have been moved without the run.
      average: their average over steps, of a member that has an ema_decay.

    Raises:
      NotFoundError: there is no run, no such member, or it has no such parameters.
      SweepError: safetensors is not installed.
    """
    from jaxloop.readers.run import load
    from jaxloop.storage import checkpoints

    target = Path(out)
    checkpoints.refuse_patterns(target)
    with load(path, folder=folder) as run:
        tree = run.average(member) if average else run.params(member)
    if target.suffix == ".safetensors":
        checkpoints.save_safetensors(target, tree)
    else:
        checkpoints.save_one(target, tree)


def _results(path: Path) -> dict[str, Any]:
    """Return what a page shows of a run."""
    from jaxloop.experiments import advice as advising
    from jaxloop.experiments.headline import headline
    from jaxloop.readers.report.results import results

    with Store(path) as store:
        checked = sweep.parse(store.sweep, source=str(path))
        return {
            **results(store),
            "headline": headline(store),
            "findings": [each.json() for each in advising.advice(checked, store)],
            "importances": [each._asdict() for each in advising.importance(checked, store)],
        }


def _compared(first: str | Path, second: str | Path) -> dict[str, Any] | None:
    """Return a comparison for a page; None where two runs have nothing to be compared by."""
    try:
        found = compare(first, second)
    except SweepError:
        return None
    return asdict(found) if found.differences else None
