"""Tasks whose step is no gradient step of a stateless loss: what is refused, and what each field does."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import ROOT
from helpers import line
from helpers.counter import COUNTER, SWEEP, written
from helpers.line import changed
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import jaxloop
from jaxloop import api
from jaxloop.core import checks
from jaxloop.core.data import Data, padded
from jaxloop.errors import NotFoundError, SweepError
from jaxloop.readers.verify import verify
from jaxloop.training import replay


def test_a_state_of_keys_counters_and_infinities_is_trained_resumed_and_replayed(tmp_path):
    run = jaxloop.run(written(tmp_path), out=tmp_path / "run")
    assert [member.status for member in run.members] == ["finished"] * 6
    assert verify(run.path)["problems"] == []
    again = replay.train_alone(*run.sweep_and_task, run.store, 3)
    assert (again["largest_difference"], again["missing"]) == (0.0, 0)
    arrays = run.arrays(3)
    assert {name: {step: array.shape for step, array in found.items()} for name, found in arrays.items()} == {
        "train/noise": dict.fromkeys((10, 20, 30, 40), (3,)),
        "validation/square": dict.fromkeys((10, 20, 30, 40), (3, 3)),
    }
    w = run.params(3)["w"]
    np.testing.assert_allclose(arrays["validation/square"][40], np.outer(w, w), rtol=1e-6)


def test_numbers_of_python_s_own_are_taken_into_the_state(tmp_path):
    task = changed(COUNTER, ('"count": jnp.int32(0),', '"count": 0,'), ('state["count"] + 1', "7"))
    task = changed(task, ('params=lambda state: state["params"], ', ""))
    run = jaxloop.run(written(tmp_path, changed(task, ("jnp.float32(-jnp.inf)", "0.0"))), out=tmp_path / "run")
    assert {int(run.params(number)["count"]) for number in range(4)} == {7}


def test_tensorboard_shows_measured_arrays_as_histograms_and_images(tmp_path):
    run = jaxloop.run(written(tmp_path), out=tmp_path / "run")
    events = EventAccumulator(str(run.path / "members" / run.members[3].folder), {"images": 0, "histograms": 0})
    events.Reload()
    found = run.arrays(3)
    histograms = events.Histograms("train/noise")
    assert [each.step for each in histograms] == [10, 20, 30, 40]
    np.testing.assert_allclose(histograms[-1].histogram_value.bucket, found["train/noise"][40], rtol=1e-6)
    (*_, image) = events.Images("validation/square")
    pixels = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)).convert("L"), float)
    square = found["validation/square"][40]
    wanted = (square - square.min()) / (square.max() - square.min()) * 255
    assert np.abs(pixels - wanted).max() <= 1


def test_a_member_diverges_by_its_parameters_alone(tmp_path):
    """What else its state has may be infinite; at a rate above 2 the parameters grow beyond float32."""
    run = jaxloop.run(
        written(tmp_path), out=tmp_path / "run", overrides=("run.steps=400", "run.evaluate_every=100")
    )
    statuses = {member.hparams["rate"]: member.status for member in run.members}
    assert statuses == {0.01: "finished", 0.1: "finished", 3.0: "diverged"}
    assert np.isfinite(run.params(4)["w"]).all()


def test_a_member_that_is_done_ends_as_finished_at_that_step(tmp_path):
    task = changed(COUNTER, ("params=lambda", 'done=lambda state, hparams: state["count"] >= 17, params=lambda'))
    run = jaxloop.run(written(tmp_path, task), out=tmp_path / "run")
    assert {(member.status, member.step) for member in run.members} == {("finished", 17)}
    assert run.steps().tolist() == [10, 17]
    assert verify(run.path)["problems"] == []
    again = replay.train_alone(*run.sweep_and_task, run.store, 0)
    assert (again["largest_difference"], again["missing"]) == (0.0, 0)
    assert run.summary.share_done == 1.0


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_best_parameters_are_those_of_the_best_point(tmp_path, mode):
    best = '[checkpoint]\nbest = "validation/norm"\n'
    sweep = changed(SWEEP, ("[checkpoint]\n", best), ('mode = "min"', f'mode = "{mode}"'))
    run = jaxloop.run(written(tmp_path, sweep=sweep), out=tmp_path / "run")
    norms = run.curves("validation/norm")
    for member in run.members:
        wanted = getattr(norms[member.number], mode)()
        np.testing.assert_allclose(np.sum(run.best(member)["w"] ** 2), wanted, rtol=1e-6)
        np.testing.assert_allclose(np.sum(run.params(member)["w"] ** 2), norms[member.number][-1], rtol=1e-6)


def test_a_metric_that_was_never_finite_has_no_best_parameters(tmp_path):
    """It need not be the ranked one."""
    sweep = changed(SWEEP, ("[checkpoint]\n", '[checkpoint]\nbest = "validation/loss"\n'))
    loss = '"loss": jnp.where(hparams["rate"] > 1, jnp.nan, w[0])'
    task = changed(COUNTER, ('return {"norm": jnp.sum(w**2), "sq', f'return {{{loss}, "norm": jnp.sum(w**2), "sq'))
    run = jaxloop.run(written(tmp_path, task, sweep), out=tmp_path / "run")
    assert run.summary.status == "finished"
    assert run.best(0)["w"].shape == (3,)
    with pytest.raises(NotFoundError, match="member 4 has no best parameters: its validation/loss was never fin"):
        run.best(4)


def test_the_curve_of_an_array_is_where_it_is(tmp_path):
    run = jaxloop.run(written(tmp_path), out=tmp_path / "run")
    with pytest.raises(NotFoundError, match=r"'validation/square' has arrays for values.*`run.arrays`"):
        run.curves("validation/square")
    with pytest.raises(NotFoundError, match=r"no metric 'validation/nrom'; did you mean `validation/norm`"):
        run.curves("validation/nrom")


BROKEN = [
    ('"count": state["count"] + 1,', '"count": state["count"] + 1.0,', "state['count'] as it was, int32[]"),
    ('"key": own,', "", "`update` loses state['key']"),
    ('"key": own,', '"key": own, "more": noise,', "`update` adds state['more']"),
    ('"w": w}', '"w": w[:2]}', "state['params']['w'] as it was, float32[3], and returns float32[2]"),
    ("return new, {", "return {**new, **{", "`update` needs to return (state, {metric: value})"),
    ('"key": key,', '"key": jax.random.key(0, impl="rbg"),', "only threefry's are each member's own"),
    (
        "update=update",
        "update=update, loss=update",
        "one of `loss`, `stateful_loss`, `update`, got loss and",
    ),
    ("update=update", "loss=update", "`params` is of `update`"),
    ("update=update", "update=update, tx=update", "`tx` and `eval_params` are of gradient steps"),
    ("update=update, ", "", "needs one of `loss`, `stateful_loss`, `update`, got none"),
    ("metrics=metrics", "report=metrics", "`report` needs `metrics`"),
    ("metrics=metrics", "metrics=metrics, data={}", "`data` needs a jaxloop.Data"),
    ("update=update", "update=update, decay_mask=update", "`decay_mask` is of gradient steps that jaxloop takes"),
]


@pytest.mark.parametrize(("text", "by", "says"), BROKEN)
def test_a_broken_rule_is_told_before_anything_compiles(tmp_path, text, by, says):
    task = changed(COUNTER, (text, by))
    if by.startswith("return {**new"):
        task = changed(task, ('"noise": noise}', '"noise": noise}}'))
    with pytest.raises(SweepError) as caught:
        checks.check_sweep(*api.read(written(tmp_path, task)))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("hparams.ema_decay=0.9", "a task with an `update` averages its own parameters"),
        ('hparams.precision="bfloat16"', "chooses the precision that it computes in"),
        ("hparams.train_examples=10", "needs training examples, and the task has none"),
        ('checkpoint.best="validation/nrom"', "did you mean `validation/norm`"),
        ('checkpoint.best="train/norm"', "cannot infer a direction for `train/norm`"),
        ('evaluate.metric="validation/square"', "needs a scalar, `validation/square` is an array of shape (3, 3)"),
        ('hparams.optimizer="own"', "got 'own'; 'own' needs a task with a `tx`"),
    ],
)
def test_what_a_sweep_cannot_ask_of_such_a_task_is_refused(tmp_path, override, says):
    with pytest.raises(SweepError) as caught:
        checks.check_sweep(*api.read(written(tmp_path), (override,)))
    assert says in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("optimizers", ['hparams.optimizer="own"', 'axes.optimizer={values=["own","sgd"]}'])
def test_own_optimizers_are_named_on_the_command_line_too(jaxloop_command, optimizers):
    done = jaxloop_command("plan", ROOT / "sweeps" / "own_optimizer.toml", "--set", optimizers)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("setting", ["hparams.clip=1.0", "hparams.warmup_steps=5", 'hparams.schedule="cosine"'])
def test_what_an_own_optimizer_would_not_see_is_refused(setting):
    with pytest.raises(SweepError, match="needs one of jaxloop's optimizers"):
        checks.check_sweep(*api.read(ROOT / "sweeps" / "own_optimizer.toml", (setting,)))


KEYED = """
import jax
import jax.numpy as jnp
import numpy as np

import jaxloop

x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
split = {"weight": x, "y": 3 * x[:, 0]}

def init(key, hparams):
    return {"weight": jnp.zeros(1)}, {"key": key, "count": 0}

def predict(params, batch):
    return batch["weight"] @ params["weight"]

def loss(params, state, batch, key, step, hparams):
    own, drawn = jax.random.split(state["key"])
    noise = 0.01 * jax.random.normal(drawn, batch["y"].shape)
    value = jnp.mean((predict(params, batch) - batch["y"] + noise) ** 2)
    return value, ({"key": own, "count": state["count"] + 1}, {})

def metrics(trained, batch, hparams):
    params, state = trained
    drawn = jax.random.uniform(state["key"], (3,))
    return {"loss": jnp.mean((predict(params, batch) - batch["y"]) ** 2), "drawn": drawn}

task = jaxloop.Task(init, stateful_loss=loss, metrics=metrics, data=jaxloop.Data(split, split, split))
"""


def test_a_stateful_loss_keeps_keys_and_parameters_may_be_named_like_data(tmp_path):
    sweep = (
        '[run]\ntask = "counter.py:task"\nsteps = 20\nevaluate_every = 10\n'
        "[hparams]\nbatch_size = 16\n[axes]\nlearning_rate = { values = [0.01, 0.1] }\n"
    )
    run = jaxloop.run(written(tmp_path, KEYED, sweep), out=tmp_path / "run")
    state = run.state(1)
    assert int(state["count"]) == 20
    drawn = jax.random.uniform(jax.random.wrap_key_data(state["key"], impl="threefry2x32"), (3,))
    np.testing.assert_allclose(run.arrays(1)["validation/drawn"][20], drawn, rtol=1e-6)


WIDE = """
import jax
import jax.numpy as jnp

import jaxloop

def init(key, hparams):
    width = hparams["width"]
    return {"w": jnp.where(jnp.arange(width.max) < width.value, 1.0, 0.0)}

def update(state, batch, key, step, hparams):
    return {"w": state["w"] * 0.9}, {"sum": state["w"].sum()}

task = jaxloop.Task(init, update=update, hparams={"width": jaxloop.size(4)})
"""
WIDE_SWEEP = """
[run]
task = "counter.py:task"
steps = 10
evaluate_every = 5
[axes]
width = { values = [2, 5] }
[evaluate]
metric = "train/sum"
mode = "min"
"""


def test_a_padded_update_keeps_its_padding_zero_and_has_the_results_of_its_own_size(tmp_path):
    run = jaxloop.run(written(tmp_path, WIDE, WIDE_SWEEP), out=tmp_path / "run")
    assert [run.params(number)["w"].shape for number in (0, 1)] == [(2,), (5,)]
    np.testing.assert_allclose(run.params(0)["w"], 0.9**10 * np.ones(2), rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "by", "when"),
    [('state["w"] * 0.9', 'state["w"] + 1.0', "`update`"), ("1.0, 0.0)", "1.0, 0.5)", "`init`")],
)
def test_an_update_that_fills_its_padding_is_refused_and_told_what_is_needed(tmp_path, text, by, when):
    task = changed(WIDE, (text, by))
    with pytest.raises(SweepError) as caught:
        checks.check_sweep(*api.read(written(tmp_path, task, WIDE_SWEEP)))
    assert f"{when} leaves numbers in the padding of params['w']" in str(caught.value)
    assert "jnp.arange(size.max) < size.value" in str(caught.value)


SPLITS = """
import jax.numpy as jnp
import numpy as np

import jaxloop

x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
projection = np.array([1.0, 2.0, 3.0], np.float32)
split = {"x": x, "y": 2 * x @ projection}
shifted = {"x": x, "y": split["y"] + 1}

def error(params, batch):
    assert batch["projection"].shape == (3,)
    return jnp.mean((batch["x"] @ batch["projection"] * params["w"] - batch["y"]) ** 2)

task = jaxloop.Task(
    lambda key, hparams: {"w": jnp.zeros(())},
    lambda params, batch, key, hparams: (error(params, batch), {}),
    lambda params, batch, hparams: {"loss": error(params, batch)},
    jaxloop.Data(split, split, others={"shifted": shifted}, shared={"projection": projection}),
)
"""


def test_muon_of_a_padded_update_is_refused(tmp_path):
    with pytest.raises(SweepError, match="muon without the true shapes"):
        checks.check_sweep(*api.read(written(tmp_path, WIDE, WIDE_SWEEP), ('hparams.optimizer="muon"',)))


def test_a_padded_update_may_read_its_data_from_disk(tmp_path):
    task = changed(
        WIDE,
        ("import jaxloop\n", "import jaxloop\nimport numpy as np\n"),
        ('"sum": state["w"].sum()', '"sum": state["w"].sum() * batch["x"].mean()'),
        (
            "update=update,",
            'update=update, data=jaxloop.Data(jaxloop.from_disk({"x": np.ones(200, np.float32)})),',
        ),
    )
    run = jaxloop.run(written(tmp_path, task, WIDE_SWEEP), out=tmp_path / "run")
    assert run.members[0].metrics["train/sum"] == pytest.approx(2 * np.mean(0.9 ** np.arange(5, 10)), rel=1e-5)


def test_named_splits_are_measured_and_shared_arrays_are_whole_in_each_batch(tmp_path):
    sweep = (
        '[run]\ntask = "counter.py:task"\nsteps = 200\n'
        '[hparams]\nbatch_size = 10\noptimizer = "adam"\n[axes]\nlearning_rate = { values = [0.1] }\n'
    )
    run = jaxloop.run(written(tmp_path, SPLITS, sweep), out=tmp_path / "run")
    metrics = run.members[0].metrics
    assert metrics["validation/loss"] < 1e-4
    assert metrics["shifted/loss"] == pytest.approx(1.0, abs=0.05)
    assert "test/loss" not in metrics


def test_shared_arrays_count_in_the_fingerprint():
    split = {"x": np.zeros(3)}
    assert Data(split).fingerprint() != Data(split, shared={"a": np.zeros(2)}).fingerprint()
    with pytest.raises(ValueError, match=r"'x' is an array of data\.train, too"):
        Data(split, shared={"x": np.zeros(2)})
    with pytest.raises(ValueError, match="cannot be named 'test'"):
        Data(split, others={"test": split})


def test_parameters_are_measured_and_exported_where_a_schedule_free_optimizer_evaluates_them(tmp_path):
    task = line.changed(
        line.LINE,
        ("import numpy as np\n", "import numpy as np\nimport optax\n"),
        (
            "jaxloop.Data(split, split, split))",
            "jaxloop.Data(split, split, split), eval_params=optax.contrib.schedule_free_eval_params,\n"
            '    tx=lambda hparams, step: optax.contrib.schedule_free_sgd(hparams["learning_rate"], b1=0.5))',
        ),
    )
    sweep = line.changed(line.SWEEP, ('optimizer = "sgd"\n', ""))
    run = jaxloop.run(line.written(tmp_path, task=task, sweep=sweep), out=tmp_path / "run")
    x = np.linspace(-1, 1, 64)
    for member in run.members:
        assert member.hparams["optimizer"] == "own"
        params = run.params(member)
        loss = np.square(x * params["w"] + params["b"] - (3 * x + 1)).mean()
        assert member.metrics["test/loss"] == pytest.approx(loss, rel=1e-5)
    named = jaxloop.run(tmp_path / "line.toml", out=tmp_path / "sgd", overrides=('hparams.optimizer="sgd"',))
    assert named.members[0].metrics["test/loss"] != run.members[0].metrics["test/loss"]


def test_sequences_of_different_lengths_become_one_array_and_their_lengths():
    whole, lengths = padded([[1, 2, 3], [4], []])
    assert (whole.tolist(), lengths.tolist()) == ([[1, 2, 3], [4, 0, 0], [0, 0, 0]], [3, 1, 0])
    with pytest.raises(ValueError, match="differ in length alone"):
        padded([np.zeros((2, 3)), np.zeros((2, 4))])
    with pytest.raises(TypeError, match=r"jaxloop\.padded"):
        Data({"x": [[1, 2], [3]]})


def test_the_sweep_s_optimizer_is_the_engine_s_own_for_a_task_that_takes_its_steps():
    """The same update as optax's at the schedule's rate, for every kind of optimizer."""
    params = {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(3)}
    grads = jax.tree.map(jnp.sin, params)
    hparams = {
        "optimizer": "adamw",
        "learning_rate": 0.1,
        "schedule": jaxloop.Choice(0, ("linear",)),
        "warmup_steps": 0,
        "steps": 10,
        "end_factor": 0.0,
        "weight_decay_on": "weights",
        **{"b1": 0.9, "b2": 0.999, "eps": 1e-8, "eps_root": 0.0, "weight_decay": 0.1, "nesterov": False},
    }
    tx = jaxloop.optimizer(hparams, 5)
    mine, _ = tx.update(grads, tx.init(params), params)
    other = optax.adamw(0.05, weight_decay=0.1, mask={"w": True, "b": False})
    wanted, _ = other.update(grads, other.init(params), params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), mine, wanted)
