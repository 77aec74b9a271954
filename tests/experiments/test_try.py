"""One hypothesis at a time: tried beside the incumbent, on fresh seeds, from the alpha that is left."""

import json

import pytest
from helpers.loops import CASES, LOOP
from helpers.stopping import Stopped, crash_at

import jaxloop
from jaxloop.errors import SweepError
from jaxloop.experiments.headline import headline
from jaxloop.readers.verify import verify

BARE = LOOP.replace("rounds = 2", "rounds = 0")  # the noise floor alone: all alpha is for tries


@pytest.fixture
def run(tmp_path):
    (tmp_path / "loop.toml").write_text(BARE)
    jaxloop.loop(tmp_path / "loop.toml", out=tmp_path / "run").close()
    return tmp_path / "run"


def test_the_headline_of_a_loop_without_rounds(run):
    with jaxloop.load(run) as loaded:
        assert headline(loaded.store) == ["a loop without rounds: its noise floor is known"]
        (found,) = jaxloop.advice(loaded.path)
        assert found.says == "the loop has no rounds: `jaxloop try` tests a config"
    jaxloop.attempt(run, ("learning_rate=1e-2",), "the rate is far too low")
    with jaxloop.load(run) as loaded:
        now, over, before = headline(loaded.store)
    assert now.startswith("incumbent now learning_rate=0.01")
    assert "over the one before, on 3 fresh seeds" in over
    assert before.startswith("before it: a loop without rounds")


def test_tries_spend_from_one_alpha_and_a_success_succeeds(run):
    better = jaxloop.attempt(run, ("learning_rate=1e-2",), "the rate is far too low", expected=1.0)
    assert (better["verdict"], better["round"], better["expected"]) == ("success", 1, 1.0)
    assert (better["alpha"], better["alpha_left"]) == (0.025, 0.05)
    worse = jaxloop.attempt(run, ("learning_rate=1e-5",), "lower still")
    assert worse["verdict"] == "failure"
    assert worse["incumbent"]["learning_rate"] == 1e-2
    assert worse["alpha_left"] == pytest.approx(0.05 - 0.05 / 6)
    dead = jaxloop.attempt(run, ("end_factor=0.5",), "of no use to a constant rate", planned=4)
    assert dead["verdict"] == "tie (dead hparam)"
    assert dead["level"] == pytest.approx(0.4 * 0.05 / 4)
    for changed, says in (
        ("learning_rate=1e-5", "experiment 2 has tried that already: failure"),
        ("learning_rate=1e-2", "the incumbent itself"),
        ("seed=7", "chooses its seeds itself"),
    ):
        with pytest.raises(SweepError, match=says):
            jaxloop.attempt(run, (changed,), "again")
    with jaxloop.load(run) as loaded:
        seeds = [set(record["seeds"]) for record in loaded.ledger if record["kind"] == "experiment"]
        assert not seeds[0] & seeds[1]
        assert not seeds[1] & seeds[2]
    assert verify(run)["problems"] == []


@pytest.mark.slow
@pytest.mark.parametrize("turn", [1, 2])
def test_a_try_that_crashes_ends_when_the_run_is_resumed(run, turn, tmp_path):
    with pytest.raises(Stopped):
        jaxloop.attempt(run, ("width=9",), "wider", observe=crash_at(turn))
    with pytest.raises(SweepError, match="has not ended"):
        jaxloop.attempt(run, ("width=10",), "wider still")
    resumed = jaxloop.resume(run)
    again = tmp_path / "again"
    (tmp_path / "loop.toml").write_text(BARE)
    jaxloop.loop(tmp_path / "loop.toml", out=again).close()
    assert jaxloop.attempt(again, ("width=9",), "wider") == resumed.ledger[-1]


@pytest.mark.slow
def test_the_command_and_its_exit_codes(run, jaxloop_command):
    def code(*words, output=("--json",)):
        return jaxloop_command("try", run, *words, "--because", "a test", *output)

    done = code("--set", "learning_rate=1e-2", "--expect", "0.5")
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (0, "success")
    assert code("--set", "end_factor=0.5").returncode == 10
    worse = code("--set", "learning_rate=1e-5", output=())
    assert worse.returncode == 11
    assert worse.stdout.startswith("try 3: failure")
    assert "failure" not in worse.stderr  # a terminal shows both, and the verdict once
    unknown = code("--set", "learning_rat=1e-5")
    assert unknown.returncode == 2
    assert "learning_rate" in unknown.stderr
    assert code("--set", "width=-3").returncode == 2
    assert len([record for record in jaxloop.load(run).ledger if record["kind"] == "hypothesis"]) == 3


def test_what_cannot_be_tried_is_told(tmp_path, whole):
    with pytest.raises(SweepError, match="has no"):
        jaxloop.attempt(whole, ("learning_rate=1e-2",), "a plain run")


def test_steps_and_sections_are_no_hparams_to_try(run):
    for name in ("steps", "run.steps"):
        with pytest.raises(SweepError, match=f"--set {name}: a loop's number of steps is fixed; .*jaxloop fork"):
            jaxloop.attempt(run, (f"{name}=9",), "longer")
    with pytest.raises(
        SweepError, match=r"--set hparams\.width: needs the name of an hparam, without its section"
    ):
        jaxloop.attempt(run, ("hparams.width=9",), "wider")


@pytest.mark.slow
def test_a_crash_names_the_member_that_diverged_first(run):
    """A rate at which every seed diverges in its first steps; Adam's update would bound it, SGD's does not."""
    record = jaxloop.attempt(run, ("learning_rate=3e37",), "far too high")
    assert record["verdict"] == "crash"
    with jaxloop.load(run) as loaded:
        member = loaded.members[record["crashed"]["member"]]
        assert (member.status, member.step) == ("diverged", record["crashed"]["step"])
        assert member.hparams["seed"] in record["seeds"]


def test_a_try_stays_in_the_case_of_the_incumbent(tmp_path):
    """The first case is adamw; the second, sgd, has a momentum that the first has not."""
    (tmp_path / "loop.toml").write_text(CASES.replace("rounds = 2", "rounds = 0"))
    jaxloop.loop(tmp_path / "loop.toml", out=tmp_path / "run").close()
    tried = jaxloop.attempt(tmp_path / "run", ("learning_rate=7e-4", "width=9"), "a rate of the case's own axis")
    assert tried["changed"] == {"learning_rate": 7e-4, "width": 9}
    assert tried["config"]["optimizer"] == "adamw"
    with jaxloop.load(tmp_path / "run") as run:
        rates = [member.hparams["learning_rate"] for member in run.members]
    assert rates.count(7e-4) == tried["n"]
    for changed in ("momentum=0.3", 'optimizer="sgd"'):
        with pytest.raises(SweepError, match="the incumbent is of case `adamw`, which does not vary it"):
            jaxloop.attempt(tmp_path / "run", (changed,), "of another case")
    for changed, says in (("learning_rate=-1.0", "learning_rate"), ("learnin_rate=1e-3", "did you mean")):
        with pytest.raises(SweepError, match=says):
            jaxloop.attempt(tmp_path / "run", (changed,), "wrong")
