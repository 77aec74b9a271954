"""Every sweep that ships runs."""

import re

import pytest
from conftest import ROOT
from helpers.kinds import KINDS

import jaxloop
from jaxloop import api

SWEEPS = sorted((ROOT / "sweeps").glob("*.toml"))
FEW = ("loop.rounds=1", "loop.configs=4", "loop.floor_seeds=4", "loop.audit_seeds=2", "loop.promote=1")


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_header_says_how_long_it_takes_and_what_to_expect(path):
    header = path.read_text().split("[run]")[0]
    assert re.search(r"Takes .*(second|minute)", header), "how long, on which hardware"
    assert re.search(r"Expect", header), "what result to expect"


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in SWEEPS if path.stem not in KINDS], ids=lambda path: path.stem)
def test_every_sweep_that_ships_runs(path, tmp_path):
    """A few steps, with one seed."""
    short = ("run.steps=4", "checkpoint.keep=none")
    swept, _ = api.read(path)
    if swept.document.loop:
        looks = ("verdict.looks=[2]", "verdict.shares=[1.0]")
        every_step = "run.evaluate_every=1"  # rungs stand where chunks end
        run = jaxloop.loop(path, out=tmp_path / "run", overrides=(*short, every_step, *FEW, *looks))
        assert run.ledger[-1]["kind"] == "audit"
        return
    seeds = ("axes.seed.count=1",) if "seed" in swept.document.axes else ()
    axes = swept.document.axes
    thin = [f"axes.{name}.num=2" for name, axis in axes.items() if axis.num]
    run = jaxloop.run(path, out=tmp_path / "run", overrides=(*short, "run.evaluate_every=2", *seeds, *thin))
    assert {member.status for member in run.members} == {"finished"}
