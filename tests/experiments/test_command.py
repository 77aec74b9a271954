"""A program that proposes: its answers are checked, and what is wrong with them is recorded once and clearly."""

import json
import subprocess
import sys

import pytest
from conftest import ROOT
from helpers.loops import LOOP

import jaxloop
from jaxloop.experiments import space
from jaxloop.experiments.proposers import command
from jaxloop.readers.verify import verify
from jaxloop.sweep import sweep

SPACE = space.of(sweep.parse(LOOP))
INCUMBENT = {"learning_rate": 1e-4, "width": 8, "activation": "relu"}
GOOD = {"config": {"learning_rate": 0.01}, "hypothesis": "faster", "expected": 0.1}


def answer(tmp_path, code, timeout=20.0, count=4, verdicts=None):
    (tmp_path / "program.py").write_text(code)
    request = command.request(SPACE, INCUMBENT, "validation/loss", "min", [])
    words = f"{sys.executable} program.py"
    return command.ask(words, tmp_path, request, SPACE, verdicts or {}, count, timeout)


def printing(*proposals):
    return f"print({json.dumps({'proposals': proposals})!r})"


def test_a_proposal_completes_the_incumbent(tmp_path):
    found = answer(tmp_path, printing(GOOD))
    assert found.refused == []
    (proposal,) = found.proposals
    assert proposal.config == {**INCUMBENT, "learning_rate": 0.01}
    assert (proposal.proposer, proposal.hypothesis, proposal.expected) == ("command", "faster", 0.1)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("print('hello')", "did not answer with JSON"),
        ("print('[1]')", 'needs to answer {"proposals": [...]}'),
        ("import sys; sys.exit('no idea')", "ended with exit code 1: no idea"),
        ("import time; time.sleep(60)", "did not answer within 1 s"),
        (printing({"config": {"learning_rat": 1}}), "did you mean `learning_rate`"),
        (printing({"config": {"learning_rate": 7}}), "`learning_rate` needs a number from 1e-05 to 0.1, got 7"),
        (printing({"config": {"width": 4.5}}), "`width` needs an integer, got 4.5"),
        (printing({"config": {"activation": "gelu"}}), "needs one of ['relu', 'tanh'], got 'gelu'"),
        (printing({"config": {"learning_rate": "fast"}}), "needs a number"),
        (printing({**GOOD, "expected": "much"}), "`expected` needs a finite number"),
        (printing(3), 'needs {"config": {...}}, got 3'),
    ],
)
def test_a_wrong_answer_is_refused_in_one_sentence(code, says, tmp_path):
    found = answer(tmp_path, code, timeout=1.0 if "sleep" in code else 20.0)
    assert found.proposals == []
    (why,) = found.refused
    assert says in why


def test_known_configs_are_refused_with_their_verdict(tmp_path):
    verdicts = {space.key({**INCUMBENT, "learning_rate": 0.01}): "failure"}
    found = answer(tmp_path, printing(GOOD, {"config": {"width": 5}}, {"config": {"width": 5}}), verdicts=verdicts)
    assert [proposal.config["width"] for proposal in found.proposals] == [5]
    assert "was tried already (verdict: failure)" in found.refused[0]
    assert "proposed in the same answer" in found.refused[1]


def test_of_a_million_proposals_the_first_are_looked_at(tmp_path):
    code = "print('{\"proposals\": [' + ','.join(['{\"config\": {\"width\": 5}}'] * 10**6) + ']}')"
    found = answer(tmp_path, code)
    assert len(found.proposals) == 1
    assert found.refused[-1] == "1000000 proposals, and only the first 4 were looked at"


def test_a_program_is_told_neither_test_metrics_nor_seeds_of_confirmation():
    record = {"config": INCUMBENT, "screening_mean": 0.5, "verdict": "success", "seeds": [1], "test/loss": 1.0}
    told = command.request(SPACE, INCUMBENT, "validation/loss", "min", [record])
    assert told["recent"] == [{"config": INCUMBENT, "screening_mean": 0.5, "verdict": "success"}]
    assert told["space"]["activation"] == {"values": ["relu", "tanh"]}


def looped(folder, program, **settings):
    """A loop whose proposer is a program."""
    lines = {"proposer": "command", "command": f"{sys.executable} {program}", **settings}
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())
    (folder / "loop.toml").write_text(LOOP.replace("[loop]\n", f"[loop]\n{text}"))
    run = jaxloop.loop(folder / "loop.toml", out=folder / "run")
    proposers = {each["proposer"] for record in run.ledger for each in record.get("proposals", [])}
    return run, proposers, [record for record in run.ledger if record["kind"] == "refused"]


@pytest.mark.slow
def test_the_shipped_program_proposes_for_a_whole_loop(tmp_path):
    run, proposers, refused = looped(tmp_path, ROOT / "sweeps" / "tasks" / "propose.py")
    assert proposers == {"command"}
    assert run.ledger[-1]["kind"] == "audit"
    assert all("tried already" in why for record in refused for why in record["why"])
    hypotheses = [record["hypothesis"] for record in run.ledger if record["kind"] == "experiment"]
    assert all(hypothesis.endswith("is better than " + hypothesis.split()[-1]) for hypothesis in hypotheses)


def test_the_shipped_program_varies_axes_of_every_form():
    space = {
        "learning_rate": {"log": [1e-5, 1e-1]},
        "width": {"log": [4, 64]},
        "momentum": {"linear": [0.0, 0.95]},
        "warmup_steps": {"range": [0, 401, 100]},
        "activation": {"values": ["relu", "tanh"]},
    }
    incumbent = {"learning_rate": 1e-3, "width": 16, "momentum": 0.0, "warmup_steps": 0, "activation": "relu"}
    asked = json.dumps({"space": space, "incumbent": incumbent, "round": 1, "count": 10})
    program = [sys.executable, ROOT / "sweeps" / "tasks" / "propose.py"]
    answer = subprocess.run(program, input=asked, capture_output=True, text=True, check=True).stdout
    configs = [proposal["config"] for proposal in json.loads(answer)["proposals"]]
    assert [name for config in configs for name in config] == [*space, *space]
    for name, value in (item for config in configs for item in config.items()):
        assert value != incumbent[name]
        assert value in {"warmup_steps": range(0, 401, 100), "activation": ["tanh"]}.get(name, [value])


@pytest.mark.slow
def test_where_no_answer_can_be_used_a_loop_goes_on_at_random_or_ends(tmp_path):
    for fallback, proposers, count in (("random", {"random"}, 4), ("end", set(), 2)):
        folder = tmp_path / fallback
        folder.mkdir()
        run, found, refused = looped(folder, "nowhere.py", fallback=fallback, retries=1)
        assert found == proposers
        assert len(refused) == count
        assert run.ledger[-1]["kind"] == "audit"
        assert verify(run.path)["problems"] == []


@pytest.mark.slow
def test_proposers_share_a_round(tmp_path):
    text = LOOP.replace("[loop]\n", "[loop]\nproposer = { sobol = 3, evolution = 1 }\n")
    (tmp_path / "loop.toml").write_text(text)
    run = jaxloop.loop(tmp_path / "loop.toml", out=tmp_path / "run")
    for record in run.ledger:
        if record["kind"] == "proposals":
            names = [each["proposer"] for each in record["proposals"]]
            assert (names.count("sobol"), names.count("evolution")) == (6, 2)
