"""Warn about likely mistakes in a task before training. They are not refused, since some are intended."""

import itertools
import re
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify

from jaxloop.core.assembly import measured_shapes
from jaxloop.core.bucket import Bucket, undivided
from jaxloop.core.data import spread_over
from jaxloop.core.member import length
from jaxloop.core.prng import key_shape, threefry
from jaxloop.core.raw_keys import is_key
from jaxloop.core.shapes import batch_shapes, hparams_read, initial_shapes
from jaxloop.core.task import Task
from jaxloop.errors import is_users
from jaxloop.sweep import catalog
from jaxloop.sweep.sweep import Sweep

BLOCK = 1 << 22  # elements checked at a time
LARGE = 1 << 30  # an index that no array has
_unused_sizes = itertools.count(1_031, 2)  # of batches not used before: a cached trace would emit no warning


def cautions(sweep: Sweep, task: Task) -> list[str]:
    """Return warnings about a sweep that passed all checks, one sentence each."""
    found = list(_not_finite(task))
    if sweep.document.run.task not in catalog.DATA:
        for bucket in undivided(sweep):
            found += _of_functions(sweep, task, bucket)
        found += _unread_axes(sweep, task)
    return list(dict.fromkeys(found))


def averaged(sweep: Sweep, task: Task) -> list[str]:
    """Return how the metrics of a user's own task are averaged, where a split is evaluated in several batches."""
    size = sweep.document.evaluate.batch_size
    long = [name for name, split in task.data.splits().items() if name != "train" and length(split) > size]
    if sweep.document.run.task in catalog.DATA or not long or task.report:
        return []
    return [
        f"metrics are means over batches of evaluate.batch_size = {size} examples, averaged over "
        f"{' and '.join(long)}: what is no mean over examples, such as F1 or perplexity, belongs in `Task.report`"
    ]


def pooled(sweep: Sweep, task: Task) -> list[str]:
    """Return how many examples members with folds hold out, where there are such members."""
    first = next((member for member in sweep.members if "folds" in member), None)
    splits = task.data.splits()
    if first is None or not {"train", "validation"} <= splits.keys():
        return []
    pool = length(splits["train"]) + length(splits["validation"])
    dealt = ", dealt anew by each seed" if first.get("resample") else ""
    return [
        f"training and validation examples are one pool of {pool}: each member holds out one fold of "
        f"{first['folds']}, {pool // first['folds']} examples{dealt}"
    ]


def _not_finite(task: Task) -> Iterator[str]:
    for split, arrays in task.data.samples().items():
        for name, array in arrays.items():
            if bad := first_not_finite(array):
                count, place = bad
                of = ""
                if split == "train" and task.data.source is not None:
                    rows = spread_over(len(task.data.source))
                    place, of = [int(rows[place[0]]), *place[1:]], f" among {len(rows)} examples spread over it"
                values = "a value that is" if count == 1 else f"{count} values that are"
                yield f"data.{split}[{name!r}] has {values} not finite{of}, the first at {place}"


def first_not_finite(array: np.ndarray) -> tuple[int, list[int]] | None:
    """Return how many numbers of an array are not finite, and where the first is; None if all are."""
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        return None
    rows = max(1, BLOCK // max(1, array[0].size))
    count, place = 0, []
    for start in range(0, len(array), rows):
        bad = ~np.isfinite(np.asarray(array[start : start + rows]))
        if bad.any():
            row, *rest = np.unravel_index(int(bad.argmax()), bad.shape)
            place = place or [start + int(row), *map(int, rest)]
            count += int(bad.sum())
    return (count, place) if count else None


def _unread_axes(sweep: Sweep, task: Task) -> Iterator[str]:
    """Find axes that neither the task's functions nor jaxloop's steps read, by tracing one member's program."""
    unread = set(sweep.varied) - {"steps"}  # they always matter: a member ends after them
    for bucket in undivided(sweep):
        if unread:
            measured_shapes(sweep, task, bucket)
            unread -= hparams_read(task, bucket)
    for name in sorted(unread):
        rule = "is read neither by the task's functions nor by jaxloop"
        yield f"the axis {name} {rule}: members that differ in it alone are twins"


def _of_functions(sweep: Sweep, task: Task, bucket: Bucket) -> Iterator[str]:
    """Check the task's functions by tracing them, and the data's extreme values by running one batch."""
    hparams = bucket.hparams(bucket.columns(sweep.members[bucket.numbers[0]]))
    initial, batch = initial_shapes(task, bucket), batch_shapes(task, bucket)
    key = key_shape()

    def init(key: jax.Array) -> Any:
        return task.init(key, hparams)

    def train(initial: Any, batch: Any, key: jax.Array) -> Any:
        step = jnp.int32(0)
        if task.update:
            return task.update(initial, batch, key, step, hparams)
        if task.stateful_loss:
            return task.stateful_loss(*initial, batch, key, step, hparams)
        return task.loss and task.loss(initial, batch, key, hparams)

    def metrics(initial: Any, batch: Any) -> Any:
        return task.metrics and task.metrics(initial, batch, hparams)

    checks = [
        _of_init(init, key),
        _of_batch(task, task.form, train, initial, batch, key),
        _of_batch(task, "metrics", metrics, initial, batch),
    ]
    if not task.update:  # an update cannot be run from a state of zeros
        checks.append(_indices(task, lambda p, b, key: (train(p, b, key), metrics(p, b)), initial, batch))
    for check in checks:
        with suppress(Exception):  # a function that cannot be traced in this way is not checked in this way
            yield from check


def _of_init(init: Callable[..., Any], key: Any) -> Iterator[str]:
    first, second = _two_traces(init, key)
    yield from _ignored_key(first.jaxpr)
    yield from _calls_that_differ("init", first, second)


def _of_batch(
    task: Task, name: str, function: Callable[..., Any], initial: Any, batch: Any, *rest: Any
) -> Iterator[str]:
    """Compare two traces of a function of a batch: at an unused batch size, or if that fails at its own.

    What it does at its own batch size alone may be missed.
    """
    size, traces = next(_unused_sizes), None
    resized = {
        key: leaf if key in task.data.shared else jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype)
        for key, leaf in batch.items()
    }
    with _outer_products(name, size) as found, suppress(Exception):
        traces = _two_traces(function, initial, resized, *rest)
    yield from found.values()
    yield from _calls_that_differ(name, *(traces or _two_traces(function, initial, batch, *rest)))


def _two_traces(function: Callable[..., Any], *shapes: Any) -> tuple[Any, Any]:
    """Return the jaxprs of two calls, each through a new lambda: JAX would return the first trace again."""
    first, second = (jax.make_jaxpr(lambda *args: function(*args))(*shapes) for _ in range(2))
    return first, second


def _calls_that_differ(name: str, first: Any, second: Any) -> Iterator[str]:
    consts = [list(map(_bytes, jaxpr.consts)) for jaxpr in (first, second)]
    if consts[0] != consts[1] or str(first.jaxpr) != str(second.jaxpr):
        yield (
            f"`{name}` returns different numbers when called twice with the same arguments: NumPy's or Python's "
            "random numbers are drawn once, as it is compiled, and a replay would draw others; use jax.random"
        )


def _bytes(const: Any) -> bytes:
    return np.asarray(jax.random.key_data(const) if is_key(const) else const).tobytes()


def _ignored_key(jaxpr: Any) -> Iterator[str]:
    """Follow the key through the jaxpr of `init` to the results."""
    tainted = set(jaxpr.invars)
    for equation in jaxpr.eqns:
        if any(atom in tainted for atom in equation.invars if not hasattr(atom, "val")):
            tainted.update(equation.outvars)
    if not any(atom in tainted for atom in jaxpr.outvars if not hasattr(atom, "val")):
        same = "members that differ in their seed alone start from the same parameters"
        yield f"`init` does not depend on its key: {same}"


@contextmanager
def _outer_products(name: str, size: int) -> Iterator[dict[str, str]]:
    """Collect places where a trace broadcasts (N,) with (N, 1) to (N, N) for N examples: a forgotten axis, mostly.

    Args:
      name: the function's, for the message.
      size: the batch size N.

    Yields:
      A dict, filled while tracing, with one sentence for each place.
    """
    found: dict[str, str] = {}

    def note(message: Any, *_: Any, **__: Any) -> None:
        operation, shapes = _rank_promotion(str(message))
        with_examples = {shape for shape in shapes if size in shape}
        if any((*shape, 1) in with_examples for shape in with_examples):
            users = [frame for frame in traceback.extract_stack() if is_users(frame.filename)]
            where = f" ({users[-1].filename}:{users[-1].lineno})" if users else ""
            operands = " and ".join(str(shape).replace(str(size), "N") for shape in shapes)
            found[where] = (
                f"`{name}`: {operation} of {operands}, N examples, is broadcast to N x N{where}: is this intended?"
            )

    with jax.numpy_rank_promotion("warn"), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        yield found


def _rank_promotion(warning: str) -> tuple[str, list[tuple[int, ...]]]:
    """Parse the operation and the shapes from JAX's warning."""
    found = re.search(r"rank promotion for (\S+) on shapes (.*?)\. Set", warning)
    if not found:
        return "", []
    shapes = re.findall(r"\([^)]*\)", found[2])
    return found[1], [tuple(map(int, re.findall(r"\d+", shape))) for shape in shapes]


def _indices(task: Task, function: Callable[..., Any], params: Any, batch: Any) -> Iterator[str]:
    """Integers of the data that are out of bounds where they are used as indices, such as labels."""
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), params)
    checked = checkify.checkify(function, errors=checkify.index_checks)
    find_error = jax.jit(lambda *args: checked(*args)[0])  # without the results, XLA drops all that no check needs
    shared = dict(task.data.shared)
    size = length({name: leaf for name, leaf in batch.items() if name not in shared})

    def error_of(rows: dict[str, np.ndarray]) -> str | None:
        padded = {name: np.resize(array, (size, *array.shape[1:])) for name, array in rows.items()}
        weight = {name: np.ones(size, np.float32) for name in batch.keys() - rows.keys() - shared.keys()}
        return find_error(zeros, {**padded, **weight, **shared}, threefry(0)).get()

    for split, arrays in task.data.samples().items():
        for name, array in arrays.items():
            if not np.issubdtype(array.dtype, np.integer):
                continue
            flat = array.reshape(len(array), -1)
            least, most = int(flat.min(1).argmin()), int(flat.max(1).argmax())
            rows = {key: np.asarray(values[[least, most]]) for key, values in arrays.items()}
            has = f"data.{split}[{name!r}] has integers from {flat[least].min()} to {flat[most].max()}"
            if error := error_of(rows):
                yield f"{has}: {_first_line(error)}"
            elif flat[least].min() < 0:
                far_below = np.where(rows[name] < 0, -LARGE, rows[name].astype(np.int64)).astype(np.int32)
                if error_of({**rows, name: far_below}):
                    yield f"{has}: if they are used as indices, negative values count from the end"


def _first_line(error: str) -> str:
    return error.strip().splitlines()[0].rstrip(". ")
