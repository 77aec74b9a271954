"""What a population may vary beside numbers: architectures, optimizers, data."""

import re

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxloop
import jaxloop.errors
from jaxloop import api
from jaxloop.core.bucket import undivided
from jaxloop.models.supervised import label_noise
from jaxloop.storage import checkpoints
from jaxloop.sweep import sweep

SHORT = '[run]\ntask = "digits"\nsteps = 20\nevaluate_every = 10\n'


def trained(tmp_path, text, name="run", task="digits"):
    (tmp_path / "sweep.toml").write_text(SHORT.replace("digits", task) + text)
    return jaxloop.run(tmp_path / "sweep.toml", out=tmp_path / name)


@pytest.mark.slow
def test_twelve_architectures_in_one_program_that_is_compiled_once(tmp_path):
    run = trained(
        tmp_path,
        """
        [axes]
        width = { values = [4, 8] }
        depth = { values = [1, 2, 3] }
        activation = { values = ["relu", "tanh"] }
        [population]
        capacity = 8
        """,
    )
    assert (run.summary.programs, run.summary.finished) == (1, 12)
    for member in run.members:
        widths = {leaf["kernel"].shape[1] for leaf in run.params(member)["hidden"].values()}
        assert widths == {member.hparams["width"]}
        assert len(run.params(member)["hidden"]) == member.hparams["depth"]
    assert len({m.metrics["train/loss"] for m in run.members}) == 12


def test_cases_add_their_own_hparams_and_axes():
    swept = sweep.parse(
        SHORT
        + """
        [axes]
        seed = { count = 2 }
        [cases.sgd]
        optimizer = "sgd"
        learning_rate = { values = [0.1, 1.0] }
        [cases.wide]
        width = 50
        """
    )
    found = [(m["optimizer"], m["learning_rate"], m["width"], m["seed"]) for m in swept.members]
    assert found == [
        *[("sgd", rate, 100, seed) for rate in (0.1, 1.0) for seed in (0, 1)],
        *[("adamw", 1e-3, 50, seed) for seed in (0, 1)],
    ]
    assert "momentum" not in swept.members[-1]
    again = sweep.parse(swept.toml())
    assert again.members == swept.members


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[cases.a]\nmomentum = 0.9", "no optimizer of this sweep takes `momentum`"),
        ('[cases.a]\nmodel = "cnn"\ndepth = 2', "no model of this sweep takes `depth`"),
        ("[axes]\nseed = { count = 2 }\n[cases.a]\nseed = 3", "`seed` is an axis of all cases already"),
        ('[axes]\nwidth = { values = [1, 2], kind = "traced" }', "needs padded or static, got 'traced'"),
        ("[cases.a]\nwidht = 3", "did you mean `width`?"),
    ],
)
def test_a_broken_case_is_told(text, says):
    with pytest.raises(jaxloop.errors.SweepError, match=re.escape(says)):
        sweep.parse(SHORT + text)


@pytest.mark.slow
def test_fewer_examples_and_noisier_labels_are_worse(tmp_path):
    run = trained(
        tmp_path,
        """
        [hparams]
        learning_rate = 0.01
        batch_size = 50
        [cases.all]
        [cases.few]
        train_examples = 50
        [cases.noisy]
        label_noise = 0.9
        """,
    )
    accuracy = [member.metrics["validation/accuracy"] for member in run.members]
    assert accuracy[0] > max(accuracy[1:]) + 0.05


def test_label_noise_replaces_its_share():
    y = np.arange(1000) % 10
    noise = label_noise(y, 10, seed=0)
    for share in (0.0, 0.25, 1.0):
        assert np.mean(noise["noise_place"] < share) == share
    assert (noise["noisy_y"] != y).all()


@pytest.mark.slow
def test_an_average_of_parameters_is_evaluated_beside_them(tmp_path):
    run = trained(tmp_path, "[axes]\nema_decay = { values = [0.0, 0.5, 0.99] }")
    now, ema = run.curves("validation/loss"), run.curves("validation/ema/loss")
    np.testing.assert_allclose(ema[0], now[0], rtol=1e-6)  # no memory: the parameters themselves
    assert (np.abs(ema[1:] - now[1:]) > 1e-4).all()
    assert (ema[2] > ema[1]).all()  # far behind, while the loss falls
    params, averages = ([jax.tree.leaves(of(n)) for n in range(3)] for of in (run.params, run.average))
    gaps = [
        max(np.abs(p - a).max() for p, a in zip(*pair, strict=True)) for pair in zip(params, averages, strict=True)
    ]
    assert gaps[0] < 1e-6 < 1e-3 < gaps[1] < gaps[2]
    best = next(m for m in run.members if list((run.path / "members").glob(f"{m.number:04d}-*/average")))
    kept = checkpoints.restore_one(
        next((run.path / "members").glob(f"{best.number:04d}-*/average")), run.params(best)
    )
    np.testing.assert_array_equal(jax.tree.leaves(kept)[0], averages[best.number][0])
    with pytest.raises(jaxloop.errors.NotFoundError, match="no `ema_decay`"):
        trained(tmp_path, "", "plain").average(0)


@pytest.mark.slow
def test_bfloat16_computes_in_it_and_keeps_float32(tmp_path):
    run = trained(tmp_path, '[axes]\nprecision = { values = ["float32", "bfloat16"] }')
    full, half = run.curves("train/loss")
    assert 1e-5 < np.abs(full - half).max() < 0.05
    assert {leaf.dtype for leaf in jax.tree.leaves(run.params(1))} == {np.dtype("float32")}


@pytest.mark.slow
def test_bfloat16_rounds_no_target(tmp_path):
    x = np.zeros((100, 2), np.float32)
    np.savez(tmp_path / "flat.npz", x=x, y=np.full(100, 1001.0, np.float32))  # 1000 in bfloat16
    run = trained(
        tmp_path,
        """
        [data]
        path = "flat.npz"
        [hparams]
        model = "linear"
        learning_rate = 0.0
        batch_size = 20
        [axes]
        precision = { values = ["float32", "bfloat16"] }
        """.replace("\n        ", "\n"),
        task="arrays",
    )
    for metric in ("train/loss", "validation/loss", "test/loss"):
        np.testing.assert_allclose(run.curves(metric)[:, -1], 1001.0**2, rtol=1e-5)


def test_rotary_positions_need_pairs(tmp_path):
    says = re.escape("head_width: needs even numbers for rotary positions, got 3")
    with pytest.raises(jaxloop.errors.SweepError, match=says):
        trained(tmp_path, '[hparams]\nmodel = "transformer"\n[axes]\nhead_width = { values = [3, 4] }')


@pytest.mark.slow
def test_a_network_without_hidden_layers_is_another_model_not_a_padded_one(tmp_path):
    run = trained(tmp_path, "[axes]\ndepth = { values = [0, 1] }")
    assert (run.summary.programs, run.summary.finished) == (2, 2)
    assert "hidden" not in run.params(0)


@given(st.data())
@settings(max_examples=5)
def test_any_mix_of_sizes_fits_one_program(data):
    widths = data.draw(st.lists(st.integers(1, 64), min_size=1, max_size=4, unique=True))
    depths = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True))
    swept = sweep.parse(SHORT + f"[axes]\nwidth = {{ values = {widths} }}\ndepth = {{ values = {depths} }}")
    (bucket,) = undivided(swept)
    assert sorted(bucket.numbers) == list(range(len(widths) * len(depths)))
    assert bucket.sizes.get("width", widths[0]) == max(widths)


OWN = """
import dataclasses
from jaxloop.tasks import digits
task = dataclasses.replace(digits(), hparams={**digits().hparams, "norm": "batch", "p": -1.0})
"""


def test_a_users_own_names_mean_what_they_say(tmp_path):
    """`norm` is also a transformer's, and `p` an option of a dataset."""
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "own.toml").write_text(
        '[run]\ntask = "own.py:task"\nsteps = 1\n[hparams]\nnorm = "none"\np = -0.5\n'
    )
    swept, _ = api.read(tmp_path / "own.toml")
    assert (swept.members[0]["norm"], swept.members[0]["p"]) == ("none", -0.5)
