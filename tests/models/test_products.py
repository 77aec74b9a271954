"""Products and convolutions by windows against JAX's own, values and gradients."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxloop.models import conv_general_dilated
from jaxloop.models.products import affine

GENERATOR = np.random.default_rng(0)


def drawn(*shape):
    return jnp.asarray(GENERATOR.normal(size=shape), jnp.float32)


def assert_close(found, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), found, expected)


def with_gradients(function, *arguments):
    """Its value, and the gradients of an uneven sum of it."""

    def total(*arguments):
        y = function(*arguments)
        return jnp.sum(y * jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape))

    return function(*arguments), jax.grad(total, argnums=range(len(arguments)))(*arguments)


@pytest.mark.parametrize(
    ("shape", "kernel", "inputs"), [((6, 5), (5, 7), 1), ((3, 4, 5, 2), (5, 2, 3, 4), 2), ((2, 3), (3,), 1)]
)
def test_affine_is_a_tensor_product(shape, kernel, inputs):
    x, kernel, bias = drawn(*shape), drawn(*kernel), drawn(*kernel[inputs:])

    def plain(x, kernel, bias):
        y = jnp.tensordot(x, kernel, inputs)
        return y + jnp.broadcast_to(bias, y.shape)

    assert_close(
        with_gradients(lambda x, kernel, bias: affine(x, kernel, inputs, bias), x, kernel, bias),
        with_gradients(plain, x, kernel, bias),
    )


def has_convolution(function, *arguments):
    return "conv_general_dilated" in str(jax.make_jaxpr(function)(*arguments))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "dilation", "stride", "padding"),  # every pair of values of two of them, once at the least
    [
        (1, 1, 1, "SAME"),
        (1, 2, 2, "VALID"),
        (1, 1, 2, "uneven"),
        (2, 2, 1, "SAME"),
        (2, 1, 1, "VALID"),
        (2, 2, 2, "uneven"),
        (2, 1, 2, "SAME"),
    ],
)
def test_windows_times_a_matrix_is_the_convolution(space, dilation, stride, padding):
    x, kernel = drawn(2, *(9, 8)[:space], 3), drawn(*(3, 2)[:space], 3, 4)
    numbers = {1: ("NHC", "HIO", "NHC"), 2: ("NHWC", "HWIO", "NHWC")}[space]
    padding = [(1, 0)] * space if padding == "uneven" else padding

    def by(convolution):
        return lambda x, kernel: convolution(
            x, kernel, [stride] * space, padding, rhs_dilation=[dilation] * space, dimension_numbers=numbers
        )

    ours, theirs = by(conv_general_dilated), by(jax.lax.conv_general_dilated)
    assert has_convolution(theirs, x, kernel)
    assert not has_convolution(ours, x, kernel)
    assert_close(with_gradients(ours, x, kernel), with_gradients(theirs, x, kernel))
    xs, kernels = drawn(3, *x.shape), drawn(3, *kernel.shape)  # a kernel for each member
    assert_close(with_gradients(jax.vmap(ours), xs, kernels), with_gradients(jax.vmap(theirs), xs, kernels))


def test_what_windows_cannot_do_is_jaxs_own():
    x, grouped, first = drawn(2, 8, 4), drawn(3, 2, 4), drawn(2, 4, 8)
    numbers = ("NHC", "HIO", "NHC")
    for arguments in (
        {"lhs": x, "rhs": grouped, "dimension_numbers": numbers, "feature_group_count": 2},
        {"lhs": x, "rhs": drawn(3, 4, 4), "dimension_numbers": numbers, "lhs_dilation": [2]},
        {"lhs": first, "rhs": drawn(4, 4, 3), "dimension_numbers": None},
    ):
        settings = {"window_strides": [1], "padding": "SAME" if "lhs_dilation" not in arguments else [(1, 1)]}
        assert has_convolution(functools.partial(conv_general_dilated, **arguments, **settings))
        assert_close(
            conv_general_dilated(**arguments, **settings), jax.lax.conv_general_dilated(**arguments, **settings)
        )


def test_flax_takes_it():
    x = drawn(2, 6, 6, 3)
    ours, theirs = (
        nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0), conv_general_dilated=convolution)
        for convolution in (conv_general_dilated, jax.lax.conv_general_dilated)
    )
    assert has_convolution(theirs, x)
    assert not has_convolution(ours, x)
    assert_close(ours(x), theirs(x))
    linen = nn.Conv(4, (3, 3), conv_general_dilated=conv_general_dilated)
    params = linen.init(jax.random.key(0), x)
    assert not has_convolution(linen.apply, params, x)
    assert_close(linen.apply(params, x), nn.Conv(4, (3, 3)).apply(params, x))


def test_axes_that_do_not_match_are_an_error():
    with pytest.raises(ValueError, match=r"the last axes of x need to be \(2, 3\), .* got \(4, 3, 2\)"):
        affine(drawn(4, 3, 2), drawn(2, 3, 5), 2)


def test_a_gradient_is_computed_once():
    """Behind a barrier, so that XLA does not compute it again in each of its uses."""
    gradient = jax.grad(lambda x, kernel: affine(x, kernel, 1).sum(), argnums=(0, 1))
    assert "optimization_barrier" in str(jax.make_jaxpr(gradient)(drawn(3, 4), drawn(4, 5)))
