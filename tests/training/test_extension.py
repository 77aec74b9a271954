"""Finished members that train on: the bits of one run of more steps, or one clear refusal."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxloop
from jaxloop import api
from jaxloop.core import size_classes
from jaxloop.core.checks import check_sweep
from jaxloop.errors import DamagedError, SweepError
from jaxloop.readers.verify import verify
from jaxloop.storage import checkpoints, final_parameters, run_folder, tensorboard
from jaxloop.storage.records import Status
from jaxloop.sweep import sweep
from jaxloop.sweep.schema import LoopSection
from jaxloop.training import disk_estimate, replay

pytestmark = pytest.mark.optimized

SWEEP = """
[run]
task = "digits"
steps = {steps}
evaluate_every = 20
[hparams]
depth = 1
batch_size = 32
{more}
[axes]
optimizer = {{ values = ["adamw", "muon"] }}
learning_rate = {{ values = [1e-3, 1e-2] }}
width = {{ values = [8, 16] }}
seed = {{ count = 2 }}
[population]
capacity = 8
"""
LONGER = ("run.steps=80",)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Write the sweep, of so many steps and with more hparams; return its file."""
    folder = tmp_path_factory.mktemp("sweeps")

    def written(steps, more="", name="sweep"):
        file = folder / f"{name}{steps}.toml"
        file.write_text(SWEEP.format(steps=steps, more=more))
        return file

    return written


@pytest.fixture(scope="module")
def whole(swept, tmp_path_factory):
    """A run of 80 steps at once."""
    return jaxloop.run(swept(80), out=tmp_path_factory.mktemp("whole") / "run")


def assert_equal_runs(found, wanted):
    """All that is measured, kept and shown of each member."""
    assert [(m.id, m.config, m.hparams, m.status, m.step) for m in found.members] == [
        (m.id, m.config, m.hparams, m.status, m.step) for m in wanted.members
    ]
    for mine, other in zip(found.members, wanted.members, strict=True):
        assert found.store.points(mine.number) == wanted.store.points(mine.number)
        shown = [
            tensorboard.scalars(run_folder.member(run.path, m.folder))
            for run, m in ((found, mine), (wanted, other))
        ]
        assert shown[0] == shown[1]
        for a, b in zip(*(jax.tree.leaves(run.params(mine.number)) for run in (found, wanted)), strict=True):
            np.testing.assert_array_equal(a, b)
    for folder in filter(Path.is_dir, run_folder.summary(wanted.path).glob("*")):
        if folder.name != "counts":  # over turns, which depend on when members trained
            mine = run_folder.summary(found.path) / folder.name
            assert tensorboard.scalars(mine) == tensorboard.scalars(folder)
    assert verify(found.path)["problems"] == []


@pytest.mark.slow
def test_finished_members_train_on_to_the_bits_of_one_longer_run(swept, whole, tmp_path):
    path = jaxloop.run(swept(40), out=tmp_path / "run").path
    run = jaxloop.resume(path, overrides=LONGER)
    assert any("those that had finished continue" in note for note in run.notes)
    assert_equal_runs(run, whole)
    assert replay.train_alone(*run.sweep_and_task, run.store, 3)["largest_difference"] == 0
    held = [folder.name for folder in run_folder.finals(path).glob("*")]
    assert {m.final_folder for m in run.members} == {f"finished/{name}" for name in held}
    states = run_folder.by_turn(run_folder.states(path))  # those of step 40 are gone
    assert set(states.values()) == run.store.turns_of_ends(Status.FINISHED)
    for member in run.members:
        own = final_parameters.own_folder(path, member, "params")
        if own.exists():
            like = run.params(member.number)
            jax.tree.map(np.testing.assert_array_equal, checkpoints.restore_one(own, like), like)
    again = jaxloop.resume(path, overrides=("run.steps=100",))  # and once more
    assert {member.step for member in again.members} == {100}
    assert verify(path)["problems"] == []


@pytest.mark.slow
def test_killed_while_they_train_on_members_have_the_same_bits(swept, whole, tmp_path):
    path = jaxloop.run(swept(40), out=tmp_path / "run").path
    command = [sys.executable, "-m", "jaxloop", "resume", str(path)]
    more = ["--set", "run.steps=80", "--set", "checkpoint.every=20"]
    ended = []
    for least in (1, 3):  # turns after which the process is killed: among the first program's, and the second's
        process = subprocess.Popen([*command, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = jaxloop.load(path).store.checkpoint["turn"]
        while process.poll() is None and jaxloop.load(path).store.checkpoint["turn"] < before + least:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        ended.append(process.wait())
        more = []
        assert verify(path)["problems"] == []
    assert -signal.SIGKILL in ended  # the other may have been faster
    run = jaxloop.resume(path)
    assert_equal_runs(run, whole)


class Enough(Exception):
    """What ends a run that is observed, at a turn."""


def after_one_turn(progress):
    raise Enough


@pytest.mark.slow
def test_interrupted_in_the_first_program_all_train_on_at_the_next_start(swept, whole, tmp_path):
    path = jaxloop.run(swept(40), out=tmp_path / "run").path
    with pytest.raises(Enough):
        jaxloop.resume(path, overrides=(*LONGER, "checkpoint.every=20"), observe=after_one_turn)
    assert jaxloop.load(path).store.checkpoint["parts"]
    assert_equal_runs(jaxloop.resume(path), whole)


FEW = ('axes.optimizer.values=["adamw"]', "axes.width.values=[8]", "axes.learning_rate.values=[1e-3]")


def test_what_a_user_keeps_in_a_runs_folder_stays(swept, tmp_path):
    path = jaxloop.run(swept(20, name="kept"), out=tmp_path / "run", overrides=FEW).path
    kept = [run_folder.finals(path) / "mine" / "notes.txt", run_folder.states(path) / "mine" / "notes.txt"]
    kept += [run_folder.finals(path) / ".DS_Store", run_folder.states(path) / ".DS_Store"]
    kept += [run_folder.members(path) / "1 note.txt"]
    for file in kept:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    jaxloop.resume(path)
    jaxloop.resume(path, overrides=LONGER)
    assert {file.read_text() for file in kept} == {"mine"}
    assert verify(path)["problems"] == []
    jaxloop.resume(path, overrides=("checkpoint.keep=none",))
    assert {file.read_text() for file in kept} == {"mine"}
    assert not run_folder.by_turn(run_folder.states(path))


def test_members_whose_states_are_lost_while_they_wait_are_named(swept, tmp_path):
    path = jaxloop.run(swept(20, name="lost"), out=tmp_path / "run", overrides=FEW).path
    with pytest.raises(Enough):
        jaxloop.resume(path, overrides=LONGER, observe=after_one_turn)
    assert verify(path)["problems"] == []
    states = run_folder.states(path)
    states.rename(tmp_path / "elsewhere")
    assert any("curves say" in problem for problem in verify(path)["problems"])
    with pytest.raises(DamagedError, match="store says that member 0 has taken 20 steps; neither the checkpoint"):
        jaxloop.resume(path)
    (tmp_path / "elsewhere").rename(states)
    assert {member.step for member in jaxloop.resume(path).members} == {80}


def test_more_steps_of_members_that_have_begun_need_more_of_the_disk(swept, tmp_path):
    checked = sweep.parse(swept(20, name="disk").read_text(), ("population.capacity=4",))
    task = api.task_of(checked)
    buckets, found = size_classes.buckets(checked, task), check_sweep(checked, task)
    needed = disk_estimate.needed(checked, task, buckets, found)
    assert disk_estimate.needed(checked, task, buckets, found, begun=True) > needed
    without = replace(checked, document=checked.document.model_copy(update={"loop": LoopSection()}))
    assert disk_estimate.needed(without, task, buckets, found) < needed  # no states are kept


@pytest.mark.slow
def test_a_run_gets_more_seeds_and_more_steps_at_once(swept, whole, tmp_path):
    path = jaxloop.run(swept(40), out=tmp_path / "run", overrides=("axes.seed.count=1",)).path
    run = jaxloop.resume(path, overrides=(*LONGER, "axes.seed.count=2"))
    found, wanted = (
        {json.dumps(m.hparams, sort_keys=True): each.store.points(m.number) for m in each.members}
        for each in (run, whole)
    )
    assert found == wanted
    assert verify(path)["problems"] == []


def test_an_unfinished_run_refuses_more_steps(swept, tmp_path):
    path = tmp_path / "run"

    few = ('axes.optimizer.values=["adamw"]', "axes.width.values=[8]")
    with pytest.raises(Enough):
        jaxloop.run(swept(40, name="unended"), out=path, overrides=few, observe=after_one_turn)
    with pytest.raises(SweepError, match="4 of its 4 members have not ended"):
        jaxloop.resume(path, overrides=LONGER)
    assert {member.step for member in jaxloop.resume(path).members} == {40}
    assert {member.step for member in jaxloop.resume(path, overrides=LONGER).members} == {80}


def test_a_damaged_state_is_refused_and_named(swept, tmp_path):
    few = ('axes.optimizer.values=["adamw"]', "axes.width.values=[8]")
    path = jaxloop.run(swept(20, name="damaged"), out=tmp_path / "run", overrides=few).path
    (folder,) = run_folder.states(path).glob("*")
    file = max((file for file in folder.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(SweepError, match=r"final training state of member 0 is missing: .*states"):
        jaxloop.resume(path, overrides=LONGER)
    assert any("states" in problem for problem in verify(path)["problems"])
    assert {member.status for member in jaxloop.load(path).members} == {"finished"}


def test_each_member_gets_the_fewest_of_more_steps(swept, tmp_path):
    few = ('axes.optimizer.values=["adamw"]', "axes.width.values=[8]", "axes.learning_rate.values=[1e-3]")
    file = tmp_path / "steps.toml"
    file.write_text(swept(20).read_text() + "\n[axes.steps]\nvalues = [20, 40]\n")
    path = jaxloop.run(file, out=tmp_path / "run", overrides=few).path
    was = {member.number: member.step for member in jaxloop.load(path).members}
    run = jaxloop.resume(path, overrides=("axes.steps.values=[60, 80]",))
    assert {was[member.number]: member.step for member in run.members} == {20: 60, 40: 80}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "overrides", "reason"),
    [
        ('schedule = "cosine"', (), "member 0 has schedule = 'cosine'"),
        ("", ("checkpoint.keep=best:1",), "checkpoint.keep = 'best:1' does not keep"),
        ("", ("run.evaluate_every=15",), "member 0 was evaluated at its last step, 20, no multiple of"),
    ],
)
def test_members_that_cannot_train_on_are_refused_with_the_reason(more, overrides, reason, swept, tmp_path):
    few = ('axes.optimizer.values=["adamw"]', "axes.width.values=[8]", *overrides)
    path = jaxloop.run(swept(20, more, "refused"), out=tmp_path / "run", overrides=few).path
    before = jaxloop.load(path).store.content()
    with pytest.raises(SweepError, match="cannot be extended: ") as refused:
        jaxloop.resume(path, overrides=LONGER)
    assert reason in str(refused.value)
    assert "jaxloop fork" in str(refused.value)
    assert jaxloop.load(path).store.content() == before


@pytest.mark.slow
def test_a_task_that_reads_its_steps_keeps_no_states(tmp_path):
    (tmp_path / "own.py").write_text(
        "import dataclasses\nfrom jaxloop.tasks import digits\nplain = digits()\n"
        "def loss(params, batch, key, hparams):\n"
        "    value, found = plain.loss(params, batch, key, hparams)\n"
        "    return value / hparams['steps'], found\n"
        "task = dataclasses.replace(plain, loss=loss)\n"
    )
    file = tmp_path / "sweep.toml"
    file.write_text(
        '[run]\ntask = "own.py:task"\nsteps = 20\nevaluate_every = 20\n'
        "[axes]\nlearning_rate = { values = [0.1] }\n"
    )
    path = jaxloop.run(file, out=tmp_path / "run").path
    assert not run_folder.states(path).exists()
    with pytest.raises(SweepError, match="its task reads `steps`"):
        jaxloop.resume(path, overrides=LONGER)


def test_fewer_steps_are_refused_as_ever(swept, tmp_path):
    few = ('axes.optimizer.values=["adamw"]', "axes.width.values=[8]")
    path = jaxloop.run(swept(40, name="fewer"), out=tmp_path / "run", overrides=few).path
    with pytest.raises(SweepError, match="a run only grows"):
        jaxloop.resume(path, overrides=("run.steps=20",))
