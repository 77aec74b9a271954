"""Members stop, pause and go on as a scheduler decides: to the bits of members that are left alone."""

import re

import jax
import numpy as np
import pytest
from conftest import TINY
from helpers.stopping import Stopped, crash_at
from pydantic import ValidationError
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import jaxloop
from jaxloop.readers.verify import verify
from jaxloop.storage.database import FORMAT, LATER_TABLES
from jaxloop.storage.ranking import ranked
from jaxloop.storage.records import Status
from jaxloop.storage.store import Store
from jaxloop.sweep import sweep
from jaxloop.sweep.schema import PopulationSection
from jaxloop.training import replay
from jaxloop.training.scheduler import Decisions, Join, Measured
from jaxloop.training.schedulers import SCHEDULERS

pytestmark = pytest.mark.optimized


def test_a_sweep_may_name_each_scheduler():
    with pytest.raises(ValidationError, match=f"needs one of {', '.join(SCHEDULERS)}, got 'none'"):
        PopulationSection(scheduler="none")


class PauseAt:
    """Pauses members once they have taken so many steps; they go on when nobody else has steps left."""

    def __init__(self, step, members):
        self.step, self.left = step, set(members)

    def decide(self, measured):
        going = measured.members[measured.is_active]
        now = set(going[measured.steps[measured.is_active] == self.step].tolist()) & self.left
        self.left -= now
        others = set(going.tolist()) - now
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
        for table in LATER_TABLES:
            store.connection.execute(f"drop table {table}")
        store.put(format=3)
    resumed = jaxloop.resume(folder, scheduler=PauseAt(40, [0]))
    assert resumed.store.format == FORMAT
    assert_same_members(resumed, jaxloop.load(whole), range(6))


def test_a_scheduler_sees_what_the_store_records(tmp_path):
    seen = []

    class Looks:
        def decide(self, measured: Measured):
            seen.append(measured)
            return Decisions()

    run = trained(tmp_path / "run", Looks())
    assert [measured.steps.tolist() for measured in seen] == [[20] * 6, [40] * 6, [60] * 6]
    assert [measured.is_active.all() for measured in seen] == [True, True, False]
    for measured in seen:
        for name, values in measured.metrics.items():
            for number, step, value in zip(
                measured.members.tolist(), measured.steps.tolist(), values, strict=True
            ):
                recorded = run.store.points(number).get((name, step), np.nan)
                np.testing.assert_equal(np.float32(recorded), value)


class JoinAt:
    """Has members join when all that are measured have taken so many steps, as often as they are not there yet."""

    def __init__(self, step, *joins):
        self.step, self.joins = step, joins

    def decide(self, measured):
        now = 0 in measured.members and (measured.steps == self.step).all() and len(measured.hparams) == 6
        return Decisions(join=self.joins if now else ())


RATE = {"learning_rate": 0.005}


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    """A run that three members join: a new one, a copy with another learning rate, and an exact copy."""
    joins = Join(2, RATE), Join(1, RATE, copy=True), Join(3, {}, copy=True)
    return trained(tmp_path_factory.mktemp("joined") / "run", JoinAt(40, *joins))


def test_a_member_that_joins_has_the_bits_of_one_that_was_there_from_the_start(joined, tmp_path, whole):
    assert joined.summary.finished == 9
    assert_same_members(joined, jaxloop.load(whole), range(6))
    alone = trained(tmp_path / "run", None, "axes.learning_rate.values=[0.005]")
    assert joined.members[6].hparams == alone.members[0].hparams
    assert joined.members[6].id == alone.members[0].id
    assert joined.store.points(6) == alone.store.points(0)
    assert [(m.joined, m.parent, m.parent_step) for m in joined.members[5:]] == [
        (None, None, 0),
        (2, None, 0),
        (2, 1, 40),
        (2, 3, 40),
    ]
    assert verify(joined.path)["problems"] == []


def test_a_copy_continues_its_parent_and_replays(joined):
    later = {at: value for at, value in joined.store.points(3).items() if at[1] > 40}
    assert joined.store.points(8) == later
    for mine, parents in zip(*(jax.tree.leaves(joined.params(n)) for n in (8, 3)), strict=True):
        np.testing.assert_array_equal(mine, parents)
    assert {step for _, step in joined.store.points(7)} == {60}
    assert joined.store.points(7) != {at: value for at, value in joined.store.points(1).items() if at[1] > 40}
    for number in (6, 7, 8):
        again = replay.train_alone(*joined.sweep_and_task, joined.store, number)
        assert (again["largest_difference"], again["missing"]) == (0.0, 0)
    events = EventAccumulator(str(joined.path / "members" / joined.members[7].folder))
    events.Reload()
    assert [event.step for event in events.Scalars("validation/loss")] == [60]
    assert "_hparams_/session_start_info" in events.summary_metadata


@pytest.mark.slow
@pytest.mark.parametrize("turn", [1, 2, 3, 4])
def test_a_crash_while_members_join_resumes_to_the_same_bits(turn, joined, tmp_path):
    folder = tmp_path / "run"
    joins = Join(2, RATE), Join(1, RATE, copy=True), Join(3, {}, copy=True)
    with pytest.raises(Stopped):
        jaxloop.run(sweep.parse(TINY), out=folder, observe=crash_at(turn), scheduler=JoinAt(40, *joins))
    resumed = jaxloop.resume(folder, scheduler=JoinAt(40, *joins))
    assert_same_members(resumed, joined, range(9))
    assert [member.id for member in resumed.members] == [member.id for member in joined.members]
    assert verify(folder)["problems"] == []
    grown = jaxloop.resume(folder, overrides=("axes.seed.count=3",))
    assert len(grown.members) == 12
    assert_same_members(grown, joined, range(9))


@pytest.mark.slow
def test_a_member_with_other_static_hparams_joins_in_a_program_of_its_own(tmp_path):
    run = trained(tmp_path / "run", JoinAt(20, Join(0, {"width": 24}), Join(0, {"width": 24, "seed": 7})))
    assert (run.summary.finished, run.summary.programs) == (8, 2)
    assert run.store.size_classes == [[[0, 1, 2, 3, 4, 5]], [[6, 7]]]
    assert verify(run.path)["problems"] == []


@pytest.mark.parametrize(
    ("join", "says"),
    [
        (Join(99), "were not shown to it: [99]"),
        (Join(0, {"widht": 3}), "no member has hparams ['widht']"),
        (Join(0, {"width": 24}, copy=True), "cannot change ['width']"),
        (Join(0, {"steps": 20}, copy=True), "after 20 steps needs more to take"),
        (Join(0), "is in the run already, as 0"),
    ],
)
def test_a_wrong_join_is_told(join, says, tmp_path):
    with pytest.raises(ValueError, match=re.escape(says)):
        trained(tmp_path / "run", JoinAt(20, join))
