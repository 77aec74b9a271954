"""What a task needs to be, checked from shapes before compiling, with messages in the task's own terms."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxloop.core.bucket import Bucket
from jaxloop.core.prng import threefry
from jaxloop.core.task import Task
from jaxloop.errors import told

MOST_PARAMETERS = 2**31 - 1  # int32 indices reach them all
BRANCHES = (  # what JAX raises where Python needs a value that is only known when the program runs
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


class _BrokenError(Exception):
    """A rule that the task breaks."""


def broken(task: Task, bucket: Bucket, example: dict[str, Any], batch: dict[str, Any]) -> Iterator[str]:
    """Yield the first rule that a task's functions break for a bucket's members, if any.

    Args:
      example: one member's traced hparams, as values.
      batch: one training batch, as shapes.
    """
    try:
        key = jax.eval_shape(lambda: threefry(0))
        params = _traced("init", task.init, bucket, example, key)
        for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                where = jax.tree_util.keystr(path)
                raise _BrokenError(
                    f"{_place(task.init)}`init` needs to give float arrays, params{where} is {leaf.dtype}"
                )
        if (count := sum(leaf.size for leaf in jax.tree.leaves(params))) > MOST_PARAMETERS:
            rule = f"gives a member {count:,} parameters, and at most {MOST_PARAMETERS:,} can be trained"
            raise _BrokenError(f"{_place(task.init)}`init` {rule}")
        found = _traced("loss", task.loss, bucket, example, params, batch, key)
        if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict)):
            rule = f"`loss` needs to return (scalar, {{metric: scalar}}), got {_kind(found)}"
            raise _BrokenError(_place(task.loss) + rule)
        if getattr(found[0], "shape", None) != ():
            raise _BrokenError(f"{_place(task.loss)}`loss` needs to return a scalar first, got {_kind(found[0])}")
        _scalars("loss", task.loss, found[1])
        measured = _traced("metrics", task.metrics, bucket, example, params, batch)
        if not isinstance(measured, dict) or not measured:
            rule = f"`metrics` needs to return {{metric: scalar}}, got {_kind(measured)}"
            raise _BrokenError(_place(task.metrics) + rule)
        if task.report is None:
            _scalars("metrics", task.metrics, measured)
            return
        reported = _traced("report", task.report, bucket, example, measured)
        if not isinstance(reported, dict) or not reported:
            rule = f"`report` needs to return {{metric: scalar}}, got {_kind(reported)}"
            raise _BrokenError(_place(task.report) + rule)
        _scalars("report", task.report, reported)
    except _BrokenError as error:
        yield str(error)


def _traced(name: str, function: Callable, bucket: Bucket, example: dict[str, Any], *args: Any) -> Any:
    """Return the shapes of what one of the task's functions returns; its hparams come last."""

    def call(traced: Any, *args: Any) -> Any:
        return function(*args, bucket.hparams(traced))

    try:
        return jax.eval_shape(call, example, *args)
    except BRANCHES as error:
        guilty = [f"`{hparam}`" for hparam in example if _works_with_value(call, example, hparam, args)]
        on = f"traced hparam {' or '.join(guilty)}" if guilty else "a traced value"
        hint = 'use jnp.where, or make it an axis with kind = "static": a program for each value'
        rule = f"`{name}` needs the value of {on} in Python (`if`, `float()`, `range()`)"
        raise _BrokenError(f"{rule}: {hint}; {told(error)}") from error
    except KeyError as error:
        known = ", ".join(sorted(bucket.hparams(example)))
        raise _BrokenError(f"`{name}`: {told(error)}; a member's hparams: {known}") from error
    except Exception as error:  # whatever the user's code raises
        raise _BrokenError(f"`{name}`: {told(error)}") from error


def _works_with_value(call: Callable, example: dict[str, Any], hparam: str, args: tuple) -> bool:
    others = {name: value for name, value in example.items() if name != hparam}
    try:
        jax.eval_shape(lambda others, *args: call({**others, hparam: example[hparam]}, *args), others, *args)
    except Exception:
        return False
    return True


def _scalars(name: str, function: Callable, metrics: dict[str, Any]) -> None:
    for metric, leaf in metrics.items():
        if getattr(leaf, "shape", None) != ():
            rule = f"`{name}` needs scalar metrics, `{metric}` is {_kind(leaf)}"
            raise _BrokenError(_place(function) + rule)


def _kind(value: Any) -> str:
    return f"shape {value.shape}" if hasattr(value, "shape") else type(value).__name__


def _place(function: Callable) -> str:
    """Return where a function was written."""
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}: " if code else ""
