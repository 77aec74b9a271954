"""The population axis: many members, one program.

    program = spread(streamed(populated(chunked(member(...)))))

Shape letters: M slots (all devices), W slots vmapped together, G groups of W in sequence on one device.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from jaxloop.devices import on_cpu
from jaxloop.member import Program, TrainState
from jaxloop.task import Hparams

MEMBER = PartitionSpec("member")
SHARED = PartitionSpec()
Advance = Callable[..., tuple[TrainState, dict[str, jax.Array]]]

# Without it XLA's CPU backend hands reductions above a size to a library whose order of summation depends on
# the vmap width, and a member's last bits on its neighbours.
EXACT_ON_CPU = {"xla_cpu_experimental_ynn_fusion_type": ""}


def populated(program: Program, width: int) -> Program:
    """The same program over a leading axis of members: groups of `width` vmapped, groups in sequence.

    A group's state stays in cache for a whole chunk; `width` is the trade of vector length against it.
    """

    def over_members(function, in_axes):
        vmapped = jax.vmap(function, in_axes=in_axes)

        def mapped(*args):
            stacked = [arg for arg, axis in zip(args, in_axes, strict=True) if axis == 0]
            shared = [arg for arg, axis in zip(args, in_axes, strict=True) if axis is None]
            grouped = jax.tree.map(lambda x: x.reshape(-1, width, *x.shape[1:]), stacked)
            out = jax.lax.map(lambda group: vmapped(*group, *shared), grouped)
            return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), out)

        return mapped

    return Program(
        init=over_members(program.init, (0,)),
        step=over_members(program.step, (0, 0, None)),
        validate=over_members(program.validate, (0, 0, None)),
        test=over_members(program.test, (0, 0, None)),
    )


def streamed(program: Program) -> Advance:
    """One turn of the slots: newcomers start, all advance one chunk, all are validated, leavers are tested.

    `(hparams_M, state_M, fresh_M, data) -> (state_M, record_M)`: where `fresh`, the slot's state is drawn
    anew from its hparams. A record holds `train/...` and `validation/...`, `test/...` of members that ended in
    this chunk (NaN for others), `step` and `diverged`.
    """

    def ended(state, hparams):
        return state.diverged | (state.step >= hparams["steps"])

    def advance(hparams, state, fresh, data):
        def admitted():
            return jax.tree.map(
                lambda new, old: jnp.where(fresh.reshape(-1, *[1] * (new.ndim - 1)), new, old),
                program.init(hparams),
                state,
            )

        before = jax.lax.cond(fresh.any(), admitted, lambda: state)
        after, train = program.step(hparams, before, data)
        validation = program.validate(hparams, after, data)
        left = ended(after, hparams) & ~ended(before, hparams)
        shapes = jax.eval_shape(program.test, hparams, after, data)
        test = jax.lax.cond(
            left.any(),
            lambda: program.test(hparams, after, data),
            lambda: jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), shapes),
        )
        test = jax.tree.map(lambda value: jnp.where(left, value, jnp.nan), test)
        record = {
            f"{split}/{name}": value
            for split, metrics in (("train", train), ("validation", validation), ("test", test))
            for name, value in metrics.items()
        }
        return after, {**record, "step": after.step, "diverged": after.diverged}

    return advance


def spread(advance: Advance, mesh: jax.sharding.Mesh) -> Advance:
    """The same turn with the member axis laid over the devices of a mesh; no device talks to another."""
    return jax.shard_map(
        advance,
        mesh=mesh,
        in_specs=(MEMBER, MEMBER, MEMBER, SHARED),
        out_specs=MEMBER,
        check_vma=False,  # member code may scan over constants; it does not know that there is a mesh
    )


def jitted(advance: Advance, mesh: jax.sharding.Mesh) -> Any:
    """The turn as one compiled program that updates the state in place."""
    return jax.jit(advance, donate_argnums=1, compiler_options=EXACT_ON_CPU if on_cpu(mesh) else None)


def state_shapes(program: Program, hparams: Hparams, mesh: jax.sharding.Mesh) -> TrainState:
    """The state of a population as shapes with shardings: nothing is allocated."""
    shapes = jax.eval_shape(program.init, hparams)
    sharding = NamedSharding(mesh, MEMBER)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes)
