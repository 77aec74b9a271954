"""Whether a task's own `update` keeps the padding of its parameters zero: found by taking a few steps."""

from typing import Any

import jax
import numpy as np

from jaxloop.core.assembly import learner_of
from jaxloop.core.bucket import Bucket
from jaxloop.core.member import member
from jaxloop.core.padding import by_path
from jaxloop.core.shapes import params_extents
from jaxloop.core.task import Task
from jaxloop.sweep.sweep import Sweep

STEPS = 5


def broken(sweep: Sweep, task: Task, bucket: Bucket) -> str | None:
    """Return what is wrong with the padding of the smallest member's parameters after a few steps, or None."""
    if bucket.static["optimizer"] == "muon":
        return '`update` gets muon without the true shapes of padded matrices: make the sizes kind = "static"'
    try:
        extents = by_path(params_extents(task, bucket))
    except ValueError as error:  # arrays that cannot be padded
        return str(error)
    smallest = min(bucket.numbers, key=lambda number: [sweep.members[number][name] for name in bucket.sizes])
    columns = bucket.columns(sweep.members[smallest])
    params_of = learner_of(task, bucket).params
    one = member(task, learner_of(task, bucket), bucket.hparams, evaluation_batch=1)
    data = {**task.data.samples(), **({"shared": dict(task.data.shared)} if task.data.shared else {})}

    @jax.jit
    def trained(hparams: Any, data: Any) -> Any:
        def step(state: Any, _: None) -> Any:
            return one.step(hparams, state, one.draw(hparams, state.step, data), data)[0], None

        before = one.init(hparams)
        after, _ = jax.lax.scan(step, before, length=STEPS)
        return params_of(before.learner), params_of(after.learner)

    for when, params in zip(("init", "update"), trained(columns, data), strict=True):
        for path, leaf in by_path(params).items():
            own = tuple(slice(int(length)) for length in extents[path].own(bucket.hparams(columns)))
            beyond = np.asarray(leaf).copy()
            beyond[own] = 0
            if beyond.any():
                where, sizes = jax.tree_util.keystr(path), ", ".join(bucket.sizes)
                return (
                    f"`{when}` leaves numbers in the padding of params{where}, whose own part is "
                    f"{[part.stop for part in own]} of {list(leaf.shape)}: padded by {sizes}, it must stay zero: "
                    'multiply by `jnp.arange(size.max) < size.value`, or make the axis kind = "static"'
                )
    return None
