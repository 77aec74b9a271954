"""sweeps/grokking.toml shows the four phases of Liu et al. 2022 where they stand in their figure 6."""

import sys

import numpy as np
import pytest
from conftest import ROOT

import jaxloop

sys.path.insert(0, str(ROOT / "tools"))
from figures import PHASES, phase

POINTS = {  # (learning rate, weight decay) of the decoder
    "comprehension": [(1e-4, 0.8), (1e-4, 1.6)],
    "memorization": [(1e-2, 0.0), (1e-3, 0.8), (4e-3, 1.6)],
    "confusion": [(1e-4, 8.0), (1e-3, 8.0), (1e-2, 7.2)],
    "grokking": [(rate, decay) for rate in (1.5849e-4, 2.5119e-4) for decay in (2.4, 3.2, 4.0, 4.8)],
}


@pytest.mark.slow
@pytest.mark.optimized  # which trains for longer than it compiles
def test_each_phase_stands_where_the_paper_has_it(tmp_path):
    points = [point for phases in POINTS.values() for point in phases]
    rates, decays = ([point[axis] for point in points] for axis in (0, 1))
    overrides = (
        f"axes.learning_rate.values={rates}",
        f"axes.weight_decay.values={decays}",
        "population.sampler=zip",
    )
    run = jaxloop.run(ROOT / "sweeps" / "grokking.toml", out=tmp_path / "run", overrides=overrides)
    curves = zip(run.curves("train/accuracy"), run.curves("validation/accuracy"), strict=True)
    found = dict(zip(points, (PHASES[phase(run.steps(), *both)] for both in curves), strict=True))
    for name in ("comprehension", "memorization", "confusion"):
        assert {found[point] for point in POINTS[name]} == {name}
    # between comprehension and the others, a band in which the test accuracy comes late; where exactly is chance
    assert "grokking" in {found[point] for point in POINTS["grokking"]}


def test_a_phase_is_told_from_its_curves():
    steps = np.array([500, 1000, 2000])
    never, soon, late = np.array([0, 0, 0.5]), np.array([0.9, 1, 1]), np.array([0, 0.5, 0.95])
    told = [PHASES[phase(steps, *both)] for both in [(soon, soon), (soon, late), (soon, never), (never, never)]]
    assert told == ["comprehension", "grokking", "memorization", "confusion"]
