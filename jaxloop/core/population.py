"""The population axis: many members, one program.

    advance = spread(grouped(rested(by_size_class([streamed(populated(kept_apart(chunked(member(...))))), ...]))))

Shape letters: M slots (all devices), W slots vmapped together: a group. A device turns its groups in sequence.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxloop.core import padding
from jaxloop.core.bucket import SIZE_CLASS
from jaxloop.core.chunk import Program
from jaxloop.core.independence import traced_ahead, unmerged
from jaxloop.core.member import TrainState, ended, traced_once
from jaxloop.core.task import Hparams

MEMBER = PartitionSpec("member")
SHARED = PartitionSpec()

Record = dict[str, jax.Array]
STATE_FIELDS = ("step", "diverged", "done")  # in a record, beside what is measured
Advance = Callable[[Hparams, TrainState, jax.Array, Any], tuple[TrainState, Record]]

# XLA's CPU backend hands reductions above a size to YNNPACK, whose order of summation depends on the group size,
# and with it a member's last bits on its neighbours. Its products have the same bits in a group of any size.
EXACT_ON_CPU = {"xla_cpu_experimental_ynn_fusion_type": ""}
PRODUCTS_BY_YNNPACK = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
DETERMINISTIC_ON_GPU = {"xla_gpu_deterministic_ops": True}


def fitted(program: Program, own: TrainState, largest: TrainState) -> Program:
    """Return the program over a state of larger arrays: it uses the first corner of each, the rest stays zero.

    Args:
      own, largest: the program's state and the larger one, as shapes.
    """

    def init(hparams: Any) -> Any:
        return padding.padded(program.init(hparams), largest)

    def step(hparams: Any, state: Any, data: Any) -> Any:
        state, metrics = program.step(hparams, padding.cropped(state, own), data)
        return padding.padded(state, largest), metrics

    def validate(hparams: Any, state: Any, data: Any) -> Any:
        return program.validate(hparams, padding.cropped(state, own), data)

    def test(hparams: Any, state: Any, data: Any) -> Any:
        return program.test(hparams, padding.cropped(state, own), data)

    def remember(state: Any, metrics: Any) -> Any:
        return padding.padded(program.remember(padding.cropped(state, own), metrics), largest)

    return Program(init, step, validate, test, remember)


def kept_apart(program: Program, hparams: Any, state: Any, data: Any, *, cpu: bool) -> Program:
    """Return the program traced for one member; on CPU, such that vmap merges no operation of different members.

    See `independence`.

    Args:
      hparams, state, data: of one member, as shapes.
    """
    traced = unmerged if cpu else traced_ahead

    def apart(function: Callable[..., Any], *rest: Any) -> Callable[..., Any]:
        found = traced(function, hparams, *rest)
        # a slot has columns of other size classes too
        return lambda columns, *rest: found({name: columns[name] for name in hparams}, *rest)

    return Program(
        init=apart(program.init),
        step=apart(program.step, state, data),
        validate=apart(program.validate, state, data),
        test=apart(program.test, state, data),
        remember=program.remember,
    )


def populated(program: Program) -> Program:
    """Return the same program over a leading axis of W members."""
    return Program(
        init=jax.vmap(program.init),
        step=jax.vmap(program.step, in_axes=(0, 0, None)),
        validate=jax.vmap(program.validate, in_axes=(0, 0, None)),
        test=jax.vmap(program.test, in_axes=(0, 0, None)),
        remember=jax.vmap(program.remember),
    )


def streamed(program: Program) -> Advance:
    """Return one turn of a population: newcomers start, all advance a chunk and are validated, leavers are tested.

    `(hparams_W, state_W, fresh_W, data) -> (state_W, record_W)`: where `fresh`, the slot's state is drawn anew
    from its hparams. A record holds `train/...` and `validation/...`, `test/...` of members that ended in this
    chunk (NaN for others), `step`, `diverged` and `done`.
    """

    def turn(hparams: Any, state: Any, fresh: jax.Array, data: Any) -> Any:
        def admitted() -> Any:
            return jax.tree.map(
                lambda new, old: jnp.where(_by_member(fresh, new), new, old),
                program.init(hparams),
                state,
            )

        before = jax.lax.cond(fresh.any(), admitted, lambda: state)
        after, train = program.step(hparams, before, data)
        measured = {f"train/{name}": value for name, value in train.items()}
        measured |= program.validate(hparams, after, data)
        after = program.remember(after, measured)
        left = ended(hparams, after) & ~ended(hparams, before)
        shapes = jax.eval_shape(program.test, hparams, after, data)
        test = jax.lax.cond(left.any(), lambda: program.test(hparams, after, data), lambda: _unmeasured(shapes))
        test = jax.tree.map(lambda value: jnp.where(_by_member(left, value), value, jnp.nan), test)
        return after, {**measured, **test, **_state_fields(after)}

    return turn


def _by_member(mask: jax.Array, leaf: jax.Array) -> jax.Array:
    """Return a mask of members, (W,), so that it broadcasts with an array of theirs, (W, ...)."""
    return mask.reshape(-1, *[1] * (leaf.ndim - 1))


def _state_fields(state: TrainState) -> Record:
    """Return what the host has to know of each member, whatever is measured."""
    return {name: getattr(state, name) for name in STATE_FIELDS}


def _unmeasured(shapes: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), shapes)


def by_size_class(turns: Sequence[Advance]) -> Advance:
    """Return the turn of a group whose members are all of one size class, by the number of that class."""
    if len(turns) == 1:
        return turns[0]

    def turn(hparams: Any, state: Any, fresh: jax.Array, data: Any) -> Any:
        return jax.lax.switch(hparams[SIZE_CLASS][0], turns, hparams, state, fresh, data)

    return turn


def rested(turn: Advance) -> Advance:
    """Return the turn, skipped for groups without a member that has a step to take: their state stays as it is."""
    turn = traced_once(turn)

    def turn_or_rest(hparams: Any, state: Any, fresh: jax.Array, data: Any) -> Any:
        def rest() -> Any:
            shapes = jax.eval_shape(turn, hparams, state, fresh, data)[1]
            floats = {name: leaf for name, leaf in shapes.items() if name not in STATE_FIELDS}
            return state, {**_unmeasured(floats), **_state_fields(state)}

        awake = (fresh | ~ended(hparams, state)).any()
        return jax.lax.cond(awake, lambda: turn(hparams, state, fresh, data), rest)

    return turn_or_rest


def grouped(turn: Advance, group_size: int) -> Advance:
    """Return the same turn for any multiple of `group_size` slots: one group after the other.

    A group's state stays in cache for a whole chunk; `group_size` is the trade of vector length against it.
    """

    def advance(hparams: Any, state: Any, fresh: jax.Array, data: Any) -> Any:
        groups = jax.tree.map(lambda x: x.reshape(-1, group_size, *x.shape[1:]), (hparams, state, fresh))

        def of_group(group: Any) -> Any:
            hparams, state, fresh = group
            return turn(hparams, state, fresh, data)

        out = jax.lax.map(of_group, groups)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), out)

    return advance


def spread(turn: Advance, mesh: Mesh) -> Advance:
    """Return the same turn with the member axis laid over the devices of a mesh; no device talks to another."""
    return jax.shard_map(
        turn,
        mesh=mesh,
        in_specs=(MEMBER, MEMBER, MEMBER, SHARED),
        out_specs=MEMBER,
        check_vma=False,  # member code may scan over constants; it does not know that there is a mesh
    )


def jitted(turn: Advance, options: dict[str, Any]) -> Any:
    """Return the turn as a program to compile with these options, that updates the state in place."""
    return jax.jit(turn, donate_argnums=1, compiler_options=options)


def compiler_options(platform: str, *, short_products: bool, deterministic: bool = False) -> dict[str, Any]:
    """Return XLA's options.

    Args:
      platform: "cpu", "gpu" or "tpu".
      short_products: whether the products of a member's step are short; see `products`.
      deterministic: on a GPU, by kernels alone that compute the same bits each time; elsewhere all are.
    """
    if platform == "cpu":
        return EXACT_ON_CPU | PRODUCTS_BY_YNNPACK if short_products else EXACT_ON_CPU
    return DETERMINISTIC_ON_GPU if platform == "gpu" and deterministic else {}


def over_slots(state: TrainState, capacity: int, mesh: Mesh) -> TrainState:
    """Return the state of all slots as shapes with shardings, from one member's: nothing is allocated."""
    sharding = NamedSharding(mesh, MEMBER)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((capacity, *x.shape), x.dtype, sharding=sharding), state)
