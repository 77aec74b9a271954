"""What a user reads of a broken sweep, word for word."""
# ruff: noqa: E501 (a message stands on one line, as it is printed)

import pytest
from conftest import TINY

from jaxloop.errors import SweepError
from jaxloop.sweep import sweep


@pytest.mark.parametrize(
    ("line", "by", "says"),
    [
        ("steps = 60", "stps = 60", ["sweep:4: run.stps: unknown key `stps`; did you mean `steps`?"]),
        ("steps = 60", "", ["sweep:2: run.steps: is missing"]),
        ("steps = 60", 'steps = "a"', ["sweep:4: run.steps: needs an integer, got 'a'"]),
        ("steps = 60", "steps = 0", ["sweep:4: run.steps: needs at least 1, got 0"]),
        ("steps = 60", "steps = 3000000000", ["sweep:4: run.steps: needs at most 2147483647, got 3000000000"]),
        (
            "[axes]",
            "population = 3\n[axes]",
            ["sweep:10: hparams.population: unknown hparam `population`; did you mean `positions`?"],
        ),
        ('task = "digits"', "task = 3", ["sweep:3: run.task: needs a string, got 3"]),
        (
            "[checkpoint]\nevery = 20",
            '[checkpoint]\nevery = true\nkeep = "some"',
            [
                'sweep:14: checkpoint.every: needs steps (an integer >= 1) or a time such as "60s", "5m", "1h", got True',
                'sweep:15: checkpoint.keep: needs "all", "none" or "best:K", got \'some\'',
            ],
        ),
        (
            "[hparams]",
            '[population]\nsampler = "gird"\n[hparams]',
            [
                "sweep:7: population.sampler: needs one of grid, zip, random, sobol, got 'gird'; did you mean `grid`?"
            ],
        ),
        (
            "[hparams]",
            "[population]\nwidth = 2\n[hparams]",
            ["sweep:7: population.width: is named `population.group_size` now"],
        ),
        (
            "[hparams]",
            "[population]\ndeterministic = 1\n[hparams]",
            ["sweep:7: population.deterministic: needs true or false, got 1"],
        ),
        (
            "[run]",
            "seeds = 3\nsteps = 3\n[run]",
            [
                "sweep:2: seeds: unknown key `seeds`; did you mean `cases`?",
                "sweep:3: steps: is not in a section; did you mean `run.steps`?",
            ],
        ),
        (
            "[run]",
            "learning_rate = 3\n[run]",
            ["sweep:2: learning_rate: is not in a section; did you mean `hparams.learning_rate`?"],
        ),
        (
            "{ log = [1e-3, 1e-1], num = 3 }",
            "3",
            [
                "sweep:11: axes.learning_rate: needs a table such as { values = [1, 2] } or { log = [1e-4, 1e-1], num = 4 }, got 3"
            ],
        ),
        ("log =", "lin =", ["sweep:11: axes.learning_rate.lin: unknown key `lin`; did you mean `linear`?"]),
        (
            "log = [1e-3, 1e-1], num = 3",
            "values = []",
            ["sweep:11: axes.learning_rate.values: needs at least one value, got []"],
        ),
        (
            "log = [1e-3, 1e-1], num = 3",
            "",
            ["sweep:11: axes.learning_rate: needs exactly one of values, log, linear, range, count, got none"],
        ),
        (
            "log = [1e-3, 1e-1], num = 3",
            "log = [1e-3], num = 3",
            ["sweep:11: axes.learning_rate.log: needs [low, high], got [0.001]"],
        ),
        ("num = 3", "num = 2.5", ["sweep:11: axes.learning_rate.num: needs an integer, got 2.5"]),
        (
            "num = 3",
            "values = [1.0]",
            [
                "sweep:11: axes.learning_rate: needs exactly one of values, log, linear, range, count, got ['values', 'log']"
            ],
        ),
        (
            "[1e-3, 1e-1]",
            "[1e-1, 1e-3]",
            ["sweep:11: axes.learning_rate: `log` needs low < high, got [0.1, 0.001]"],
        ),
        (
            "log = [1e-3, 1e-1], num = 3",
            "values = [1.0], num = 3",
            ["sweep:11: axes.learning_rate: `num` goes with `log` or `linear`"],
        ),
        *(
            (
                "log = [1e-3, 1e-1], num = 3",
                f"range = {value}",
                [
                    f"sweep:11: axes.learning_rate.range: needs integers, [start, stop] or [start, stop, step], got {value}; between real numbers: `linear = [low, high]` or `log = [low, high]`"
                ],
            )
            for value in ("[0.001, 0.1]", "[3]", "[1, 2, 3, 4]", "5", "'12'")
        ),
        (
            "log = [1e-3, 1e-1], num = 3",
            f"values = [{2**63}]",
            [f"sweep:11: axes.learning_rate.values: needs an integer of 64 bits, got {2**63}"],
        ),
        (
            "log = [1e-3, 1e-1], num = 3",
            "range = [3, 3]",
            ["sweep:11: axes.learning_rate: `range` [3, 3] is empty"],
        ),
        (
            "log = [1e-3, 1e-1], num = 3",
            "range = [0, 4, 0]",
            ["sweep:11: axes.learning_rate: `range` [0, 4, 0] needs a step other than 0"],
        ),
        (
            "width = 16",
            "width = [16]",
            ["sweep:7: hparams.width: needs one value (what varies belongs in [axes]), got [16]"],
        ),
        (
            "width = 16",
            "width = { values = [3] }",
            ["sweep:7: hparams.width: needs one value (what varies belongs in [axes]), got {'values': [3]}"],
        ),
        ("width = 16", 'width = "a"', ["sweep:7: hparams.width: needs an integer, got 'a'"]),
        (
            "width = 16",
            "width = 99999999999",
            ["sweep:7: hparams.width: needs at most 2147483647, what a device's number can hold, got 99999999999"],
        ),
        ("width = 16", "dropout = 1.5", ["sweep:7: hparams.dropout: needs a value from 0 to 0.999, got 1.5"]),
        ("width = 16", "residual = 3", ["sweep:7: hparams.residual: needs true or false, got 3"]),
        ("[axes]", "[cases]\na = 3\n[axes]", ["sweep:11: cases.a: needs a table, got 3"]),
        (
            "[axes]",
            "[cases.a]\nwidht = 3\n[axes]",
            ["sweep:11: cases.a.widht: unknown hparam `widht`; did you mean `width`?"],
        ),
        (
            "[axes]",
            "[loop]\nrounds = 2.5\n[axes]",
            [
                'sweep:11: loop.rounds: needs an integer from 0 to 1000, or "open" for as many as the budget allows, got 2.5',
                "sweep:14: axes.seed: a loop chooses seeds itself, and searches no replicates",
            ],
        ),
        (
            "[axes]",
            '[loop]\nproposer = "tpee"\n[axes]',
            [
                "sweep:11: loop.proposer: needs one of grid, random, sobol, evolution, tpe, command, got 'tpee'; did you mean `tpe`?",
                "sweep:14: axes.seed: a loop chooses seeds itself, and searches no replicates",
            ],
        ),
        (
            "[hparams]",
            '[evaluate]\nmetric = "validation/los"\nmode = "upp"\n[hparams]',
            [
                "sweep:8: evaluate.mode: needs one of auto, max, min, got 'upp'",
                "sweep:7: evaluate.metric: unknown metric `validation/los`; did you mean `validation/loss`?",
            ],
        ),
        (
            "[hparams]",
            "[hparms]\nx = 1\n[hparams]",
            ["sweep:6: hparms: unknown key `hparms`; did you mean `hparams`?"],
        ),
        (
            "[hparams]",
            "[data]\nlabels = 3\n[hparams]",
            ["sweep:7: data.labels: unknown option `labels`; did you mean `label_noise`?"],
        ),
        ("seed = { count = 2 }", "seed = { count = 0 }", ["sweep:12: axes.seed.count: needs at least 1, got 0"]),
        (
            "seed = { count = 2 }",
            'seed = { count = 2, kind = "padded" }',
            ["sweep:12: axes.seed.kind: needs traced or static, got 'padded'"],
        ),
    ],
)
def test_a_broken_sweep_is_told_in_these_words(line, by, says):
    assert line in TINY
    with pytest.raises(SweepError) as caught:
        sweep.parse(TINY.replace(line, by))
    assert str(caught.value).splitlines() == says


@pytest.mark.parametrize(
    ("assignments", "says"),
    [
        (("run.steps=0",), "--set run.steps=0: run.steps: needs at least 1, got 0"),
        (
            ("axes.width={}",),
            "--set axes.width={}: axes.width: needs exactly one of values, log, linear, range, count, got none",
        ),
        (
            ("population.capacity=x",),
            "--set population.capacity=x: population.capacity: needs \"auto\" or an integer >= 1, got 'x'",
        ),
    ],
)
def test_an_override_is_told_as_it_was_given(assignments, says):
    with pytest.raises(SweepError) as caught:
        sweep.parse(TINY, assignments)
    assert str(caught.value) == says


def test_a_misspelt_axis_is_told_before_a_task_s_own_hparams_are_known():
    own = TINY.replace('task = "digits"', 'task = "own.py:task"')
    with pytest.raises(
        SweepError, match=r"axes.learning_rat: needs exactly one .*; did you mean `learning_rate`\?"
    ):
        sweep.parse(own, ("axes.learning_rat.num=3",))
