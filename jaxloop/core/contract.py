"""What a task needs to be, checked from shapes before compiling, with messages in the task's own terms."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import optax

from jaxloop.core.bucket import Bucket
from jaxloop.core.memo import memoized
from jaxloop.core.padding import by_path
from jaxloop.core.prng import key_shape
from jaxloop.core.raw_keys import is_key
from jaxloop.core.shapes import initial_shapes
from jaxloop.core.task import Task
from jaxloop.core.tracing import TAKES, BrokenError, check_arguments, kind, place, traced

MOST_PARAMETERS = 2**31 - 1  # int32 indices reach them all
EXAMPLES = 8  # that metrics are traced with


def broken(task: Task, bucket: Bucket, example: dict[str, Any], batch: dict[str, Any]) -> Iterator[str]:
    """Yield the first rule that a task's functions break for a bucket's members, if any; each is checked once.

    Args:
      example: one member's traced hparams, as values.
      batch: one training batch, as shapes.
    """

    def rule() -> str | None:
        try:
            _Contract(task, bucket, example, batch).check()
        except BrokenError as error:
            return str(error)
        return None

    if found := memoized(task, ("contract", bucket.program), rule):
        yield found


@dataclass(frozen=True)
class _Contract:
    """The rules of a task's functions for a bucket's members; each raises BrokenError."""

    task: Task
    bucket: Bucket
    example: dict[str, Any]
    batch: dict[str, Any]

    def check(self) -> None:
        for name in TAKES:
            if function := getattr(self.task, name):
                check_arguments(name, function)
        initial = self._initial()
        of_form = {
            "loss": self._check_stateless_loss,
            "stateful_loss": self._check_stateful_loss,
            "update": self._check_update,
        }
        of_form[self.task.form](getattr(self.task, self.task.form), initial)
        if self.task.tx:
            self._check_tx(self.task.tx, initial[0] if self.task.stateful_loss else initial)
        if self.task.done:
            found = self._traced("done", self.task.done, initial)
            if getattr(found, "shape", None) != () or found.dtype != bool:
                self._break("done", self.task.done, f"needs to return a bool, got {kind(found)}")
        if self.task.metrics:
            self._check_metrics(self.task.metrics, initial)

    def _initial(self) -> Any:
        """Return what `init` gives, as shapes."""
        initial = initial_shapes(self.task, self.bucket, lambda: self._traced("init", self.task.init, key_shape()))
        for path, leaf in jax.tree_util.tree_flatten_with_path(initial)[0]:
            if is_key(leaf) and str(leaf.dtype) != "key<fry>":
                rule = f"gives PRNG keys of {leaf.dtype} in state{jax.tree_util.keystr(path)}"
                self._break("init", self.task.init, f"{rule}: only threefry's are each member's own under vmap")
        return initial

    def _check_params(self, params: Any) -> None:
        for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                rule = f"needs to give float arrays, params{jax.tree_util.keystr(path)} is {leaf.dtype}"
                hint = "a `stateful_loss` may keep others" if self.task.loss else "others belong in the state"
                self._break("init", self.task.init, f"{rule}: {hint}")
        self._check_count(params)

    def _check_count(self, params: Any) -> None:
        if (count := sum(leaf.size for leaf in jax.tree.leaves(params))) > MOST_PARAMETERS:
            rule = f"gives a member {count:,} parameters, and at most {MOST_PARAMETERS:,} can be trained"
            self._break("init", self.task.init, rule)

    def _check_loss(self, name: str, function: Callable, found: Any, form: str) -> None:
        if not (isinstance(found, tuple) and len(found) == 2):
            self._break(name, function, f"needs to return {form}, got {kind(found)}")
        if getattr(found[0], "shape", None) != ():
            self._break(name, function, f"needs to return a scalar first, got {kind(found[0])}")

    def _check_stateless_loss(self, function: Callable, params: Any) -> None:
        self._check_params(params)
        arguments = (params, self.batch, key_shape())
        found = self._traced("loss", function, *arguments)
        self._check_loss("loss", function, found, "(scalar, {metric: value})")
        self._check_values("loss", function, found, arguments, lambda found: found[1])

    def _check_stateful_loss(self, function: Callable, initial: Any) -> None:
        if not (isinstance(initial, tuple) and len(initial) == 2):
            rule = "needs to return (params, state) for a `stateful_loss`; a state may be ()"
            self._break("init", self.task.init, f"{rule}, got {kind(initial)}")
        params, state = initial
        self._check_params(params)
        arguments = (params, state, self.batch, key_shape(), _step())
        found = self._traced("stateful_loss", function, *arguments)
        form = "(scalar, (state, {metric: value}))"
        self._check_loss("stateful_loss", function, found, form)
        if not (isinstance(found[1], tuple) and len(found[1]) == 2):
            self._break(
                "stateful_loss", function, f"needs to return {form}, got {kind(found[1])} in the second place"
            )
        self._check_same("stateful_loss", function, state, found[1][0])
        self._check_values("stateful_loss", function, found, arguments, lambda found: found[1][1])

    def _check_update(self, function: Callable, initial: Any) -> None:
        if self.task.params:
            self._traced("params", self.task.params, initial)
        arguments = (initial, self.batch, key_shape(), _step())
        found = self._traced("update", function, *arguments)
        if not (isinstance(found, tuple) and len(found) == 2):
            self._break("update", function, f"needs to return (state, {{metric: value}}), got {kind(found)}")
        self._check_same("update", function, initial, found[0])
        self._check_values("update", function, found, arguments, lambda found: found[1])

    def _check_tx(self, own: Callable, params: Any) -> None:
        def states(params: Any, hparams: Any) -> Any:
            found = optax.with_extra_args_support(own(hparams, jnp.int32(0)))
            state = found.init(params)
            seen = {"value": jnp.float32(0), "grad": params, "value_fn": lambda params: jnp.float32(0)}
            updates, new = found.update(params, state, params, **seen)
            optax.apply_updates(params, updates)
            return state, new

        old, new = traced("tx", states, self.bucket, self.example, params, written=own)
        self._check_same("tx", own, old, new)

    def _check_metrics(self, function: Callable, initial: Any) -> None:
        batch = {name: leaf for name, leaf in self.batch.items() if name in self.task.data.shared}
        splits = self.task.data.splits()
        for split in [*self.task.data.evaluated(), "test"][:1]:
            batch |= {name: _some(array) for name, array in splits.get(split, {}).items()}
        measured = self._traced("metrics", function, initial, batch)
        if not isinstance(measured, dict) or not measured:
            self._break("metrics", function, f"needs to return {{metric: value}}, got {kind(measured)}")
        self._check_values("metrics", function, measured, (initial, batch))
        if self.task.report:
            reported = self._traced("report", self.task.report, measured)
            if not isinstance(reported, dict) or not reported:
                self._break("report", self.task.report, f"needs to return {{metric: value}}, got {kind(reported)}")
            self._check_values("report", self.task.report, reported, (measured,))

    def _check_same(self, name: str, function: Callable, old: Any, new: Any) -> None:
        """Make sure that a new state has the structure, shapes and dtypes of the one before."""
        before, after = by_path(old), by_path(new)
        for path in [*before, *after]:
            where = f"state{jax.tree_util.keystr(path)}"
            if path not in after or path not in before:
                is_lost = path not in after
                self._break(
                    name, function, f"{'loses' if is_lost else 'adds'} {where}: the state keeps its structure"
                )
            was, now = before[path], after[path]
            # a number of Python's own takes the dtype that was there, if that can hold it
            takes = getattr(now, "weak_type", False) and jnp.result_type(was.dtype, now) == was.dtype
            if was.shape != now.shape or (was.dtype != now.dtype and not takes):
                rule = f"needs to return {where} as it was, {was.dtype}{list(was.shape)}"
                self._break(name, function, f"{rule}, and returns {now.dtype}{list(now.shape)}")
        if jax.tree.structure(old) != jax.tree.structure(new):
            kinds = f"{jax.tree.structure(old)}; got {jax.tree.structure(new)}"
            self._break(name, function, f"needs to return a state of the same structure, {kinds}")

    def _check_values(
        self,
        name: str,
        function: Callable,
        found: Any,
        arguments: tuple,
        metrics_of: Callable = lambda found: found,
    ) -> None:
        """Make sure that metrics are numbers, of shapes that do not depend on how many examples there are.

        Args:
          found: what the function returns for the arguments.
          metrics_of: of that, the metrics.
        """
        metrics = metrics_of(found)
        if not isinstance(metrics, dict):
            self._break(name, function, f"needs to give metrics as {{metric: value}}, got {kind(metrics)}")
        for metric, leaf in metrics.items():
            dtype = getattr(leaf, "dtype", None)
            if dtype is None or not any(jnp.issubdtype(dtype, number) for number in (jnp.number, jnp.bool_)):
                self._break(name, function, f"needs metrics that are numbers, `{metric}` is {kind(leaf)}")
        if "batch" not in TAKES[name] or all(leaf.shape == () for leaf in metrics.values()):
            return
        grown = list(arguments)
        grown[TAKES[name].index("batch")] = self._grown(arguments[TAKES[name].index("batch")])
        for metric, leaf in metrics_of(self._traced(name, function, *grown)).items():
            if leaf.shape != metrics[metric].shape:
                rule = (
                    f"gives `{metric}` of shape {metrics[metric].shape}, which depends on the number of examples"
                )
                self._break(name, function, f"{rule}: metrics are means over them")

    def _grown(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch with one example more."""
        return {
            name: leaf
            if name in self.task.data.shared
            else jax.ShapeDtypeStruct((leaf.shape[0] + 1, *leaf.shape[1:]), leaf.dtype)
            for name, leaf in batch.items()
        }

    def _break(self, name: str, function: Callable, rule: str) -> NoReturn:
        raise BrokenError(f"{place(function)}`{name}` {rule}")

    def _traced(self, name: str, function: Callable, *args: Any) -> Any:
        return traced(name, function, self.bucket, self.example, *args)


def _some(array: Any) -> jax.ShapeDtypeStruct:
    """Return a few examples, as a shape."""
    rows = min(len(array), EXAMPLES)
    return jax.ShapeDtypeStruct((rows, *array.shape[1:]), jax.dtypes.canonicalize_dtype(array.dtype))


def _step() -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((), jnp.int32)
