"""What a sweep asks of its task, checked before anything is compiled or written."""

import string
from collections.abc import Container, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxloop.core import contract, padded_update
from jaxloop.core.assembly import final_shapes, measured_shapes
from jaxloop.core.bucket import Bucket, undivided
from jaxloop.core.finals import Final
from jaxloop.core.member import length
from jaxloop.core.shapes import batch_shapes, params_extents, resident
from jaxloop.core.task import Task
from jaxloop.errors import SweepError, told
from jaxloop.sweep.catalog import direction, undirected
from jaxloop.sweep.optimizers import OWN
from jaxloop.sweep.sizes import Size
from jaxloop.sweep.suggest import unknown
from jaxloop.sweep.sweep import Sweep

MOST_METRICS = 1000  # SQLite allows 2000 columns
Split = Mapping[str, np.ndarray]
RANKED_BY = ("validation/accuracy", "validation/loss")  # where the sweep does not say, the first that is measured
LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class Checked(NamedTuple):
    """What a sweep that passed measures, and ranks by.

    measured: names of values, "validation/loss".
    metric: of those, the one to rank by.
    mode: what is better, "max" or "min".
    array_bytes: of the arrays that a member has measured at one point, in all.
    final_kinds: what every member ends with.
    ends_early: whether the task may end members before their last step.
    """

    measured: list[str]
    metric: str
    mode: str
    array_bytes: int
    final_kinds: list[Final]
    ends_early: bool


def check_sweep(sweep: Sweep, task: Task) -> Checked:
    """Check a sweep against its task.

    Raises:
      SweepError: all that is wrong, a line each.
    """
    measured: dict[str, None] = {}
    array_bytes = 0
    problems: dict[str, None] = {}
    for bucket in undivided(sweep):
        broken = [sweep.source_map.say(path, rule) for path, rule in _broken(sweep, task, bucket)]
        if not broken:
            try:
                params_extents(task, bucket)
                shapes = measured_shapes(sweep, task, bucket)
                scalars = [name for name, leaf in shapes.items() if leaf.shape == ()]
                measured |= dict.fromkeys(scalars)
                array_bytes = max(array_bytes, sum(4 * leaf.size for leaf in shapes.values() if leaf.shape))
                broken = [sweep.source_map.say(path, rule) for path, rule in _unranked(sweep, shapes, scalars)]
            except Exception as error:  # what an optimizer says, or the user's functions over a whole step
                broken = [sweep.source_map.say(("run", "task"), told(error))]
        problems |= dict.fromkeys(broken)
    if rule := _unrecordable(list(measured)):
        problems[sweep.source_map.say(("run", "task"), rule)] = None
    if problems:
        raise SweepError("\n".join(problems))
    metric = _metric(sweep, measured)
    mode = direction(metric, sweep.document.evaluate.mode)
    assert mode is not None, "checked by _unranked"
    (first, *_) = undivided(sweep)
    finals = final_shapes(task, first, best=bool(sweep.document.checkpoint.best))
    return Checked(list(measured), metric, mode, array_bytes, list(finals), task.done is not None)


def _metric(sweep: Sweep, measured: Container[str]) -> str:
    """Return the metric to rank by: the sweep's, else accuracy where it is measured, else the loss."""
    if (metric := sweep.document.evaluate.metric) != "auto":
        return metric
    return next((name for name in RANKED_BY if name in measured), RANKED_BY[-1])


def _broken(sweep: Sweep, task: Task, bucket: Bucket) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what is wrong with a bucket's members, data and functions, by the place in the sweep."""
    if "folds" in bucket.static and (rule := _unlike(task.data.splits().get("train"), task.data.validation)):
        yield ("axes", "fold"), rule
        return
    for number in bucket.numbers:
        if ignored := list(_ignored(task, sweep.members[number])):
            yield from ignored
            return
    train = resident(task, bucket).get("train")
    examples = length(train) if train and task.data.source is None else task.data.train_length()
    for number in bucket.numbers:
        if broken := list(_broken_member(sweep.members[number], examples)):
            yield from broken
            return
    if train and "weight" in {**train, **task.data.shared} and isinstance(sweep.declared["batch_size"], Size):
        yield ("run", "task"), "the data have a `weight`, which a batch of padded size gets from jaxloop"
        return
    member = sweep.members[bucket.numbers[0]]
    for rule in contract.broken(task, bucket, bucket.columns(member), batch_shapes(task, bucket)):
        yield ("run", "task"), rule
        return
    if task.update and bucket.sizes and (rule := padded_update.broken(sweep, task, bucket)):
        yield ("run", "task"), rule


def _ignored(task: Task, hparams: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what a sweep asks for that a step of the task's own, or its own optimizer, would not see."""
    if task.update:
        if "ema_decay" in hparams:
            rule = "is of gradient steps: a task with an `update` averages its own parameters"
            yield ("hparams", "ema_decay"), rule
        if hparams["precision"] != "float32":
            rule = "is of gradient steps: a task with an `update` chooses the precision that it computes in"
            yield ("hparams", "precision"), rule
    elif hparams["optimizer"] == OWN:
        for name in ("clip", "warmup_steps"):
            if hparams.get(name):
                yield ("hparams", name), f"needs one of jaxloop's optimizers: {OWN!r} is the task's `tx` alone"
        if hparams["schedule"] != "constant":
            yield ("hparams", "schedule"), f"needs one of jaxloop's optimizers: {OWN!r} is the task's `tx` alone"


def _unranked(
    sweep: Sweep, shapes: Mapping[str, Any], measured: list[str]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what keeps members from being ranked by what is measured of them.

    Args:
      shapes: of all that is measured.
      measured: the names of the scalars.
    """
    metric = _metric(sweep, measured)
    if metric in shapes and metric not in measured:
        rule = f"needs a scalar, `{metric}` is an array of shape {shapes[metric].shape}"
        yield ("evaluate", "metric"), rule
    elif metric not in measured:
        rule = unknown("metric", metric, measured)
        if sweep.document.evaluate.metric == "auto":
            others = f"choose one of {', '.join(measured)}"
            rule = f"needs to be given: neither {' nor '.join(RANKED_BY)} is measured; {others}"
        yield ("evaluate", "metric"), rule
    elif direction(metric, sweep.document.evaluate.mode) is None:
        yield ("evaluate", "mode"), undirected(metric, "evaluate.mode")
    else:
        audited = metric.replace("validation/", "test/")
        if sweep.document.loop and audited not in measured:
            rule = f"needs a test split, on which a loop is audited: `{audited}` is not measured"
            yield ("evaluate", "metric"), rule
        yield from _broken_best(sweep, shapes, measured)


def _broken_best(
    sweep: Sweep, shapes: Mapping[str, Any], measured: list[str]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what keeps members' best parameters from being found."""
    if best := sweep.document.checkpoint.best:
        each_turn = [name for name in measured if not name.startswith("test/")]
        if best in shapes and best not in measured:
            yield ("checkpoint", "best"), f"needs a scalar, `{best}` is an array of shape {shapes[best].shape}"
        elif best not in each_turn:
            yield ("checkpoint", "best"), unknown("metric", best, each_turn)
        elif sweep.document.mode_of(best) is None:
            yield ("checkpoint", "best"), undirected(best, "evaluate.metric to it and evaluate.mode")


def _unrecordable(measured: list[str]) -> str | None:
    """Return why metrics cannot be columns of the run's store, or None: SQLite folds the case of ASCII letters."""
    if len(measured) > MOST_METRICS:
        return f"measures {len(measured)} values of a member, and a run records at most {MOST_METRICS}"
    known: dict[str, str] = {}
    for name in measured:
        other = known.setdefault(name.translate(LOWER), name)
        if other != name:
            return f"measures `{other}` and `{name}`, which differ in case only: rename one of them"
    return None


def _unlike(train: Split | None, validation: Split | None) -> str | None:
    """Return what keeps two splits from being one pool."""
    if train is None or validation is None:
        return "needs training and validation examples in memory: folds are drawn from both combined"
    shapes = [{name: x.shape[1:] for name, x in split.items()} for split in (train, validation)]
    if shapes[0] == shapes[1]:
        return None
    return f"needs train and validation examples of the same arrays, got {shapes[0]} and {shapes[1]}"


def _broken_member(hparams: dict[str, Any], pool: int | None) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what a member asks of its model, or of the `pool` of training examples, that cannot be."""
    if hparams.get("positions") == "rope" and hparams["head_width"] % 2:
        yield ("axes", "head_width"), f"needs even numbers for rotary positions, got {hparams['head_width']}"
    if pool is not None:
        yield from _broken_subset(hparams, pool)
        return
    for name in ("fold", "folds", "resample", "train_examples"):
        if name in hparams:
            yield ("axes", name), "needs training examples, and the task has none"


def _broken_subset(hparams: dict[str, Any], pool: int) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what a member asks of the `pool` of training examples that cannot be."""
    folds, fold, wanted = (hparams.get(name) for name in ("folds", "fold", "train_examples"))
    if hparams.get("resample"):
        if folds is None:
            yield ("hparams", "resample"), "needs `folds`: each seed holds out one of so many, dealt anew"
            return
        fold = fold or 0
    if (folds is None) != (fold is None):
        rule = (
            "`fold`, which one is held out, goes with `folds`, how many there are; or `resample` draws one by seed"
        )
        yield ("axes", "fold"), rule
        return
    examples = pool
    if folds is not None and fold is not None:
        if folds > pool:
            yield ("hparams", "folds"), f"needs at most {pool}, as many as there are examples, got {folds}"
            return
        if fold >= folds:
            yield ("axes", "fold"), f"{folds} folds are numbered from 0 to {folds - 1}, got {fold}"
            return
        examples -= pool // folds + (fold < pool % folds)
    if wanted is not None and wanted > examples:
        yield ("axes", "train_examples"), f"needs at most the {examples} training examples, got {wanted}"
        return
    examples, size = wanted or examples, hparams["batch_size"]
    if size > examples:
        yield ("hparams", "batch_size"), f"needs at most the {examples} training examples, got {size}"
    elif size * examples >= 2**32:
        yield ("hparams", "batch_size"), f"times {examples} examples needs to be below 2**32, got {size}"
