"""Explain a divergence: repeat the failing step alone, from the member's last finite parameters."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify

from jaxloop.core.bucket import alone
from jaxloop.core.cautions import first_not_finite
from jaxloop.core.learner import computed, loss_function
from jaxloop.core.member import examples_of, length
from jaxloop.core.prng import KeyStream, stream_key
from jaxloop.core.shapes import initial_shapes, resident
from jaxloop.core.task import Task
from jaxloop.errors import NotFoundError, told
from jaxloop.formatting import shell_quoted
from jaxloop.storage.final_parameters import final
from jaxloop.storage.records import Member, Status
from jaxloop.storage.store import Store
from jaxloop.storage.tensorboard import label
from jaxloop.sweep.optimizers import OWN
from jaxloop.sweep.sizes import Size
from jaxloop.sweep.sweep import Sweep


def notes(sweep: Sweep, task: Task, store: Store) -> Iterator[str]:
    """Yield what to say of members that diverged: where to look; if none has finished, where it began, and why."""
    counts = store.counts()
    if counts[Status.FINISHED] and counts[Status.DIVERGED]:
        diverged = f"{counts[Status.DIVERGED]} of {sum(counts.values())} members diverged"
        yield f"{diverged}: `jaxloop show {shell_quoted(store.path.parent)} --where status=diverged` lists them"
    elif not counts[Status.FINISHED] and (cause := of_first(sweep, task, store)):
        yield cause


def of_first(sweep: Sweep, task: Task, store: Store) -> str | None:
    """Say where divergence began: the member with the fewest steps, its next step, and what was not finite."""
    diverged = [each for each in store.members() if each.status == Status.DIVERGED]
    if not diverged:
        return None
    first = min(diverged, key=lambda each: (each.step, each.number))
    name = f"member {first.number} ({label(first.hparams, sweep.varied) or 'the only config'})"
    try:
        causes = list(_causes(sweep, task, store, first))
    except NotFoundError:
        causes = ["its parameters were not kept, so the step cannot be repeated"]
    except Exception as error:  # a task's functions, outside of the program that they were compiled in
        causes = [f"the step cannot be repeated: {told(error)}"]
    return f"divergence began with {name}, in step {first.step + 1}: {'; '.join(causes)}"


def _causes(sweep: Sweep, task: Task, store: Store, diverged: Member) -> Iterator[str]:
    if reason := _unrepeatable(task, sweep.members[diverged.number]["optimizer"]):
        yield f"its loss or parameters were not finite; {reason}"
        return
    bucket = alone(sweep, diverged.number)
    columns = bucket.columns(sweep.members[diverged.number])
    hparams, splits = bucket.hparams(columns), resident(task, bucket)
    params = final(store.path.parent, sweep, task, store, diverged.number)
    step, source = jnp.int32(diverged.step), task.data.source
    count = length(splits["train"]) if source is None else len(source)
    examples = np.asarray(examples_of(hparams, step, count))
    key = jax.random.fold_in(stream_key(hparams, KeyStream.LOSS), step)
    batch: dict[str, Any] = {name: array[examples] for name, array in splits["train"].items()}
    if source is not None:
        batch = dict(source.rows(examples.astype(np.int64)))
    shared: dict[str, Any] = splits.get("shared", {})
    if isinstance(hparams["batch_size"], Size):
        batch["weight"] = np.ones(len(examples), np.float32)
    for name, array in batch.items():
        if bad := first_not_finite(array):
            row, *place = bad[1]
            at = f" at {place}" if place else ""
            yield f"training example {examples[row]} has {array[(row, *place)]} in {name!r}{at}"

    minimized = loss_function(task)
    extra = initial_shapes(task, bucket)[1] if task.stateful_loss else ()
    if jax.tree.leaves(extra):
        extra = final(store.path.parent, sweep, task, store, diverged.number, "state")

    def loss(params: Any) -> Any:
        with jax.default_matmul_precision(hparams["matmul_precision"]):
            return minimized.loss(computed(params, hparams), extra, {**batch, **shared}, key, step, hparams)

    value, grads = jax.jit(lambda params: (loss(params)[0], jax.grad(lambda p: loss(p)[0])(params)))(params)
    if not np.isfinite(value):
        yield f"its loss was {float(value)}{_origin(loss, params)}"
        return
    leaves = jax.tree_util.tree_flatten_with_path(grads)[0]
    if wrong := [jax.tree_util.keystr(path) for path, leaf in leaves if not np.isfinite(leaf).all()]:
        yield f"the gradient of params{', params'.join(wrong)} was not finite, its loss was {float(value):.6g}"
        return
    norm = float(np.sqrt(sum(np.sum(np.square(leaf, dtype=np.float64)) for _, leaf in leaves)))
    size = f"loss {float(value):.6g}, norm of the gradient {norm:.6g}"
    yield f"{size}: the update by {hparams['optimizer']} left the range of float32"


def _unrepeatable(task: Task, optimizer: str) -> str | None:
    """Return why a step cannot be repeated from what is kept of a member; None if it can."""
    if task.update:
        return "a step of `update` cannot be repeated from parameters alone"
    if optimizer == OWN and task.eval_params:
        return "with `eval_params`, the parameters that it trained are not kept"
    return None


def _origin(loss: Any, params: Any) -> str:
    """Return the first operation that made a loss non-finite, in checkify's words."""
    errors = checkify.index_checks | checkify.float_checks
    try:
        found = jax.jit(checkify.checkify(lambda params: loss(params)[0], errors=errors))(params)[0].get()
    except Exception:  # what checkify cannot trace
        return ""
    return f" ({' '.join(found.split())})" if found else ""
