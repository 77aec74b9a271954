"""What a run will need of the disk, reckoned before anything is written."""

from typing import Any

import jax

from jaxloop.core import devices
from jaxloop.core.assembly import final_shapes, one_member
from jaxloop.core.bucket import Bucket
from jaxloop.core.checks import Checked
from jaxloop.core.task import Task
from jaxloop.sweep.sweep import Sweep

POINT_BYTES = 48  # of a metric's point: in the store and its log, and in TensorBoard's file; measured
MEMBER_BYTES = 6_000  # of a member's rows and its folder's first events; measured
RUN_BYTES = 2 << 20  # of all else


def needed(sweep: Sweep, task: Task, buckets: list[Bucket], checked: Checked, *, begun: bool = False) -> int:
    """Return the bytes that a run takes at most at a time, before the copies of the best members.

    Args:
      checked: what is measured of a member.
      begun: whether all members have begun, so that a checkpoint holds them whether they sit or wait.
    """
    a_point = len(checked.measured) * POINT_BYTES + 2 * checked.array_bytes  # in the store, and for TensorBoard
    parts = [part for bucket in buckets for part in bucket.size_classes]
    return RUN_BYTES + sum(_of_class(sweep, task, part, a_point, begun=begun) for part in parts)


def _of_class(sweep: Sweep, task: Task, part: Bucket, a_point: int, *, begun: bool) -> int:
    """Return what the members of a size class take.

    "best:K" needs as much as "all" until the run ends: who is best is known then.
    """
    one, hparams = one_member(sweep, task, part)
    members, document = len(part.numbers), sweep.document
    wanted = document.population.capacity
    chosen = wanted if isinstance(wanted, int) else None
    seats = devices.choose_slots(members, chosen, cpu=jax.default_backend() == "cpu")
    # two checkpoints are kept, and the next is whole before the oldest goes
    saved = 3 * (members if begun else seats) * _bytes(jax.eval_shape(one.init, hparams))
    if document.checkpoint.keep != "none":
        finals = final_shapes(task, part, best=bool(document.checkpoint.best))
        averages = finals["params"] if "ema_decay" in sweep.members[part.numbers[0]] else ()
        saved += members * _bytes((finals, averages))
    schedules = {sweep.members[number].get("schedule", "constant") for number in part.numbers}
    keeps_states = document.obstacle_to_more_steps() is None and not task.done and schedules == {"constant"}
    if keeps_states:
        saved += members * _bytes(jax.eval_shape(one.init, hparams))
    points = sum(-(-sweep.members[number]["steps"] // document.run.evaluate_every) for number in part.numbers)
    return saved + points * a_point + members * MEMBER_BYTES


def _bytes(shapes: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
