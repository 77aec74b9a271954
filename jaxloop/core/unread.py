"""Find axes of a sweep that nothing reads: members that differ in one of them alone are twins."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import jax

from jaxloop.core.bucket import Bucket, undivided
from jaxloop.core.member import member
from jaxloop.core.shapes import columns, learner_of, params_shapes, resident
from jaxloop.core.task import Task
from jaxloop.sweep.sweep import Sweep


class _Noting(dict):
    """Hparams that note which of them are read; a copy of them reads all."""

    def __init__(self, hparams: Mapping[str, Any], read: set[str]) -> None:
        super().__init__(hparams)
        self.read = read

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.read.add(str(name))
        return super().__contains__(name)

    def _all(self, name: str, *args: Any) -> Any:
        self.read.update(self)
        return getattr(super(), name)(*args)

    def __iter__(self) -> Iterator[str]:
        return self._all("__iter__")

    def __or__(self, other: Any) -> Any:
        return self._all("__or__", other)

    def __ror__(self, other: Any) -> Any:
        return self._all("__ror__", other)

    def keys(self) -> Any:
        return self._all("keys")

    def values(self) -> Any:
        return self._all("values")

    def items(self) -> Any:
        return self._all("items")

    def copy(self) -> Any:
        return self._all("copy")


def unread_axes(sweep: Sweep, task: Task) -> Iterator[str]:
    """Yield a sentence for each axis that no function of the task reads, nor jaxloop's steps."""
    names = set(sweep.varied) - {"steps"}
    for bucket in undivided(sweep):
        if not names:
            return
        try:
            names -= _read(sweep, task, bucket)
        except Exception:  # a function that cannot be traced in this way is not checked in this way
            return
    for name in sorted(names):
        reader = f"`{task.form}`" if task.update else "the task"
        twins = "members that differ in it alone are twins"
        yield f"the axis {name} is read neither by {reader} nor by jaxloop: {twins}"


def _read(sweep: Sweep, task: Task, bucket: Bucket) -> set[str]:
    """Return the names of the hparams that one member's functions read, found by tracing them."""
    read: set[str] = set()
    shapes, data = columns(task, bucket), resident(task, bucket)
    evaluation_batch = sweep.document.evaluate.batch_size
    one = member(
        task,
        learner_of(task, bucket),
        lambda traced: _Noting(bucket.hparams(traced), read),
        evaluation_batch,
        keeps_best=bool(sweep.document.checkpoint.best),
    )
    state = jax.eval_shape(one.init, shapes)
    draw = jax.eval_shape(one.draw, shapes, state.step, data)
    jax.eval_shape(one.step, shapes, state, draw, data)
    jax.eval_shape(one.validate, shapes, state, data)
    jax.eval_shape(one.test, shapes, state, data)
    if task.loss or task.stateful_loss:
        of_arrays, params = _Noting(bucket.static, read), params_shapes(task, bucket)
        with suppress(Exception):
            task.decay_mask(params, of_arrays)
            task.hidden(params, of_arrays)
    return read
