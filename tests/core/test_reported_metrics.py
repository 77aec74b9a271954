"""Metrics that are not means over examples: the same at any evaluation batch size, and as NumPy has them."""

import re

import numpy as np
import pytest
from conftest import ROOT

import jaxloop
from jaxloop.core import checks
from jaxloop.errors import SweepError

SWEEP = """
[run]
task = "own.py:task"
steps = 30
evaluate_every = 15
[hparams]
learning_rate = 0.1
ema_decay = 0.9
batch_size = 16
[axes]
seed = { count = 2 }
[evaluate]
metric = "validation/f1"
mode = "max"
"""
TASK = """
import jax
import jax.numpy as jnp
import numpy as np
import jaxloop

generator = np.random.default_rng(0)
x = generator.normal(size=(331, 5)).astype(np.float32)
y = (x @ np.array([1.0, -2.0, 0.5, 0.0, 0.0]) + generator.normal(size=331) > 1.5)


def init(key, hparams):
    return {"w": jax.random.normal(key, (5,)), "b": jnp.zeros(())}


def predict(params, x):
    return x @ params["w"] + params["b"]


def loss(params, batch, key, hparams):
    score = predict(params, batch["x"])
    return jnp.mean(jnp.logaddexp(0.0, jnp.where(batch["y"], -score, score))), {}


METRICS

HISTOGRAM = jnp.linspace(-20.0, 20.0, 4001)


def of_all(params, batch, hparams):
    score, label = predict(params, batch["x"]), batch["y"]
    place = jnp.clip(jnp.searchsorted(HISTOGRAM, score), 0, 4000)
    found = metrics(params, batch, hparams)
    loss = jnp.mean(jnp.logaddexp(0.0, jnp.where(label, -score, score)))
    shares = [jnp.zeros(4001).at[place].add(is_one / len(score)) for is_one in (~label, label)]
    return {**found, "loss": loss, "scores": jnp.stack(shares)}


def report_all(means, hparams):
    no, yes = means["scores"]
    below = jnp.cumsum(no) - no / 2
    return {
        **report(means, hparams),
        "perplexity": jnp.exp(means["loss"]),
        "auc": jnp.sum(yes * below) / (jnp.sum(no) * jnp.sum(yes)),
    }


split = lambda rows: {"x": x[rows], "y": y[rows]}
data = jaxloop.Data(train=split(slice(0, 100)), validation=split(slice(100, 231)), test=split(slice(231, None)))
task = jaxloop.Task(init, loss, of_all, data, report=report_all)
"""


def written(folder, text=TASK):
    page = (ROOT / "docs" / "tasks.md").read_text()
    (documented,) = re.findall(r"```python\n(def metrics.*?)```", page, re.DOTALL)
    (folder / "own.py").write_text(text.replace("METRICS", documented))
    (folder / "own.toml").write_text(SWEEP)
    return folder / "own.toml"


def expected(params, x, y):
    """F1, perplexity and AUC of a split, by NumPy and from their definitions."""
    score = np.asarray(x, np.float64) @ np.asarray(params["w"], np.float64) + float(params["b"])
    hits = (score > 0) & y
    loss = np.logaddexp(0.0, np.where(y, -score, score)).mean()
    pairs = score[y][:, None] - score[~y]
    return {
        "f1": 2 * hits.sum() / ((score > 0).sum() + y.sum()),
        "perplexity": np.exp(loss),
        "auc": ((pairs > 0) + 0.5 * (pairs == 0)).mean(),
    }


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [7, 1000])
def test_metrics_of_a_split_are_those_of_all_its_examples_at_once(tmp_path, batch_size):
    run = jaxloop.run(written(tmp_path), out=tmp_path / "run", overrides=(f"evaluate.batch_size={batch_size}",))
    data = run.sweep_and_task[1].data
    for member in run.members:
        for split, arrays in (("validation", data.validation), ("test", data.test)):
            for prefix, params in (("", run.params(member)), ("ema/", run.average(member))):
                for name, value in expected(params, arrays["x"], arrays["y"]).items():
                    found = member.metrics[f"{split}/{prefix}{name}"]
                    assert found == pytest.approx(value, rel=2e-3 if name == "auc" else 1e-5), name
    assert not any("averaged" in note for note in run.summary.notes)


@pytest.mark.parametrize(
    ("text", "by", "says"),
    [
        (
            "**report(means, hparams),",
            "'f1': jnp.ones(3),",
            "evaluate.metric: needs a scalar, `validation/f1` is an array",
        ),
        (
            "report=report_all",
            "report=lambda means, hparams: {}",
            "`report` needs to return {metric: value}, got dict",
        ),
        ('means["loss"]', 'means["lost"]', "`report`: KeyError: lost"),
        ("report=report_all", "", "unknown metric `validation/f1`"),
    ],
)
def test_a_report_that_breaks_a_rule_is_told_before_anything_compiles(tmp_path, text, by, says):
    assert text in TASK
    with pytest.raises(SweepError) as caught:
        checks.check_sweep(*jaxloop.api.read(written(tmp_path, TASK.replace(text, by))))
    assert says in str(caught.value)
