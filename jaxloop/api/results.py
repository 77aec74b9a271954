"""Results read: what to try next, two runs compared, a page about runs."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxloop.core.finals import Final
from jaxloop.errors import SweepError
from jaxloop.readers.run import Run, load
from jaxloop.storage.destination import require_folder
from jaxloop.storage.run_folder import exists
from jaxloop.storage.seal import write_whole
from jaxloop.storage.store import Store
from jaxloop.sweep import sweep

GENERATOR = '<meta name="generator" content="jaxloop">'  # of a page, so that another may replace it

if TYPE_CHECKING:
    from jaxloop.experiments.comparison import Comparison
    from jaxloop.experiments.finding import Finding


AnyRun = str | Path | Run  # a run's folder, or the run itself


def _folder(run: AnyRun) -> Path:
    return run.path if isinstance(run, Run) else Path(run)


def advice(path: AnyRun) -> "list[Finding]":
    """Return what the results of a run suggest to try next: importances, ends of axes, gaps, open questions.

    Args:
      path: the folder of a run, which may still train.

    Raises:
      NotFoundError: there is no run.
    """
    from jaxloop.experiments import advice as advising

    with Store(_folder(path)) as store:
        return advising.advice(sweep.parse(store.sweep, source=str(path)), store)


def compare(first: AnyRun, second: AnyRun, *, metric: str | None = None, mode: str | None = None) -> "Comparison":
    """Compare the configs that two runs share, paired by seed: effects of the second run over the first.

    Args:
      first: the folder of a run, which may still train: members that have ended are compared.
      second: the folder of another.
      metric: by default the first run's own.
      mode: "max" or "min", which values are better; by default the first run's.

    Returns:
      A row for each config that both have, with its difference, interval and verdict; and what differs in the
      runs' provenance.

    Raises:
      NotFoundError: there is no run, or it does not measure the metric.
      SweepError: two members of a run match the same config and seed, or no direction can be inferred.
    """
    from jaxloop.experiments import comparison

    with Store(_folder(first)) as ours, Store(_folder(second)) as theirs:
        return comparison.compare(ours, theirs, metric, mode)


def report(*paths: AnyRun, out: str | Path | None = None) -> Path:
    """Write one HTML file about runs, which needs no network; with several, the first is compared with each other.

    Args:
      paths: folders of runs, which may still train.
      out: the file, replaced if it is there; by default one of the run's name here, "report.html" of several runs.

    Returns:
      The file's path.

    Raises:
      NotFoundError: there is no run.
      SweepError: the file cannot be written, or is a folder.
    """
    from jaxloop.readers.report.page import page

    if not paths:
        raise SweepError("a report needs the folder of a run, or several")
    one = _folder(paths[0]).absolute().name if len(paths) == 1 else "report"
    target = Path(out or f"{one}.html")
    _check_target(target)
    runs = [_results(_folder(path)) for path in paths]
    comparisons = [_compared(paths[0], other) for other in paths[1:]]
    write_whole(target, page(runs, comparisons))
    return target


def _check_target(target: Path) -> None:
    """Make sure that a page may be written there: into no run, and over no file but another page.

    Raises:
      SweepError: it may not.
    """
    parents = [parent for parent in target.absolute().parents if exists(parent)]
    if target.suffix not in (".html", ".htm"):
        raise SweepError(f"{target}: a report needs a name that ends in .html")
    if target.is_dir():
        raise SweepError(f"{target}: is a folder; a report is a file")
    require_folder(target)
    if parents:
        raise SweepError(f"{target}: lies in the run {parents[0]}, which keeps its own files alone")
    if target.exists() and GENERATOR not in target.read_text(encoding="utf-8", errors="replace")[:2000]:
        raise SweepError(f"{target}: exists already, and is no report: choose another name")


def draw(*paths: AnyRun, out: str | Path, kind: str = "png") -> list[Path]:
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
    from jaxloop.readers.board import distinct_names

    if Path(out).exists() and not Path(out).is_dir():
        raise SweepError(f"{out}: is a file; figures need a folder")
    drawn: list[Path] = []
    for path, name in zip(paths, distinct_names([_folder(path) for path in paths]), strict=True):
        with Store(_folder(path)) as store:
            drawn += plots.draw(store, Path(out), kind, name)
    return drawn


def export(
    path: AnyRun,
    member: int | str,
    out: str | Path,
    *,
    folder: str | Path | None = None,
    kind: Final = "params",
) -> None:
    """Write one member's final parameters: an orbax checkpoint, or one file if `out` ends in .safetensors.

    Args:
      path: the run's folder.
      member: its number, or the beginning of its id.
      out: a folder that is not there yet, or such a file.
      folder: where the sweep's task and data are now, if they have been moved without the run.
      kind: which result: the final "params", their "average" over steps, the "state" kept with them, the "best"
        by the sweep's `checkpoint.best`, or the "best_state" beside those.

    Raises:
      NotFoundError: there is no run, no such member, or it has no such parameters.
      SweepError: safetensors is not installed.
    """
    from jaxloop.storage import checkpoints

    target = Path(out)
    if target.suffix[1:].isalpha() and target.suffix != ".safetensors":
        raise SweepError(
            f"{target}: needs .safetensors, or a folder's name without a suffix, for an orbax checkpoint"
        )
    require_folder(target)
    checkpoints.refuse_patterns(target)
    with load(_folder(path), folder=folder) as run:
        tree = run.final(member, kind)
    if target.suffix == ".safetensors":
        checkpoints.save_safetensors(target, tree)
    else:
        checkpoints.save_one(target, tree)


def _results(path: Path) -> dict[str, Any]:
    """Return what a page shows of a run."""
    from jaxloop.experiments import advice as advising
    from jaxloop.experiments.headline import headline
    from jaxloop.readers.report.results import results

    with Store(path) as store, store.read_transaction():
        checked = sweep.parse(store.sweep, source=str(path))
        return {
            **results(store),
            "headline": headline(store),
            "findings": [each.json() for each in advising.advice(checked, store)],
            "importances": [each._asdict() for each in advising.importance(checked, store)],
        }


def _compared(first: AnyRun, second: AnyRun) -> dict[str, Any]:
    """Return a comparison for a page, or why there is none."""
    try:
        found = compare(first, second)
    except SweepError as error:
        return {"runs": [str(_folder(first)), str(_folder(second))], "why": str(error)}
    differences = [{**asdict(each), "said": each.said()} for each in found.differences]
    return {**found.json(), "differences": differences, "why": "" if differences else "no config is in both"}
