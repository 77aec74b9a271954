"""Trace one of a task's functions, and explain what goes wrong in the task's own terms."""

import inspect
from collections.abc import Callable
from typing import Any

import jax

from jaxloop.core.bucket import Bucket
from jaxloop.core.noting import NotingHparams
from jaxloop.errors import told

TAKES = {  # what each function of a task takes
    "init": ("key", "hparams"),
    "loss": ("params", "batch", "key", "hparams"),
    "stateful_loss": ("params", "state", "batch", "key", "step", "hparams"),
    "update": ("state", "batch", "key", "step", "hparams"),
    "params": ("state",),
    "metrics": ("what init gives", "batch", "hparams"),
    "report": ("{name: mean}", "hparams"),
    "done": ("what init gives", "hparams"),
    "tx": ("hparams", "step"),
    "eval_params": ("opt_state", "params"),
    "learning_rate_multipliers": ("params", "hparams"),
    "decay_mask": ("params", "hparams"),
    "hidden": ("params", "hparams"),
}
BRANCHES = (  # what JAX raises where Python needs a value that is only known when the program runs
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


class BrokenError(Exception):
    """A rule that a task breaks."""


def check_arguments(name: str, function: Callable) -> None:
    """Make sure that a function of a task can be called with what it gets.

    Raises:
      BrokenError: it takes other arguments.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # it has none to look at
        return
    try:
        signature.bind(*TAKES[name])
    except TypeError as error:
        takes = f"needs to take ({', '.join(TAKES[name])}), takes {signature}"
        raise BrokenError(f"{place(function)}`{name}` {takes}") from error


def traced(
    name: str,
    function: Callable,
    bucket: Bucket,
    example: dict[str, Any],
    *args: Any,
    written: Callable | None = None,
) -> Any:
    """Return the shapes of what a function returns; its hparams come last, if it takes them.

    Args:
      example: one member's traced hparams, as values.
      written: what the user wrote, if `function` only calls it.

    Raises:
      BrokenError: it cannot be traced.
    """

    def call(values: Any, *args: Any) -> Any:
        hparams = [NotingHparams(bucket.hparams(values), set())] if "hparams" in TAKES[name] else []
        found = function(*args, *hparams)
        for path, leaf in jax.tree_util.tree_flatten_with_path(found)[0]:
            if not (hasattr(leaf, "dtype") or isinstance(leaf, bool | int | float | complex)):
                where = jax.tree_util.keystr(path)
                rule = f"returns a {type(leaf).__name__}{where and f' in {where}'}: needs arrays and numbers"
                raise BrokenError(f"{place(written or function)}`{name}` {rule}")
        return found

    try:
        return jax.eval_shape(call, example, *args)
    except BrokenError:
        raise
    except BRANCHES as error:
        guilty = [f"`{hparam}`" for hparam in example if _works_with_value(call, example, hparam, args)]
        on, hint = "an array", "use jnp.where or jax.lax.cond"
        if guilty:
            on = f"traced hparam {' or '.join(guilty)}"
            hint = 'use jnp.where, or make it an axis with kind = "static": a program for each value'
        rule = f"`{name}` needs the value of {on} in Python (`if`, `float()`, `range()`)"
        raise BrokenError(f"{rule}: {hint}; {told(error)}") from error
    except KeyError as error:
        known = [f"a member's hparams: {', '.join(sorted(bucket.hparams(example)))}"]
        if "batch" in TAKES[name]:
            batch = args[TAKES[name].index("batch")]
            known.insert(0, f"the arrays of a batch: {', '.join(batch) or 'none, since the task has no data'}")
        raise BrokenError(f"`{name}`: {told(error)}; {'; '.join(known)}") from error
    except Exception as error:  # whatever the user's code raises
        raise BrokenError(f"`{name}`: {told(error)}") from error


def _works_with_value(call: Callable, example: dict[str, Any], hparam: str, args: tuple) -> bool:
    others = {name: value for name, value in example.items() if name != hparam}
    try:
        jax.eval_shape(lambda others, *args: call({**others, hparam: example[hparam]}, *args), others, *args)
    except Exception:
        return False
    return True


def kind(value: Any) -> str:
    """Return what a value is, in a few words."""
    if type(value) is tuple:
        return f"a tuple of {len(value)}"
    return f"shape {value.shape}" if hasattr(value, "shape") else type(value).__name__


def place(function: Callable) -> str:
    """Return where a function was written."""
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}: " if code else ""
