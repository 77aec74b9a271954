"""No bit of a member depends on its lane or its group: the property, for operations, models and tasks."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import clones
from helpers.compiling import OPTIMIZED
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

import jaxloop
from jaxloop import api
from jaxloop.core import executable, population
from jaxloop.core.independence import MATRIX_BY_MATRIX, unmerged
from jaxloop.core.population import EXACT_ON_CPU, PRODUCTS_BY_YNNPACK
from jaxloop.sweep import sweep
from jaxloop.training import replay

SIZES = st.one_of(st.sampled_from([10, 20, 37, 50, 100]), st.integers(1, 130))
GROUPS = st.sampled_from([2, 3, 4, 8, 16])
CPU = Path("/proc/cpuinfo")
SWEEPS = Path(jaxloop.__file__).parent.parent / "sweeps"
# Where a CPU has AVX-512, Eigen's products are also held to AVX2, whose tiles are others.
ISAS = ["", "AVX2"] if CPU.exists() and "avx512f" in CPU.read_text() else [""]


def options(isa):
    """XLA's options as users have them."""
    optimized = EXACT_ON_CPU | OPTIMIZED
    return {**optimized, "xla_cpu_max_isa": isa} if isa else optimized


PRODUCTS = {"Eigen" + isa: options(isa) for isa in ISAS} | {"YNNPACK": options("") | PRODUCTS_BY_YNNPACK}


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def product(inputs, outputs):
    x = random(200, inputs, seed=1)
    return (lambda w: jnp.tanh(x @ w)), random(inputs, outputs)


def projected_by_a_constant(inputs, outputs):
    projection = random(inputs, outputs, seed=1)
    return (lambda x: jnp.tanh(x @ projection)), random(30, inputs)


def product_by_inner_vmap(inputs, outputs):
    x = random(50, inputs, seed=1)
    return (lambda w: jax.vmap(lambda row: row @ w)(x)), random(inputs, outputs)


def gradient_in_a_loop(inputs, outputs):
    x = random(60, inputs, seed=1)

    def descend(w):
        slope = jax.grad(lambda w: jnp.square(x @ w).mean())
        return lax.scan(lambda w, _: (w - 0.1 * slope(w), None), w, length=2)[0]

    return descend, random(inputs, outputs)


def product_in_a_branch(inputs, outputs):
    x = random(90, inputs, seed=1)
    return (lambda w: lax.cond(w[0, 0] > 9, lambda: jnp.zeros((90, outputs)), lambda: x @ w)), random(
        inputs, outputs
    )


def convolution(inputs, outputs):
    x = random(4, 8, 8, inputs % 9 + 1, seed=1)
    numbers = ("NHWC", "HWIO", "NHWC")
    return (
        lambda w: lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=numbers),
        random(3, 3, x.shape[-1], outputs),
    )


def triangular_solve(inputs, outputs):
    triangle = np.tril(random(inputs, inputs, seed=1)) + 3 * np.eye(inputs, dtype=np.float32)
    return (lambda b: jax.scipy.linalg.solve_triangular(triangle, b, lower=True)), random(inputs, outputs)


OPERATIONS = [
    product,
    projected_by_a_constant,
    product_by_inner_vmap,
    gradient_in_a_loop,
    product_in_a_branch,
    convolution,
    triangular_solve,
]


def in_lanes(function, own, group_size, options, apart=True):
    """The function's results for clones: with an axis of lanes."""
    one = unmerged(function, jax.ShapeDtypeStruct(own.shape, own.dtype)) if apart else function
    return np.asarray(jax.jit(jax.vmap(one), compiler_options=options)(np.stack([own] * group_size)))


@pytest.mark.parametrize("library", PRODUCTS)
@pytest.mark.parametrize("make", OPERATIONS)
@settings(max_examples=8)
@given(st.integers(2, 64), SIZES, GROUPS)
def test_an_operation_has_the_same_bits_in_every_lane_of_any_group(make, library, inputs, outputs, group_size):
    function, own = make(inputs, outputs)
    alone, lanes = (in_lanes(function, own, size, PRODUCTS[library]) for size in (2, group_size))
    np.testing.assert_array_equal(lanes, np.broadcast_to(alone[0], lanes.shape))
    np.testing.assert_allclose(lanes[0], jax.jit(function)(own), rtol=1e-3, atol=1e-3)  # and the right value


def test_vmap_alone_makes_one_product_of_all_members():
    """The fault that `unmerged` cures; on a CPU of AVX2 alone, last bits then depend on the lane."""
    differs = []
    for outputs in (10, 20, 50, 100):
        function, own = product(40, outputs)
        lanes = in_lanes(function, own, 2, options(ISAS[-1]), apart=False)
        differs.append((lanes[0] != lanes[1]).any())
    assert any(differs) or "avx2" not in CPU.read_text() or "avx512f" in CPU.read_text()
    apart = unmerged(function, jax.ShapeDtypeStruct(own.shape, own.dtype))
    both, each = (jax.jit(jax.vmap(one)).lower(np.stack([own] * 2)).as_text() for one in (function, apart))
    assert re.search(r"dot_general.*-> tensor<200x2x100xf32>", both)
    assert re.search(r"dot_general.*batching_dims.*-> tensor<2x200x100xf32>", each)


LINALG = {
    "qr": lambda a: jnp.linalg.qr(a),
    "eigh": lambda a: jnp.linalg.eigh(a + a.mT),
    "svd": lambda a: jnp.linalg.svd(a),
    "cholesky": lambda a: jnp.linalg.cholesky(a @ a.mT + jnp.eye(12)[(None,) * (a.ndim - 2)]),
    "solve": lambda a: jnp.linalg.solve(a, a.mT),
    "lu": lambda a: jax.scipy.linalg.lu(a),
    "eig": lambda a: jnp.linalg.eigvals(a),
    "schur": lambda a: jax.scipy.linalg.schur(a),
    "hessenberg": lambda a: jax.lax.linalg.hessenberg(a),
    "tridiagonal_solve": lambda a: jax.lax.linalg.tridiagonal_solve(a[..., 0], a[..., 1], a[..., 2], a),
}


@pytest.mark.parametrize("name", LINALG)
def test_lapack_gets_one_matrix_at_a_time(name):
    """Of members and of batches of their own: a batch would wait in XLA's pool for its parts."""
    shape = () if name in ("schur", "lu", "tridiagonal_solve") else (3,)  # JAX itself has no batches of the first
    own = random(*shape, 12, 12)
    lanes = jax.vmap(unmerged(LINALG[name], jax.ShapeDtypeStruct(own.shape, own.dtype)))
    for found, wanted in zip(
        jax.tree.leaves(jax.jit(lanes)(np.stack([own] * 3))), jax.tree.leaves(LINALG[name](own)), strict=True
    ):
        np.testing.assert_array_equal(found, np.broadcast_to(found[:1], found.shape))
        np.testing.assert_allclose(np.abs(found[0]), np.abs(wanted), rtol=1e-3, atol=1e-3)
    calls = [
        equation.invars[0].aval.shape
        for jaxpr in _inner(jax.make_jaxpr(lanes)(np.stack([own] * 3)).jaxpr)
        for equation in jaxpr.eqns
        if equation.primitive.name in MATRIX_BY_MATRIX
    ]
    assert calls
    assert max(map(len, calls)) <= 2


def _inner(jaxpr):
    """A jaxpr and all inside it."""
    yield jaxpr
    for equation in jaxpr.eqns:
        for value in jax.tree.leaves(dict(equation.params), is_leaf=lambda value: hasattr(value, "eqns")):
            if hasattr(value, "eqns"):
                yield from _inner(value)


def test_a_rewritten_function_computes_the_same_and_shares_what_it_shared():
    layer = jax.jit(lambda x, w: jax.nn.relu(x @ w))  # relu has a gradient rule of its own

    def function(w):
        return layer(layer(jnp.ones((5, 8)), w), w), {"sum": w.sum()}

    own = random(8, 8)
    rewritten = unmerged(function, jax.ShapeDtypeStruct(own.shape, own.dtype))
    found, wanted = rewritten(own), function(own)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    calls = [equation for equation in jax.make_jaxpr(rewritten)(own).jaxpr.eqns if "jaxpr" in equation.params]
    assert len([call for call in calls if call.params["name"] == "<lambda>"]) == 2
    assert len({id(call.params["jaxpr"]) for call in calls if call.params["name"] == "<lambda>"}) == 1


TASKS = {
    "mnist1d/cnn": 'task = "mnist1d"|model = "cnn"\nchannels = {size}\nconv_layers = 2',
    "mnist1d/gru": 'task = "mnist1d"|model = "gru"\nwidth = {small}',
    "digits/mlp": 'task = "digits"|width = {size}\nresidual = true\ndropout = 0.1\nclip = 1.0\nema_decay = 0.9',
    "digits/transformer": 'task = "digits"|model = "transformer"\nwidth = {small}\ndepth = 1\nheads = 2',
    "modular_addition/linear": 'task = "modular_addition"|model = "linear"\nbatch_size = 20',
    "sparse_parity/mlp": 'task = "sparse_parity"|width = {size}\ndepth = 1\noptimizer = "muon"',
    "text/transformer": 'task = "text"|width = {small}\ndepth = 1\nheads = 2\nhead_width = 8\nbatch_size = 2',
    "arrays/linear": 'task = "arrays"|model = "linear"',
    "own/constant": 'task = "own.py:task"|units = {size}',
}
DATA = {"text": 'path = "words.txt"\ncontext = 16', "arrays": 'path = "numbers.npz"', "modular_addition": "p = 23"}
OWN = """
import jax
import jax.numpy as jnp
import numpy as np
import jaxloop

random = np.random.default_rng(0)
x, projection = random.normal(size=(300, 20)), random.normal(size=(20, 37)).astype(np.float32)
kernel = random.normal(size=(3, 1, 6)).astype(np.float32)
split = {"x": x.astype(np.float32), "y": np.sin(x.sum(1)).astype(np.float32)}

def init(key, hparams):
    first, second = jax.random.split(key)
    return {"hidden": jax.random.normal(first, (37, hparams["units"])) / 6,
            "out": jax.nn.initializers.orthogonal()(second, (hparams["units"], 6))}

def predict(params, x):
    hidden = jnp.tanh(jnp.tanh(x @ projection) @ params["hidden"])
    filtered = jax.lax.conv_general_dilated(
        x[:, :, None], kernel, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))
    return (hidden @ params["out"] * filtered.mean(1)).sum(-1)

def loss(params, batch, key, hparams):
    return jnp.mean((predict(params, batch["x"]) - batch["y"]) ** 2), {}

def metrics(params, batch, hparams):
    error = predict(params, batch["x"]) - batch["y"]
    low_bits = jax.lax.bitcast_convert_type(error, jnp.int32) & 1023  # changes with any last bit
    return {"loss": jnp.mean(error**2), "bits": low_bits.astype(jnp.float32).mean()}

task = jaxloop.Task(init, loss, metrics, jaxloop.Data(split, split, split), hparams={"units": 8})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the tasks above find their files."""
    path = tmp_path_factory.mktemp("tasks")
    (path / "own.py").write_text(OWN)
    (path / "words.txt").write_text("the quick brown fox jumps over the lazy dog. " * 200)
    np.savez(path / "numbers.npz", x=random(400, 12), y=random(400, 2, seed=1))
    return path


def of_clones(name, folder, size):
    head, hparams = TASKS[name].format(size=size, small=2 * (size % 12 + 2)).split("|")
    data, batch = DATA.get(name.partition("/")[0], ""), "" if "batch_size" in hparams else "batch_size = 10"
    file = folder / "sweep.toml"
    file.write_text(
        f"[run]\n{head}\nsteps = 4\nevaluate_every = 2\n[data]\n{data}\n[hparams]\n{hparams}\n{batch}\n"
    )
    return api.read(file)[0]


@pytest.mark.slow
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", TASKS)
def test_clones_of_a_member_have_the_same_bits_in_every_lane_and_alone(name, isa, folder, monkeypatch):
    monkeypatch.setattr(population, "EXACT_ON_CPU", options(isa))

    @settings(max_examples=1, database=None)
    @given(SIZES, st.sampled_from([3, 4, 8, 16]))
    def property_holds(size, group_size):
        swept = of_clones(name, folder, size)
        alone = clones.trained(swept, 2, clones=1)
        clones.assert_equal_bits(clones.trained(swept, group_size), alone)

    property_holds()


@pytest.mark.slow
def test_a_user_s_constant_is_multiplied_apart(folder, monkeypatch):
    """The task that shows each last bit: without the cure, clones of one member differ."""
    if ISAS != [""] or "avx2" not in CPU.read_text():
        pytest.skip("this CPU's products give every lane equal bits even when merged: nothing to show")
    monkeypatch.setattr(executable, "kept_apart", lambda program, *shapes, cpu: program)
    merged = clones.trained(of_clones("own/constant", folder, 50), 2)
    with pytest.raises(AssertionError):
        clones.assert_equal_bits(merged, merged)


@pytest.mark.slow
@pytest.mark.optimized
def test_every_member_of_a_run_replays_to_its_bits(tmp_path):
    text = (
        '[run]\ntask = "mnist1d"\nsteps = 6\nevaluate_every = 3\n[hparams]\nwidth = 50\nbatch_size = 20\n'
        "[axes]\nlearning_rate = { log = [1e-3, 1e-1], num = 2 }\nseed = { count = 2 }\n"
    )
    run = jaxloop.run(sweep.parse(text), out=tmp_path / "run")
    for member in run.members:
        found = replay.train_alone(*run.sweep_and_task, run.store, member.number)
        assert (found["largest_difference"], found["missing"]) == (0.0, 0)


@pytest.mark.slow
def test_a_function_that_converts_its_closures_compiles_for_an_accelerator_too(tmp_path, monkeypatch):
    """There members are not kept apart, but their functions are traced ahead as on CPU."""
    real = executable.kept_apart
    monkeypatch.setattr(executable, "kept_apart", lambda *args, cpu: real(*args, cpu=False))
    run = jaxloop.run(
        SWEEPS / "neural_ode.toml", out=tmp_path / "run", overrides=("run.steps=2", "run.evaluate_every=1")
    )
    assert {member.status for member in run.members} == {"finished"}
