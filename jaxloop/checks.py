"""What a sweep asks of its task, checked before anything is compiled or written."""

from collections.abc import Container, Iterator, Mapping
from typing import Any

import numpy as np

from jaxloop import contract
from jaxloop.bucket import Bucket, undivided
from jaxloop.declared import direction
from jaxloop.errors import SweepError, told, unknown
from jaxloop.member import length
from jaxloop.sizes import Size
from jaxloop.sweep import Sweep
from jaxloop.task import Task
from jaxloop.traced import batch_shapes, measured_shapes, params_extents, resident


def check(sweep: Sweep, task: Task) -> tuple[str, str]:
    """Checks a sweep against its task, and gives the metric to rank by.

    Returns:
      The metric, and what is better, "max" or "min".

    Raises:
      SweepError: all that is wrong, a line each.
    """
    metrics: list[str] = []
    problems = {
        sweep.places.say(path, rule): None
        for bucket in undivided(sweep)
        for path, rule in _broken(sweep, task, bucket, metrics)
    }
    if problems:
        raise SweepError("\n".join(problems))
    metric, mode = metrics[0], direction(metrics[0], sweep.document.evaluate.mode)
    assert mode is not None, "_broken tells of it"
    return metric, mode


def _metric(sweep: Sweep, measured: Container[str]) -> str:
    """The metric to rank by: the sweep's, else accuracy where it is measured, else the loss."""
    if (metric := sweep.document.evaluate.metric) != "auto":
        return metric
    return "validation/accuracy" if "validation/accuracy" in measured else "validation/loss"


def _broken(sweep: Sweep, task: Task, bucket: Bucket, metrics: list[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong with a bucket, by the place in the sweep; its metric to rank by goes to `metrics`."""
    if "folds" in bucket.static and (rule := _unlike(task.data.train, task.data.validation)):
        yield ("axes", "fold"), rule
        return
    examples = length(resident(task, bucket)["train"])
    for number in bucket.numbers:
        if broken := list(_broken_member(sweep.members[number], examples)):
            yield from broken
            return
    if "weight" in task.data.train and isinstance(sweep.declared["batch_size"], Size):
        yield ("run", "task"), "the data have a `weight`, which a batch of padded size gets from jaxloop"
        return
    member = sweep.members[bucket.numbers[0]]
    if rules := list(contract.broken(task, bucket, bucket.columns(member), batch_shapes(task, bucket))):
        yield from ((("run", "task"), rule) for rule in rules)
        return
    try:
        params_extents(task, bucket)
        measured = measured_shapes(sweep, task, bucket)
    except Exception as error:  # what an optimizer says, or the user's functions over a whole step
        yield ("run", "task"), told(error)
        return
    metrics.append(metric := _metric(sweep, measured))
    if metric not in measured:
        rule = unknown("metric", metric, measured)
        if sweep.document.evaluate.metric == "auto":
            rule = f"needs to be given: the task measures no accuracy and no loss, but {', '.join(measured)}"
        yield ("evaluate", "metric"), rule
    elif direction(metric, sweep.document.evaluate.mode) is None:
        yield ("evaluate", "mode"), f"`{metric}` does not tell what is better: needs max or min"


def _unlike(train: Mapping[str, np.ndarray], validation: Mapping[str, np.ndarray]) -> str | None:
    """What keeps two splits from being one pool."""
    shapes = [{name: x.shape[1:] for name, x in split.items()} for split in (train, validation)]
    if shapes[0] == shapes[1]:
        return None
    return f"needs train and validation examples of the same arrays, got {shapes[0]} and {shapes[1]}"


def _broken_member(hparams: dict[str, Any], pool: int) -> Iterator[tuple[tuple[str, ...], str]]:
    """What a member asks that cannot be: of the `pool` of training examples, or of its model."""
    if hparams.get("positions") == "rope" and hparams["head_width"] % 2:
        yield ("axes", "head_width"), f"needs even numbers for rotary positions, got {hparams['head_width']}"
    folds, fold, wanted = (hparams.get(name) for name in ("folds", "fold", "train_examples"))
    if (folds is None) != (fold is None):
        yield ("axes", "fold"), "`fold`, which one is held out, and `folds`, how many there are, go together"
        return
    examples = pool
    if folds is not None and fold is not None:
        if fold >= folds or folds > pool:
            yield ("axes", "fold"), f"needs fold < folds <= {pool} examples, got fold {fold} of {folds}"
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
