"""What a user reads of a broken loop, word for word."""
# ruff: noqa: E501 (a message stands on one line, as it is printed)

import pytest
from helpers.loops import CASES, LOOP

from jaxloop.errors import SweepError
from jaxloop.sweep import loop_rules, sweep


@pytest.mark.parametrize(
    ("line", "by", "says"),
    [
        (
            "[axes]\n",
            "[axes]\nseed = { count = 3 }\n",
            ["sweep:13: axes.seed: a loop chooses seeds itself, and searches no replicates"],
        ),
        (
            "[axes]\n",
            "[axes]\nfold = { values = [0] }\n",
            [
                "sweep:13: axes.fold: a loop chooses seeds itself, and searches no replicates",
            ],
        ),
        (
            "width = 8\n",
            "widht = 8\n",
            [
                "sweep:11: baseline.widht: unknown hparam `widht`; did you mean `width`?",
                "sweep:11: baseline.widht: unknown axis `widht`; did you mean `width`?",
            ],
        ),
        ("promote = 2", "promote = 9", ["sweep:21: loop.promote: needs at most the 8 configs of a round, got 9"]),
        (
            "shares = [0.4, 0.6]",
            "shares = [0.4, 0.5]",
            ["sweep:24: verdict: `shares` needs one share above 0 for each look, 1 in all, got [0.4, 0.5]"],
        ),
        (
            "shares = [0.4, 0.6]",
            "shares = [0.4]",
            ["sweep:24: verdict: `shares` needs one share above 0 for each look, 1 in all, got [0.4]"],
        ),
        (
            "shares = [0.4, 0.6]",
            "shares = [-0.4, 1.4]",
            ["sweep:24: verdict: `shares` needs one share above 0 for each look, 1 in all, got [-0.4, 1.4]"],
        ),
        (
            "looks = [3, 6]",
            "looks = [6, 3]",
            ["sweep:24: verdict: `looks` needs ascending numbers of seeds from 2 on, got [6, 3]"],
        ),
        (
            "looks = [3, 6]",
            "looks = [1, 3]",
            ["sweep:24: verdict: `looks` needs ascending numbers of seeds from 2 on, got [1, 3]"],
        ),
        (
            "looks = [3, 6]",
            "looks = [3, 20000]",
            ["sweep:24: verdict: `looks` needs at most 10000 seeds, got 20000"],
        ),
        (
            "rounds = 2",
            'proposer = "tpee"',
            [
                "sweep:19: loop.proposer: needs one of grid, random, sobol, evolution, tpe, command, got 'tpee'; did you mean `tpe`?"
            ],
        ),
        (
            "rounds = 2",
            "proposer = {}",
            ["sweep:19: loop.proposer: needs a share above 0 for each proposer, got {}"],
        ),
        (
            "rounds = 2",
            "proposer = { random = 0 }",
            ["sweep:19: loop.proposer: needs a share above 0 for each proposer, got {'random': 0}"],
        ),
        (
            "rounds = 2",
            'proposer = "command"',
            ['sweep:18: loop.command: is missing: proposer = "command" needs it'],
        ),
        (
            "rounds = 2",
            'command = "ls"',
            ['sweep:19: loop.command: goes with proposer = "command" alone'],
        ),
        (
            "rounds = 2",
            'rounds = "open"',
            ['sweep:19: loop.rounds: "open" needs a `budget`, such as { seconds = 3600 }'],
        ),
        (
            "rounds = 2",
            'rounds = "endless"',
            [
                "sweep:19: loop.rounds: needs an integer from 0 to 1000, or \"open\" for as many as the budget allows, got 'endless'"
            ],
        ),
        (
            "rounds = 2",
            "rungs = [0.5, 0.5]",
            ["sweep:19: loop.rungs: needs ascending shares of a training's steps, got [0.5, 0.5]"],
        ),
        ("rounds = 2", "screen_seeds = []", ["sweep:19: loop.screen_seeds: needs at least one value, got []"]),
        (
            "rounds = 2",
            "rounds = 1001",
            [
                'sweep:19: loop.rounds: needs an integer from 0 to 1000, or "open" for as many as the budget allows, got 1001'
            ],
        ),
        (
            "rounds = 2",
            "rounds = 3.0",
            [
                'sweep:19: loop.rounds: needs an integer from 0 to 1000, or "open" for as many as the budget allows, got 3.0'
            ],
        ),
        (
            "rounds = 2",
            "rounds = -1",
            [
                'sweep:19: loop.rounds: needs an integer from 0 to 1000, or "open" for as many as the budget allows, got -1'
            ],
        ),
        (
            "rounds = 2",
            'proposer = "grid"',
            [
                "sweep:13: axes.learning_rate: needs `num`, how many points, with the proposer grid",
                "sweep:14: axes.width: needs `num`, how many points, with the proposer grid",
            ],
        ),
        (
            "rounds = 2",
            "budget = { second = 3 }",
            ["sweep:19: loop.budget.second: unknown key `second`; did you mean `seconds`?"],
        ),
        ("rounds = 2", "budget = { seconds = 0 }", ["sweep:19: loop.budget.seconds: needs more than 0.0, got 0"]),
        (
            "[axes]\n",
            "[axes]\nclip = { log = [0.1, 10.0] }\n",
            ["sweep:13: axes.clip: has no default: [baseline] needs a value of it, to begin with"],
        ),
        (
            "[evaluate]",
            '[population]\nscheduler = "pbt"\n[evaluate]',
            [
                'sweep:17: population.scheduler: needs to be "budget": a loop halves by itself, over seeds and at `loop.rungs`'
            ],
        ),
        (
            "[loop]\n",
            '[loop]\nfallback = "stop"\n',
            ["sweep:19: loop.fallback: needs one of random, end, got 'stop'"],
        ),
        (
            "[loop]\nrounds = 2\nconfigs = 8\npromote = 2\nfloor_seeds = 4\naudit_seeds = 4\n",
            "",
            [
                "sweep:13: axes.learning_rate: needs `num`, how many points, with grid",
                "sweep:14: axes.width: needs `num`, how many points, with grid",
                "sweep:18: verdict: goes with a [loop]",
                "sweep:9: baseline: goes with a [loop]",
            ],
        ),
        (
            '[axes]\nlearning_rate = { log = [1e-5, 1e-1] }\nwidth = { log = [4, 16] }\nactivation = { values = ["relu", "tanh"] }\n',
            "",
            [
                "sweep:14: loop: needs [axes], the space that it searches",
            ],
        ),
    ],
)
def test_a_broken_loop_is_told_in_these_words(line, by, says):
    assert line in LOOP
    with pytest.raises(SweepError) as caught:
        sweep.parse(LOOP.replace(line, by, 1))
    assert str(caught.value).splitlines() == says


def test_tpe_needs_optuna(monkeypatch):
    text = LOOP.replace("rounds = 2", "proposer = { tpe = 1, random = 1 }")
    monkeypatch.setattr(loop_rules, "find_spec", lambda name: None if name == "optuna" else object())
    with pytest.raises(SweepError) as caught:
        sweep.parse(text)
    assert str(caught.value) == 'sweep:19: loop.proposer: tpe needs Optuna: pip install "jaxloop[tpe]"'
    monkeypatch.setattr(loop_rules, "find_spec", lambda name: object())
    assert sweep.parse(text).document.loop.shares() == {"tpe": 0.5, "random": 0.5}


@pytest.mark.parametrize("rounds", [0, 1, 1000])
def test_a_loop_may_have_no_round_and_up_to_a_thousand(rounds):
    assert sweep.parse(LOOP.replace("rounds = 2", f"rounds = {rounds}")).document.loop.rounds == rounds


def test_shares_of_several_proposers_sum_to_one():
    found = sweep.parse(LOOP.replace("rounds = 2", "proposer = { random = 3, sobol = 1 }")).document.loop
    assert found.shares() == {"random": 0.75, "sobol": 0.25}
    assert sweep.parse(LOOP).document.loop.shares() == {"random": 1.0}


NO_CHUNK_ENDS = "where no chunk ends: `run.evaluate_every` needs to divide it, got 20; `rungs = []` stops nobody"


@pytest.mark.parametrize(
    ("rungs", "says"),
    [
        ("[0.5]", []),
        ("[0.25, 0.5]", [f"0.25 of 40 steps is step 10, {NO_CHUNK_ENDS}"]),
        ("[0.75]", [f"0.75 of 40 steps is step 30, {NO_CHUNK_ENDS}"]),  # between two chunks
        ("[1e-9]", [f"1e-09 of 40 steps is step 4e-08, {NO_CHUNK_ENDS}"]),
    ],
)
def test_a_rung_is_where_a_chunk_ends(rungs, says):
    setting = f"loop.rungs={rungs}"
    if not says:
        assert sweep.parse(LOOP, (setting,)).document.loop.rungs == [0.5]
        return
    with pytest.raises(SweepError) as raised:
        sweep.parse(LOOP, (setting,))
    assert str(raised.value).splitlines() == [f"--set {setting}: loop.rungs: {each}" for each in says]


ADAMW, SGD = (
    '[cases.adamw]\noptimizer = "adamw"\nlearning_rate = { log = [1e-5, 1e-3] }\nclip = 1.0\n',
    '[cases.sgd]\noptimizer = "sgd"\n',
)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            (SGD, '[cases.sgd]\noptimizer = "adamw"\n'),
            ["sweep:16: cases.sgd: needs an hparam that it fixes otherwise than `adamw` does, such as optimizer",
             "sweep:19: cases.sgd.momentum: no optimizer of this sweep takes `momentum` (used: adamw)"],
        ),
        (
            ("[axes]\n", "[baseline]\nlearning_rat = 1e-4\n[axes]\n"),  # of the first case, which has that axis
            ["sweep:10: baseline.learning_rat: unknown hparam `learning_rat`; did you mean `learning_rate`?",
             "sweep:10: baseline.learning_rat: unknown axis `learning_rat`; did you mean `learning_rate`?"],
        ),
        (
            ("[axes]\n", '[baseline]\noptimizer = "lion"\n[axes]\n'),  # of neither case
            ["sweep:10: baseline.optimizer: unknown axis `optimizer`; known: activation, learning_rate, width"],
        ),
        (
            ("clip = 1.0\n", "clip = { log = [0.1, 10.0] }\n"),
            ["sweep:15: cases.adamw.clip: has no default: [baseline] needs a value of it, to begin with"],
        ),
        (
            ("[axes]\n", "[axes]\nclip = { log = [0.1, 10.0] }\n"),
            ["sweep:10: axes.clip: has no default: [baseline] needs a value of it, to begin with"],
        ),
    ],
)  # fmt: skip
def test_a_broken_case_is_told(change, says):
    old, new = change
    assert old in CASES
    text = CASES.replace(old, new)
    if "axes.clip" in says[0]:
        text = text.replace("clip = 1.0\n", "")
    with pytest.raises(SweepError) as raised:
        sweep.parse(text)
    assert str(raised.value).splitlines() == says


@pytest.mark.parametrize(
    ("baseline", "case"),
    [
        ("", "adamw"),
        ("width = 8\n", "adamw"),
        ("learning_rate = 1e-4\n", "adamw"),
        ("momentum = 0.5\n", "sgd"),
        ('optimizer = "sgd"\n', "sgd"),
        ('optimizer = "sgd"\nlearning_rate = 0.1\nmomentum = 0.5\nwidth = 8\n', "sgd"),  # all that it has
    ],
)
def test_a_loop_begins_in_the_first_case_that_has_what_the_baseline_names(baseline, case):
    swept = sweep.parse(CASES.replace("[axes]\n", f"[baseline]\n{baseline}[axes]\n"))
    assert swept.document.case_of_baseline() == case
    assert swept.members[0]["optimizer"] == case


def test_without_cases_a_loop_begins_in_none():
    assert sweep.parse(LOOP).document.case_of_baseline() == ""
