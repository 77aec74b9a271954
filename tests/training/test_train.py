import json
import os
import re
import signal
import subprocess
import time

import filelock
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from conftest import JAXLOOP, TINY
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import jaxloop
from jaxloop.core import size_classes
from jaxloop.errors import LockedError, NotFoundError, SweepError
from jaxloop.storage.ranking import ranked
from jaxloop.storage.store import Store
from jaxloop.sweep import sweep
from jaxloop.training import retire, train

pytestmark = pytest.mark.optimized

SICK_AT_40 = """
import jax.numpy as jnp
import jaxloop
from jaxloop.tasks import digits

base = digits()

def loss(params, batch, key, hparams):  # the clock moves by one learning rate a step
    value, metrics = base.loss(params["model"], batch, key, hparams)
    sick = -params["clock"] > 39.5 * hparams["learning_rate"]
    return jnp.where(sick, jnp.nan, value + params["clock"]), metrics

task = jaxloop.Task(
    lambda key, hparams: {"model": base.init(key, hparams), "clock": jnp.float32(0.0)},
    loss,
    lambda params, batch, hparams: base.metrics(params["model"], batch, hparams),
    base.data,
    hparams=base.hparams,
    models=base.models,
)
"""

# FromDisk, with step budgets of their own and a member that diverges; in two programs one after the other.
LONG = (
    "axes.steps.values=[500, 2000]",
    "axes.learning_rate.values=[0.01, 0.03, 1e30]",
    "axes.optimizer.values=['adam', 'sgd']",
    "population.capacity=4",
    "checkpoint.every=200",
)


def test_a_run_leaves_its_folder(tiny, tmp_path):
    run = jaxloop.run(tiny, out=tmp_path / "run")
    assert {p.name for p in run.path.iterdir()} >= {
        "sweep.toml",
        "run.json",
        "run.sqlite",
        "checkpoints",
        "finished",
        "members",
    }
    assert run.curves("validation/loss").shape == (6, 3)
    assert run.curves("validation/loss").dtype == np.float32
    assert not np.isnan(run.curves("train/loss")).any()
    assert run.steps().tolist() == [20, 40, 60]
    # test metrics exist at the end alone
    assert np.isnan(run.curves("test/accuracy")[:, :-1]).all()
    assert not np.isnan(run.curves("test/accuracy")[:, -1]).any()
    assert len({m.id for m in run.members}) == 6
    assert len({m.config for m in run.members}) == 3
    facts = json.loads((run.path / "run.json").read_text())
    assert facts["versions"]["jax"]
    assert facts["member_steps_per_second"] > 0


def test_plain_orbax_restores_one_member_by_its_number(tiny, tmp_path):
    run = jaxloop.run(tiny, out=tmp_path / "run")
    member = run.members[4]
    assert member.final_folder
    ours = run.params(4)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        saved = checkpointer.restore((run.path / member.final_folder).absolute())
    row = saved["members"].tolist().index(4)
    np.testing.assert_array_equal(saved["params"]["out"]["kernel"][row], ours["out"]["kernel"])
    assert np.abs(ours["out"]["kernel"]).sum() > 0
    others = [run.params(n)["out"]["kernel"] for n in (0, 3, 5)]
    assert all((other != ours["out"]["kernel"]).any() for other in others)


@pytest.mark.slow
def test_final_parameters_fill_folders_of_a_bounded_size(tiny, tmp_path, monkeypatch):
    whole = jaxloop.run(tiny, out=tmp_path / "whole")
    monkeypatch.setattr(retire, "FOLDER_BYTES", 4 * 1500 * 4)  # four members of 1482 float32
    parted = jaxloop.run(tiny, out=tmp_path / "parted")
    assert len({member.final_folder for member in whole.members}) == 1
    assert [member.final_folder.rpartition("-")[2] for member in parted.members] == ["0"] * 4 + ["1"] * 2
    for number in range(6):
        ours, theirs = (jax.tree.leaves(run.params(number)) for run in (parted, whole))
        assert all((a == b).all() for a, b in zip(ours, theirs, strict=True))


@pytest.mark.slow
def test_members_have_their_own_step_budgets(tiny, tmp_path):
    swept = sweep.load(
        tiny, ("axes.steps.values=[10, 30, 60]", "population.capacity=4", "population.group_size=2")
    )
    run = jaxloop.run(swept, out=tmp_path / "run")
    assert [m.step for m in run.members] == [m.hparams["steps"] for m in run.members]
    assert {m.status for m in run.members} == {"finished"}
    together = run.curves("validation/loss")
    alone = jaxloop.run(sweep.load(tiny, ("run.steps=30",)), out=tmp_path / "alone").curves("validation/loss")
    thirties = [m.number for m in run.members if m.hparams["steps"] == 30]
    at_thirty = run.steps().tolist().index(30)
    np.testing.assert_array_equal(together[thirties, at_thirty], alone[:, -1])


@pytest.mark.slow
def test_a_member_that_cannot_take_one_more_step_keeps_its_last_point(tiny, tmp_path):
    """NaN at the first step of a chunk: the point of the chunk before is the member's last."""
    (tmp_path / "sick.py").write_text(SICK_AT_40)
    run = jaxloop.run(tiny, out=tmp_path / "run", overrides=('run.task="sick.py:task"', "checkpoint.every=20"))
    assert {(m.status, m.step) for m in run.members} == {("diverged", 40)}
    assert run.steps().tolist() == [20, 40]
    for metric in ("train/loss", "validation/loss"):
        assert np.isfinite(run.curves(metric)).all()
    assert np.isfinite(run.curves("test/loss")[:, 1]).all()
    curves = events(run)
    assert {len(points) for (_, tag), points in curves.items() if not tag.startswith("test/")} == {2}


@pytest.mark.slow
def test_best_folders_and_what_keep_drops(tiny, tmp_path):
    run = jaxloop.run(tiny, out=tmp_path / "best", overrides=("checkpoint.keep='best:1'",))
    kept = [m.number for m in run.members if list((run.path / "members").glob(f"{m.number:04d}-*/checkpoint"))]
    assert kept == ranked(run.store)[0].members
    assert jax.tree.leaves(run.params(kept[0]))
    assert not (run.path / "finished").exists()
    with pytest.raises(NotFoundError, match="no final parameters"):
        run.params(next(n for n in range(6) if n not in kept))
    run = jaxloop.run(tiny, out=tmp_path / "none", overrides=("checkpoint.keep=none",))
    assert not list(run.path.glob("members/*/checkpoint"))
    assert not (run.path / "finished").exists()


@pytest.mark.slow
def test_ranking_by_a_loss_takes_the_least(tiny, tmp_path):
    run = jaxloop.run(tiny, out=tmp_path / "run", overrides=("evaluate.metric=validation/loss",))
    means = [config.mean for config in ranked(run.store)]
    assert means == sorted(means)
    assert run.summary.best[0].mean == min(means)


def test_divergence_is_an_outcome(tiny, tmp_path):
    run = jaxloop.run(tiny, out=tmp_path / "run", overrides=("axes.learning_rate.values=[1e9, 1e-2]",))
    sick = [m for m in run.members if m.hparams["learning_rate"] == 1e9]
    assert {m.status for m in sick} == {"diverged"}
    assert all(m.step < 60 and np.isfinite(m.metrics["train/loss"]) for m in sick)
    assert run.summary.diverged == 2
    assert run.summary.finished == 4 - 2
    for member in sick:
        assert all(np.isfinite(leaf).all() for leaf in [run.params(member)["out"]["kernel"]])


@pytest.mark.slow
def test_static_hparams_train_in_programs_of_their_own(tiny, tmp_path):
    run = jaxloop.run(tiny, out=tmp_path / "run", overrides=("axes.optimizer.values=['adam', 'lion']",))
    assert run.summary.programs == 2
    assert run.summary.finished == 12
    assert run.params(11)["out"]["kernel"].shape == (16, 10)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A long run that nobody interrupts, in a process of its own."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.toml").write_text(TINY)
    subprocess.run([*population(folder / "tiny.toml", folder / "run")], check=True, stdout=subprocess.DEVNULL)
    return jaxloop.load(folder / "run")


def population(file, out):
    options = [part for override in LONG for part in ("--set", override)]
    return [JAXLOOP, "population", str(file), "--out", str(out), *options]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "ended"), [(signal.SIGKILL, 9), (signal.SIGTERM, 5), (signal.SIGINT, 14)])
def test_an_interrupted_run_resumes_to_the_same_bits(tiny, tmp_path, jaxloop_command, whole, number, ended):
    """Interrupted when `ended` members have ended: some wait, some run, some of them after the checkpoint."""
    process = subprocess.Popen(population(tiny, tmp_path / "run"), stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not has(tmp_path / "run", ended):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(process.pid, number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    if number != signal.SIGKILL:
        assert re.search(r"interrupted: \d+% of the steps are done and saved", said)
        assert said.endswith(f"jaxloop resume {tmp_path / 'run'}\n")
    waiting = sum(m.status in ("waiting", "running") for m in jaxloop.load(tmp_path / "run").members)
    assert waiting > 0
    resumed = jaxloop_command("resume", tmp_path / "run", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["finished"] == 16

    broken = jaxloop.load(tmp_path / "run")
    assert [(m.id, m.status, m.step) for m in broken.members] == [(m.id, m.status, m.step) for m in whole.members]
    for metric in whole.store.metric_names():
        np.testing.assert_array_equal(whole.curves(metric), broken.curves(metric))
    for member in whole.members:
        ours, theirs = (jax.tree.leaves(run.params(member)) for run in (broken, whole))
        assert all((a == b).all() for a, b in zip(ours, theirs, strict=True))
    assert events(broken) == events(whole)


@pytest.mark.slow
def test_a_crashed_run_of_size_classes_resumes_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(size_classes, "COMPILE_SECONDS", 0.0)  # a class for each mix of sizes
    swept = sweep.parse(TINY, ("axes.width.values=[4, 16]", "axes.seed.count=4", "population.capacity=8"))
    whole = jaxloop.run(swept, out=tmp_path / "whole")
    turns = 0

    def crash(progress):
        nonlocal turns
        if (turns := turns + 1) == 5:
            raise RuntimeError("pulled")

    with pytest.raises(RuntimeError, match="pulled"):
        jaxloop.run(swept, out=tmp_path / "run", observe=crash)
    monkeypatch.setattr(size_classes, "COMPILE_SECONDS", 1e9)  # another estimate does not change a run's classes
    with jaxloop.load(tmp_path / "run") as broken:
        assert {"running", "waiting", "finished"} == {member.status for member in broken.members}
        shares = []
        train.train(broken.path, *broken.sweep_and_task, lambda progress: shares.append(progress.share_done))
        assert 0.2 < shares[0] < shares[-1] == 1.0
        for metric in whole.store.metric_names():
            np.testing.assert_array_equal(whole.curves(metric), broken.curves(metric))
        for member in whole.members:
            ours, theirs = (jax.tree.leaves(run.params(member)) for run in (broken, whole))
            assert all((a == b).all() for a, b in zip(ours, theirs, strict=True))


def has(run, ended):
    """Whether a run has a checkpoint and so many members have ended."""
    if not len(list((run / "checkpoints").glob("*"))):
        return False
    with Store(run) as store:
        counts = store.counts()
    return counts["finished"] + counts["diverged"] >= ended


def events(run):
    """What TensorBoard's own reader finds of every member: (step, value) by member and tag."""
    found = {}
    for folder in sorted(path for path in (run.path / "members").iterdir() if path.is_dir()):
        reader = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        reader.Reload()
        for tag in reader.Tags()["scalars"]:
            found[folder.name, tag] = [(event.step, event.value) for event in reader.Scalars(tag)]
    return found


@pytest.mark.slow
def test_replay_alone_gives_the_recorded_bits(tiny, tmp_path, jaxloop_command):
    assert jaxloop_command("population", tiny, "--out", tmp_path / "run").returncode == 0
    done = jaxloop_command("replay", tmp_path / "run", "3", "--json")
    found = json.loads(done.stdout)
    assert found["points"] > 15
    assert found["largest_difference"] == 0.0
    assert found["missing"] == 0


@pytest.mark.slow
def test_commands_and_exit_codes(tiny, tmp_path, jaxloop_command):
    run = tmp_path / "run"
    done = jaxloop_command("population", tiny, "--out", run, "--json", "--seeds", 3)
    summary = json.loads(done.stdout)
    assert done.returncode == 0
    assert {
        *("run", "status", "members", "finished", "diverged", "programs", "capacity", "group_size", "devices"),
        *("compile_seconds", "seconds", "member_steps_per_second", "best"),
    } <= set(summary)
    assert (summary["members"], summary["programs"], summary["diverged"]) == (9, 1, 0)
    assert summary["devices"] == len(os.sched_getaffinity(0))
    assert summary["capacity"] % (summary["devices"] * summary["group_size"]) == 0  # padded with idle slots
    shown = json.loads(jaxloop_command("show", run, "--json").stdout)
    assert len(shown["members"]) == 9
    assert {"id", "hparams", "status", "step", "metrics"} <= set(shown["members"][0])
    assert {"validation/accuracy", "test/accuracy"} <= set(shown["members"][0]["metrics"])
    one = json.loads(jaxloop_command("show", f"{run}/{shown['members'][2]['id']}", "--json").stdout)
    assert one == shown["members"][2]
    ranked = json.loads(jaxloop_command("best", run, "-k", "2", "--json").stdout)
    scores = [
        np.mean([m["metrics"]["validation/accuracy"] for m in shown["members"] if m["config"] == row["config"]])
        for row in ranked
    ]
    assert np.allclose([row["mean"] for row in ranked], scores)
    assert scores == sorted(scores, reverse=True)
    assert json.loads(jaxloop_command("ls", tmp_path, "--json").stdout)[0]["members"] == 9
    assert json.loads(jaxloop_command("plan", tiny, "--json").stdout)["members"] == 6
    assert jaxloop_command("export", run, "2", tmp_path / "two").returncode == 0
    assert jaxloop_command("population", tiny, "--out", run).returncode == 2
    assert jaxloop_command("best", tmp_path / "nowhere").returncode == 3
    assert jaxloop_command("show", f"{run}/999").returncode == 3
    (run / "run.sqlite").write_bytes(b"x" * 5000)
    assert jaxloop_command("show", run).returncode == 4
    every = ["--set", "axes.learning_rate.values=[1e9, 2e9]"]
    assert jaxloop_command("population", tiny, "--out", tmp_path / "sick", *every).returncode == 6


def test_a_run_is_trained_by_one_process_at_a_time(tiny, tmp_path):
    run = jaxloop.run(tiny, out=tmp_path / "run")
    with filelock.FileLock(run.path / ".lock"), pytest.raises(LockedError, match="locked"):
        train.train(run.path, *run.sweep_and_task)


def test_clear_errors_in_python(tiny, tmp_path):
    with pytest.raises(NotFoundError):
        jaxloop.load(tmp_path / "nothing")
    with pytest.raises(SweepError, match="1168 training examples"):
        jaxloop.run(tiny, out=tmp_path / "run", overrides=("hparams.batch_size=5000",))
