"""Which examples a member trains on: folds, dealt once or by each seed, and parts of a split."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxloop
from jaxloop import api
from jaxloop.core import subsets
from jaxloop.core.checks import check_sweep
from jaxloop.errors import SweepError
from jaxloop.sweep import sweep
from jaxloop.training import replay

SHORT = '[run]\ntask = "digits"\nsteps = 20\nevaluate_every = 10\n'


def parts(hparams, examples):
    """The examples that a member is measured on, and those that it trains on."""
    index, last, has_last = subsets.held_out(hparams, examples)
    own = subsets.training(jax.random.key(0), hparams, examples)
    trained = np.asarray(own.at(np.arange(int(own.count), dtype=np.uint32))).tolist()
    return [*np.asarray(index).tolist(), *([int(last)] if has_last else [])], trained


def pool(run):
    """The examples that the folds share."""
    data = api.task_of(run.sweep_and_task[0]).data
    splits = data.splits()
    return {name: np.concatenate([x, splits["validation"][name]]) for name, x in splits["train"].items()}


def accuracy(run, member, rows):
    """A member's accuracy on some examples of the pool, by NumPy."""
    examples, params = pool(run), run.params(member)
    h = logits = examples["x"][rows]
    for layer in [*params["hidden"].values(), params["out"]]:
        logits = h @ layer["kernel"] + layer["bias"][None]
        h = np.maximum(logits, 0)
    return np.mean(logits.argmax(1) == examples["y"][rows])


def trained(tmp_path, text):
    (tmp_path / "sweep.toml").write_text(SHORT + text)
    return jaxloop.run(tmp_path / "sweep.toml", out=tmp_path / "run")


@pytest.mark.slow
@given(st.integers(2, 9), st.integers(9, 200), st.sampled_from([{}, {"resample": True, "seed": np.uint32(7)}]))
@settings(max_examples=6)  # each number of examples compiles anew
def test_folds_are_disjoint_and_cover_all(folds, examples, dealt):
    held_out = []
    for fold in range(folds):
        mine, trained = parts({"fold": np.uint32(fold), "folds": folds, **dealt}, examples)
        assert sorted(mine + trained) == list(range(examples))
        held_out += mine
    assert sorted(held_out) == list(range(examples))


def test_each_seed_deals_the_examples_anew_where_it_is_told_to():
    def held_out(seed, **more):
        return parts({"folds": 4, "fold": np.uint32(0), "seed": np.uint32(seed), **more}, 50)[0]

    assert held_out(1) == held_out(2)
    assert held_out(1, resample=True) == held_out(1, resample=True)
    drawn = [tuple(sorted(held_out(seed, resample=True))) for seed in range(20)]
    assert len(set(drawn)) == 20
    counts = np.bincount(np.concatenate(drawn), minlength=50)  # about 20 / 4 times each
    assert counts.max() < 14
    assert counts.min() > 0


@pytest.mark.slow
@given(st.integers(2, 60), st.integers(0, 9))
@settings(max_examples=6)
def test_a_larger_subset_contains_the_smaller_one(examples, seed):
    def chosen(count):
        own = subsets.training(jax.random.key(seed), {"train_examples": count}, examples)
        return np.asarray(own.at(np.arange(count, dtype=np.uint32))).tolist()

    smaller, larger = chosen(examples // 2), chosen(examples)
    assert larger[: examples // 2] == smaller
    assert sorted(larger) == list(range(examples))


@pytest.mark.slow
def test_five_fold_cross_validation_of_32_configs_is_one_run(tmp_path):
    run = trained(
        tmp_path,
        """
        [hparams]
        width = 8
        folds = 5
        [axes]
        learning_rate = { log = [1e-3, 1e-1], num = 8 }
        weight_decay = { values = [0.0, 0.01, 0.1, 1.0] }
        fold = { count = 5 }
        """,
    )
    assert (run.summary.programs, run.summary.finished) == (1, 160)
    best = run.summary.best[0]
    assert len(best.members) == 5
    assert best.standard_error
    assert best.standard_error > 0
    # a fold's validation metrics, from its parameters and its examples
    member = run.members[3]
    rows, _ = parts({"fold": np.uint32(member.hparams["fold"]), "folds": 5}, len(pool(run)["y"]))
    assert member.metrics["validation/accuracy"] == pytest.approx(accuracy(run, member, rows))


@pytest.mark.slow
def test_members_of_a_seed_are_measured_on_what_that_seed_holds_out(tmp_path):
    run = trained(
        tmp_path,
        """
        [hparams]
        width = 8
        folds = 5
        resample = true
        [axes]
        learning_rate = { values = [0.003, 0.01] }
        seed = { count = 3 }
        """,
    )
    assert run.summary.programs == 1
    for member in run.members:
        hparams = {"folds": 5, "resample": True, "seed": np.uint32(member.hparams["seed"])}
        rows, _ = parts(hparams, len(pool(run)["y"]))
        assert member.metrics["validation/accuracy"] == pytest.approx(accuracy(run, member, rows))
    assert replay.train_alone(*run.sweep_and_task, run.store, 4)["largest_difference"] == 0


def test_seeds_deal_nothing_without_folds():
    swept = sweep.parse(SHORT + "[hparams]\nresample = true\n")
    with pytest.raises(SweepError, match=r"sweep:6: hparams.resample: needs `folds`: each seed holds out one of"):
        check_sweep(swept, api.task_of(swept))


@pytest.mark.parametrize(("more", "dealt"), [("fold = 0", ""), ("resample = true", ", dealt anew by each seed")])
def test_a_plan_says_what_is_held_out(tmp_path, more, dealt):
    (tmp_path / "sweep.toml").write_text(SHORT + f"[hparams]\nwidth = 8\nfolds = 5\n{more}\n")
    (note,) = api.planned(tmp_path / "sweep.toml").notes
    assert note == (
        "training and validation examples are one pool of 1438: each member holds out one fold of 5, 287 examples"
        + dealt
    )
