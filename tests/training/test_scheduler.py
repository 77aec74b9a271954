"""Members stop, pause and go on as a scheduler decides: to the bits of members that are left alone."""

import jax
import numpy as np
import pytest
from conftest import TINY
from stopping import Stopped, crash_at

import jaxloop
from jaxloop.readers.verify import verify
from jaxloop.storage.ranking import ranked
from jaxloop.storage.records import Status
from jaxloop.storage.store import Store
from jaxloop.sweep import sweep
from jaxloop.training import replay
from jaxloop.training.scheduler import Decisions, Measured


class PauseAt:
    """Pauses members once they have taken so many steps; they go on when nobody else has steps left."""

    def __init__(self, step, members):
        self.step, self.left = step, set(members)

    def decide(self, measured):
        now = set(measured.members[measured.steps == self.step].tolist()) & self.left
        self.left -= now
        others = set(measured.members.tolist()) - now
        return Decisions(pause=now, resume=() if others else measured.paused)


class StopAt:
    """Stops the members with the larger losses, half of those measured at a step."""

    def __init__(self, step):
        self.step = step

    def decide(self, measured):
        if not len(measured.members) or (measured.steps != self.step).any():
            return Decisions()
        worst = np.argsort(measured.metrics["validation/loss"])[len(measured.members) // 2 :]
        return Decisions(stop=set(measured.members[worst].tolist()))


def trained(folder, scheduler=None, *overrides):
    return jaxloop.run(sweep.parse(TINY, overrides), out=folder, scheduler=scheduler)


def assert_same_members(run, whole, numbers):
    for number in numbers:
        assert run.store.points(number) == whole.store.points(number)
        leaves = zip(*(jax.tree.leaves(each.params(number)) for each in (run, whole)), strict=True)
        for mine, wanted in leaves:
            np.testing.assert_array_equal(mine, wanted)


@pytest.mark.parametrize("capacity", [4, pytest.param(8, marks=pytest.mark.slow)])
def test_a_member_that_pauses_and_goes_on_has_the_bits_of_one_that_never_paused(capacity, tmp_path, whole):
    run = trained(tmp_path / "run", PauseAt(20, [0, 3, 5]), f"population.capacity={capacity}")
    assert run.summary.finished == 6
    assert_same_members(run, jaxloop.load(whole), range(6))
    paused = run.store.connection.execute("select member, paused from pauses order by member, turn").fetchall()
    assert paused == [(number, state) for number in (0, 3, 5) for state in (1, 0)]
    assert verify(run.path)["problems"] == []


def test_a_stopped_member_keeps_its_curve_and_parameters_and_is_not_ranked(tmp_path, whole):
    run, alone = trained(tmp_path / "run", StopAt(20)), jaxloop.load(whole)
    statuses = [member.status for member in run.members]
    assert (statuses.count(Status.STOPPED), statuses.count(Status.FINISHED)) == (3, 3)
    stopped = [member.number for member in run.members if member.status == Status.STOPPED]
    assert_same_members(run, alone, set(range(6)) - set(stopped))
    assert run.summary.stopped == 3
    assert run.summary.share_done == 1.0
    for number in stopped:
        assert {step for _, step in run.store.points(number)} == {20}
        assert run.store.points(number).items() <= alone.store.points(number).items()
        assert run.params(number)
    again = replay.train_alone(*run.sweep_and_task, run.store, stopped[0])
    assert (again["largest_difference"], again["missing"], again["steps"]) == (0.0, 0, 20)
    complete = {number for config in ranked(run.store) if config.complete for number in config.members}
    assert complete
    assert not complete & set(stopped)
    assert verify(run.path)["problems"] == []
    again = jaxloop.resume(run.path)  # nobody who was stopped goes on
    assert [member.status for member in again.members] == statuses


@pytest.mark.slow
def test_members_still_paused_when_nobody_is_left_are_stopped(tmp_path):
    class Never(PauseAt):
        def decide(self, measured):
            return Decisions(pause=super().decide(measured).pause)

    run = trained(tmp_path / "run", Never(40, [1, 2]))
    assert [m.number for m in run.members if m.status == Status.STOPPED] == [1, 2]
    assert [m.step for m in run.members] == [60, 40, 40, 60, 60, 60]
    assert run.params(1)
    assert run.summary.share_done == 1.0
    assert verify(run.path)["problems"] == []


@pytest.mark.slow
@pytest.mark.parametrize(("turn", "paused"), [(1, [0, 3]), (2, [0, 3]), (3, [])])
def test_a_crash_while_members_are_paused_resumes_to_the_same_bits(turn, paused, tmp_path, whole):
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        jaxloop.run(sweep.parse(TINY), out=folder, observe=crash_at(turn), scheduler=PauseAt(20, [0, 3]))
    with Store(folder) as store:
        store.rewind(store.checkpoint["turn"], store.checkpoint)
        assert [m.number for m in store.members() if m.status == Status.PAUSED] == paused
    assert verify(folder)["problems"] == []
    resumed = jaxloop.resume(folder)  # the default scheduler resumes paused members
    assert resumed.summary.finished == 6
    assert_same_members(resumed, jaxloop.load(whole), range(6))
    assert verify(folder)["problems"] == []


@pytest.mark.slow
def test_a_run_of_an_earlier_format_can_pause(tmp_path, whole):
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        jaxloop.run(sweep.parse(TINY), out=folder, observe=crash_at(1))
    with Store(folder) as store:
        store.connection.execute("drop table pauses")
        store.put(format=3)
    resumed = jaxloop.resume(folder, scheduler=PauseAt(40, [0]))
    assert resumed.store.format == 4
    assert_same_members(resumed, jaxloop.load(whole), range(6))


def test_a_scheduler_sees_what_the_store_records_of_members_with_steps_left(tmp_path):
    seen = []

    class Looks:
        def decide(self, measured: Measured):
            seen.append(measured)
            return Decisions()

    run = trained(tmp_path / "run", Looks())
    assert [measured.steps.tolist() for measured in seen] == [[20] * 6, [40] * 6, []]
    for measured in seen[:2]:
        for name, values in measured.metrics.items():
            for number, step, value in zip(
                measured.members.tolist(), measured.steps.tolist(), values, strict=True
            ):
                recorded = run.store.points(number).get((name, step), np.nan)
                np.testing.assert_equal(np.float32(recorded), value)
