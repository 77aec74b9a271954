"""Products that CPUs are fast at, forward and backward, where each member has weights of its own."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp


@jax.custom_vjp
def with_one_gradient(x: jax.Array) -> jax.Array:
    """`x`, whose gradient is computed once, before anything is computed from it; in reverse mode only.

    XLA would compute what a layer's gradient comes from anew inside each of its uses: the products for inputs and
    for weights, and the sum for biases. A CNN then took 1.25 times as long on CPU (benchmarks/LOG.md).
    """
    return x


with_one_gradient.defvjp(lambda x: (x, None), lambda residual, gradient: (jax.lax.optimization_barrier(gradient),))


def affine(
    x: jax.Array,
    kernel: jax.Array,
    inputs: int,
    bias: jax.Array | None = None,
    *,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> jax.Array:
    """Return the last axes of `x`, as many as `inputs`, times the first ones of `kernel`, plus a bias.

    As matrices: XLA computes the gradient of a product over several axes from a transposed copy. It can be
    differentiated in reverse mode only.

    Args:
      kernel: (*inputs, *outputs).
      bias: (*outputs,).
      precision, preferred_element_type: as in `jnp.matmul`.

    Raises:
      ValueError: the axes that are summed over differ.
    """
    lead, summed, outputs = x.shape[: x.ndim - inputs], kernel.shape[:inputs], kernel.shape[inputs:]
    if x.shape[x.ndim - inputs :] != summed:
        raise ValueError(f"the last axes of x need to be {summed}, as the kernel's first, got {x.shape}")
    y = jnp.matmul(
        x.reshape(-1, math.prod(summed)),
        kernel.reshape(math.prod(summed), math.prod(outputs)),
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
    if bias is not None:
        y = y + bias.reshape(1, -1)
    return with_one_gradient(y).reshape(*lead, *outputs)


def windows(
    x: jax.Array,
    lengths: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> jax.Array:
    """Return what each place of a convolution sees of `x`, (B, *space, C): (B, *places, *lengths, C).

    Args:
      lengths, strides, padding, dilation: of the window, for each axis of space.
    """
    space = len(lengths)
    x = jnp.pad(x, [(0, 0), *padding, (0, 0)])
    for axis, (length, stride, step) in enumerate(zip(lengths, strides, dilation, strict=True)):
        last = x.shape[1 + axis] - step * (length - 1)  # one behind where a window may begin
        seen = [
            jax.lax.slice_in_dim(x, step * place, step * place + last, stride, 1 + axis) for place in range(length)
        ]
        x = jnp.stack(seen, 1 + space + axis)
    return x


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> jax.Array:
    """`jax.lax.conv_general_dilated` for populations: windows times a matrix, which flax's `Conv` accepts.

    Under vmap each member has a kernel of its own, and XLA's convolution becomes a grouped one, 17 times slower on
    CPU (measured on a prototype). What is not channels-last, or is grouped or dilated on the left, goes to JAX's
    own. It can be differentiated in reverse mode only.
    """
    space, ndim = range(1, lhs.ndim - 1), lhs.ndim
    numbers = jax.lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    channels_last = (0, ndim - 1, *space), (ndim - 1, ndim - 2, *range(ndim - 2)), (0, ndim - 1, *space)
    dense = feature_group_count == batch_group_count == 1 and all(step == 1 for step in lhs_dilation or ())
    dilation = rhs_dilation or [1] * len(space)
    if tuple(numbers) != channels_last or not dense or out_sharding is not None:
        return jax.lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            numbers,
            feature_group_count,
            batch_group_count,
            precision,
            preferred_element_type,
            out_sharding,
        )
    lengths = rhs.shape[: len(space)]
    if isinstance(padding, str):
        covered = [step * (length - 1) + 1 for length, step in zip(lengths, dilation, strict=True)]
        padding = jax.lax.padtype_to_pads(lhs.shape[1:-1], covered, window_strides, padding)
    seen = windows(lhs, lengths, window_strides, [(low, high) for low, high in padding], dilation)
    return affine(seen, rhs, len(space) + 1, precision=precision, preferred_element_type=preferred_element_type)
