"""Asynchronous halving and median stopping: the rules of their papers, applied to a whole grid's curves."""

import numpy as np
import pytest
from helpers import line
from helpers.grids import trained
from helpers.stopping import Stopped, crash_at

import jaxloop
from jaxloop.readers.verify import verify
from jaxloop.storage.records import Status
from jaxloop.training.schedulers.median import GRACE


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("grid") / "run")


def state(run):
    return [(member.status, member.step, member.metrics) for member in run.members]


def by_rate(run):
    """Numbers of the members of each learning rate."""
    found = {}
    for member in run.members:
        found.setdefault(member.hparams["learning_rate"], []).append(member.number)
    return found


@pytest.mark.slow
def test_with_room_for_all_asha_promotes_who_halving_would(tmp_path):
    runs = [trained(tmp_path / name, f"population.scheduler={name}") for name in ("asha", "halving")]
    assert state(runs[0]) == state(runs[1])


@pytest.mark.slow
def test_asha_promotes_the_best_third_of_those_that_have_arrived(grid, tmp_path):
    """Two configs fit at a time: those of the first third that arrive go on before the last have begun."""
    run = trained(tmp_path / "run", "population.scheduler=asha", "population.capacity=4")
    counts = run.store.counts()
    assert counts[Status.FINISHED] + counts[Status.STOPPED] == 18
    assert 2 <= counts[Status.FINISHED] < 18
    for member in run.members:
        assert member.step in (10, 30, 90)
        recorded = {at: value for at, value in grid.store.points(member.number).items() if at[1] <= member.step}
        ours = {at: value for at, value in run.store.points(member.number).items() if at in recorded}
        assert ours == recorded
    losses, steps = grid.curves("validation/loss"), grid.steps().tolist()
    at_first = {rate: losses[numbers, steps.index(10)].mean() for rate, numbers in by_rate(grid).items()}
    best = min(at_first, key=at_first.get)
    assert all(run.members[number].step >= 30 for number in by_rate(run)[best])
    assert verify(run.path)["problems"] == []


def stopped_by_the_median(grid):
    """The step at which each learning rate stops, from the grid's curves, if all train side by side."""
    curves, steps = grid.curves("validation/loss"), grid.steps()
    means = {rate: -curves[numbers].mean(0) for rate, numbers in by_rate(grid).items()}
    left, ended = set(means), {}
    for at, step in enumerate(steps[:-1]):
        if step < GRACE * 90:
            continue
        averages = {rate: means[rate][: at + 1].mean() for rate in left}
        for rate in sorted(left):
            others = [average for other, average in averages.items() if other != rate]
            if len(others) >= 4 and means[rate][: at + 1].max() < np.median(others):
                ended[rate] = int(step)
        left -= ended.keys()
    return ended


def test_a_config_stops_below_the_median_of_the_others(grid, tmp_path):
    run = trained(tmp_path / "run", "population.scheduler=median")
    expected = stopped_by_the_median(grid)
    assert 2 <= len(expected) < 9
    for rate, numbers in by_rate(run).items():
        for number in numbers:
            member = run.members[number]
            ended = (expected[rate], Status.STOPPED) if rate in expected else (90, Status.FINISHED)
            assert (member.step, member.status) == ended


RATES = "[1e-4, 1e-3, 0.1, 0.2, 0.3, 0.4]"


def ended_early(folder, done, seeds=1):
    """A run of six rates under the median rule, whose task ends members by a condition on their hparams."""
    task = line.changed(line.LINE, ("split, split))", f"split, split), done=lambda params, hparams: {done})"))
    sweep = line.changed(line.SWEEP, ("steps = 4", "steps = 20"), ("[0.1, 0.3]", RATES))
    sweep += f'seed = {{ count = {seeds} }}\n[population]\nscheduler = "median"\n'
    return jaxloop.run(line.written(folder, task=task, sweep=sweep), out=folder / "run")


def test_a_member_that_is_done_counts_with_its_last_value(tmp_path):
    """Of each config, the second seed ends after its first step; the first goes on to be judged."""
    run = ended_early(tmp_path, 'hparams["seed"] == 1', seeds=2)
    ended = {(member.hparams["learning_rate"], member.hparams["seed"]): member.status for member in run.members}
    assert {status for (_, seed), status in ended.items() if seed == 1} == {Status.FINISHED}
    assert (ended[1e-4, 0], ended[0.3, 0]) == (Status.STOPPED, Status.FINISHED)


def test_configs_that_are_done_count_in_the_median(tmp_path):
    """The four best end after their first step; the two worst are judged by what those had."""
    run = ended_early(tmp_path, 'hparams["learning_rate"] > 0.05')
    assert [member.status for member in run.members] == [*[Status.STOPPED] * 2, *[Status.FINISHED] * 4]


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["asha", "median"])
@pytest.mark.parametrize("turn", [2, 5, 9])
def test_a_crash_changes_no_decision(scheduler, turn, tmp_path):
    settings = (f"population.scheduler={scheduler}", "population.capacity=4")
    whole = trained(tmp_path / "whole", *settings)
    with pytest.raises(Stopped):
        trained(tmp_path / "run", *settings, observe=crash_at(turn))
    assert state(jaxloop.resume(tmp_path / "run")) == state(whole)


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["halving", "asha"])
def test_configs_compete_within_their_program(scheduler, tmp_path):
    run = trained(
        tmp_path / "run",
        f"population.scheduler={scheduler}",
        'axes.optimizer={values=["sgd", "adamw"]}',
        "axes.learning_rate.num=3",
    )
    finished = [member.hparams["optimizer"] for member in run.members if member.status == Status.FINISHED]
    assert sorted(finished) == ["adamw"] * 2 + ["sgd"] * 2
