import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

import jaxloop
from jaxloop import sweep
from jaxloop.errors import LockedError, NotFoundError, SweepError

LONG = ("run.steps=4000", "checkpoint.every=40")


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
    assert member.finished
    ours = run.params(4)
    item = {"4": {"out": {"kernel": np.zeros((16, 10)), "bias": np.zeros(10)}}}
    arrays = {"4": {"out": dict.fromkeys(("kernel", "bias"), ocp.RestoreArgs(restore_type=np.ndarray))}}
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        path = (run.path / member.finished).absolute()
        got = checkpointer.restore(path, ocp.args.PyTreeRestore(item, restore_args=arrays, partial_restore=True))
    np.testing.assert_array_equal(got["4"]["out"]["kernel"], ours["out"]["kernel"])
    assert np.abs(got["4"]["out"]["kernel"]).sum() > 0
    others = [run.params(n)["out"]["kernel"] for n in (0, 3, 5)]
    assert all((other != ours["out"]["kernel"]).any() for other in others)


def test_members_have_their_own_step_budgets(tiny, tmp_path):
    swept = sweep.load(tiny, ("axes.steps.values=[10, 30, 60]", "population.capacity=4", "population.width=2"))
    run = jaxloop.run(swept, out=tmp_path / "run")
    assert [m.step for m in run.members] == [m.hparams["steps"] for m in run.members]
    assert {m.status for m in run.members} == {"finished"}
    together = run.curves("validation/loss")
    alone = jaxloop.run(sweep.load(tiny, ("run.steps=30",)), out=tmp_path / "alone").curves("validation/loss")
    thirties = [m.number for m in run.members if m.hparams["steps"] == 30]
    at_thirty = run.steps().tolist().index(30)
    np.testing.assert_array_equal(together[thirties, at_thirty], alone[:, -1])


def test_divergence_is_an_outcome(tiny, tmp_path):
    run = jaxloop.run(tiny, out=tmp_path / "run", set=("axes.learning_rate.values=[1e9, 1e-2]",))
    sick = [m for m in run.members if m.hparams["learning_rate"] == 1e9]
    assert {m.status for m in sick} == {"diverged"}
    assert all(m.step < 60 and np.isfinite(m.metrics["train/loss"]) for m in sick)
    assert run.summary is not None
    assert run.summary["diverged"] == 2
    assert run.summary["finished"] == 4 - 2
    for member in sick:
        assert all(np.isfinite(leaf).all() for leaf in [run.params(member)["out"]["kernel"]])


def test_static_hparams_train_in_programs_of_their_own(tiny, tmp_path):
    run = jaxloop.run(tiny, out=tmp_path / "run", set=("axes.optimizer.values=['adam', 'lion']",))
    assert run.summary is not None
    assert run.summary["programs"] == 2
    assert run.summary["finished"] == 12
    assert run.params(11)["out"]["kernel"].shape == (16, 10)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_resumes_to_the_same_bits(tiny, tmp_path, jaxloop_command, number):
    options = [part for override in LONG for part in ("--set", override)]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert jaxloop_command("population", tiny, "--out", whole, *options).returncode == 0
    command = [
        str(Path(sys.executable).parent / "jaxloop"),
        "population",
        str(tiny),
        "--out",
        str(broken),
        *options,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        if len(list((broken / "checkpoints").glob("[0-9]*"))) >= 2:
            break
        time.sleep(0.1)
    os.kill(process.pid, number)
    code = process.wait(60)
    assert code == (-9 if number == signal.SIGKILL else 128 + number)
    steps = {m.step for m in jaxloop.load(broken).members}
    assert max(steps) < 4000  # it was interrupted, not finished
    resumed = jaxloop_command("resume", broken, "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["finished"] == 6
    one, other = jaxloop.load(whole), jaxloop.load(broken)
    for metric in one.store.metric_names():
        np.testing.assert_array_equal(one.curves(metric), other.curves(metric))
    np.testing.assert_array_equal(one.params(5)["out"]["kernel"], other.params(5)["out"]["kernel"])


def test_replay_alone_gives_the_recorded_bits(tiny, tmp_path, jaxloop_command):
    assert jaxloop_command("population", tiny, "--out", tmp_path / "run").returncode == 0
    done = jaxloop_command("replay", tmp_path / "run", "3", "--json")
    found = json.loads(done.stdout)
    assert found["points"] > 15
    assert found["largest_difference"] == 0.0


def test_commands_and_exit_codes(tiny, tmp_path, jaxloop_command):
    run = tmp_path / "run"
    done = jaxloop_command("population", tiny, "--out", run, "--json", "--seeds", 3)
    summary = json.loads(done.stdout)
    assert done.returncode == 0
    assert {
        *("run", "status", "members", "finished", "diverged", "programs", "capacity", "width", "devices"),
        *("compile_seconds", "seconds", "member_steps_per_second", "best"),
    } <= set(summary)
    assert (summary["members"], summary["programs"], summary["diverged"]) == (9, 1, 0)
    assert summary["devices"] == len(os.sched_getaffinity(0))
    assert summary["capacity"] % (summary["devices"] * summary["width"]) == 0  # padded with idle slots
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
    import filelock

    run = jaxloop.run(tiny, out=tmp_path / "run")
    from jaxloop import api, runner

    with filelock.FileLock(run.path / ".lock"), pytest.raises(LockedError, match="locked"):
        runner.train(run.path, run.sweep, api.task_of(run.sweep))


def test_clear_errors_in_python(tiny, tmp_path):
    with pytest.raises(NotFoundError):
        jaxloop.load(tmp_path / "nothing")
    with pytest.raises(SweepError, match="1168 training examples"):
        jaxloop.run(tiny, out=tmp_path / "run", set=("hparams.batch_size=5000",))
