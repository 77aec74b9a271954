"""What a task does that its author hardly meant: told before training, and not refused, since it may be meant."""

import itertools
import re
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify

from jaxloop import declared
from jaxloop.bucket import Bucket, undivided
from jaxloop.errors import is_users
from jaxloop.keys import threefry
from jaxloop.member import length
from jaxloop.sweep import Sweep
from jaxloop.task import Task
from jaxloop.traced import batch_shapes, params_shapes

BLOCK = 1 << 22  # numbers looked at together
LARGE = 1 << 30  # an index that no array has
_unused_sizes = itertools.count(4_099, 2)  # of batches, so that no trace of an earlier one is found again


def cautions(sweep: Sweep, task: Task) -> list[str]:
    """What to tell of a sweep that passed all checks, each a sentence."""
    found = list(_not_finite(task))
    if sweep.document.run.task not in declared.DATA:
        for bucket in undivided(sweep):
            found += _of_functions(sweep, task, bucket)
    return list(dict.fromkeys(found))


def averaged(sweep: Sweep, task: Task) -> list[str]:
    """How the metrics of a user's own task are averaged, where a split is evaluated in several batches."""
    size = sweep.document.evaluate.batch_size
    long = [name for name, split in task.data.splits().items() if name != "train" and length(split) > size]
    if sweep.document.run.task in declared.DATA or not long:
        return []
    return [
        f"metrics are means over batches of evaluate.batch_size = {size} examples, averaged over "
        f"{' and '.join(long)}: one that is no mean over examples, such as F1 or perplexity, depends on that size"
    ]


def _not_finite(task: Task) -> Iterator[str]:
    for split, arrays in task.data.splits().items():
        for name, array in arrays.items():
            if bad := first_not_finite(array):
                count, place = bad
                values = "a value that is" if count == 1 else f"{count} values that are"
                yield f"data.{split}[{name!r}] has {values} not finite, the first at {place}"


def first_not_finite(array: np.ndarray) -> tuple[int, list[int]] | None:
    """How many numbers of an array are not finite, and where the first is; None if all are."""
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


def _of_functions(sweep: Sweep, task: Task, bucket: Bucket) -> Iterator[str]:
    """What a bucket's members do, by their functions' traces and by one batch of the data's extremes."""
    hparams = bucket.hparams(bucket.columns(sweep.members[bucket.numbers[0]]))
    params, batch = params_shapes(task, bucket), batch_shapes(task, bucket)
    key = jax.eval_shape(lambda: threefry(0))

    def init(key: jax.Array) -> Any:
        return task.init(key, hparams)

    def loss(params: Any, batch: Any, key: jax.Array) -> Any:
        return task.loss(params, batch, key, hparams)

    def metrics(params: Any, batch: Any) -> Any:
        return task.metrics(params, batch, hparams)

    impure = [
        name
        for name, function, arguments in (
            ("init", init, (key,)),
            ("loss", loss, (params, batch, key)),
            ("metrics", metrics, (params, batch)),
        )
        if _differs_from_call_to_call(function, *arguments)
    ]
    for name in impure:
        yield (
            f"`{name}` gives other numbers at each call with the same arguments: random numbers of NumPy or "
            "Python are drawn once, as it is compiled, and a replay draws others; use jax.random and the key"
        )
    if not _depends_on_first(init, key):
        yield "`init` does not depend on its key: members that differ in their seed alone start alike"
    for name, function, arguments in (("loss", loss, (key,)), ("metrics", metrics, ())):
        yield from _outer_products(name, function, params, batch, *arguments)
    yield from _indices(
        task, lambda params, batch, key: (loss(params, batch, key), metrics(params, batch)), params, batch
    )


def _differs_from_call_to_call(function: Callable[..., Any], *shapes: Any) -> bool:
    first, second = (jax.make_jaxpr(lambda *args: function(*args))(*shapes) for _ in range(2))
    same = len(first.consts) == len(second.consts) and all(
        np.array_equal(a, b, equal_nan=True) if jnp.issubdtype(a.dtype, jnp.inexact) else np.array_equal(a, b)
        for a, b in zip(map(np.asarray, first.consts), map(np.asarray, second.consts), strict=True)
    )
    return not same or str(first.jaxpr) != str(second.jaxpr)


def _depends_on_first(function: Callable[..., Any], *shapes: Any) -> bool:
    """Whether results may depend on the first argument: by who uses whose results in the function's trace."""
    jaxpr = jax.make_jaxpr(function)(*shapes).jaxpr
    tainted = set(jaxpr.invars[:1])
    for equation in jaxpr.eqns:
        if any(atom in tainted for atom in equation.invars if not hasattr(atom, "val")):
            tainted.update(equation.outvars)
    return any(atom in tainted for atom in jaxpr.outvars if not hasattr(atom, "val"))


def _outer_products(name: str, function: Callable[..., Any], params: Any, batch: Any, *rest: Any) -> Iterator[str]:
    """Where (N,) meets (N, 1) for N examples, which gives (N, N): most often a column that was forgotten."""
    size = next(_unused_sizes)
    resized = {key: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype) for key, leaf in batch.items()}
    found: dict[str, str] = {}

    def note(message: Any, *_: Any, **__: Any) -> None:
        operation, shapes = _rank_promotion(str(message))
        with_examples = {shape for shape in shapes if size in shape}
        if any((*shape, 1) in with_examples for shape in with_examples):
            users = [frame for frame in traceback.extract_stack() if is_users(frame.filename)]
            where = f" ({users[-1].filename}:{users[-1].lineno})" if users else ""
            told = " and ".join(str(shape).replace(str(size), "N") for shape in shapes)
            found[where] = f"`{name}`: {operation} of {told}, N examples, is broadcast to N x N{where}: meant so?"

    with suppress(Exception), jax.numpy_rank_promotion("warn"), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        jax.eval_shape(function, params, resized, *rest)
    yield from found.values()


def _rank_promotion(warning: str) -> tuple[str, list[tuple[int, ...]]]:
    """The operation and shapes that a warning of JAX tells of."""
    told = re.search(r"rank promotion for (\S+) on shapes (.*?)\. Set", warning)
    if not told:
        return "", []
    shapes = re.findall(r"\([^)]*\)", told[2])
    return told[1], [tuple(map(int, re.findall(r"\d+", shape))) for shape in shapes]


def _indices(task: Task, function: Callable[..., Any], params: Any, batch: Any) -> Iterator[str]:
    """Integers of the data that are out of bounds where they are used as indices, such as labels."""
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), params)
    checked = jax.jit(checkify.checkify(function, errors=checkify.index_checks))
    size = length(batch)

    def error_of(rows: dict[str, np.ndarray]) -> str | None:
        padded = {name: np.resize(array, (size, *array.shape[1:])) for name, array in rows.items()}
        weight = {name: np.ones(size, np.float32) for name in batch.keys() - rows.keys()}
        error, _ = checked(zeros, {**padded, **weight}, threefry(0))
        return error.get()

    with suppress(Exception):  # a function that checkify cannot trace is not checked
        for split, arrays in task.data.splits().items():
            for name, array in arrays.items():
                if not np.issubdtype(array.dtype, np.integer):
                    continue
                flat = array.reshape(len(array), -1)
                least, most = int(flat.min(1).argmin()), int(flat.max(1).argmax())
                rows = {key: np.asarray(values[[least, most]]) for key, values in arrays.items()}
                has = f"data.{split}[{name!r}] has integers from {flat[least].min()} to {flat[most].max()}"
                if told := error_of(rows):
                    yield f"{has}: {_first_line(told)}"
                elif flat[least].min() < 0 and error_of(
                    {**rows, name: np.where(rows[name] < 0, LARGE, rows[name])}
                ):
                    yield f"{has}, used as indices: negative ones count from the end"


def _first_line(error: str) -> str:
    return error.strip().splitlines()[0].rstrip(". ")
