"""Members stream through slots: each sits once, in order, with its own hparams."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jaxloop.core.bucket import alone, bucket_of, divided, undivided
from jaxloop.core.slots import IDLE, Slots
from jaxloop.sweep import sweep

SWEEP = """
[run]
task = "digits"
steps = 10
[axes]
learning_rate = {{ linear = [0.1, 0.9], num = {members} }}
"""


@given(members=st.integers(1, 20), capacity=st.integers(1, 8), rng=st.randoms())
def test_every_member_sits_once_beside_its_own_hparams(members, capacity, rng):
    swept = sweep.parse(SWEEP.format(members=members))
    (bucket,) = undivided(swept)
    slots, seen = Slots(bucket, swept.members, capacity, capacity, bucket.numbers), []
    for _ in range(200):
        fresh = slots.admit()
        assert not slots.waiting or len(slots.seated) == capacity
        seen += slots.members[fresh].tolist()
        for slot in slots.seated:
            rate = swept.members[slots.members[slot]]["learning_rate"]
            assert slots.columns["learning_rate"][slot] == np.float32(rate)
            assert slots.columns["steps"][slot] == 10
        idle = slots.members == IDLE
        slots.steps[slots.seated] += 1
        assert (slots.steps[fresh] == 1).all()
        assert not (fresh & idle).any()
        if not len(slots.seated):
            break
        slots.free(np.array([slot for slot in slots.seated if rng.random() < 0.5], int))
    assert seen == list(range(members))


@given(st.data())
def test_a_group_seats_members_of_one_size_class(data):
    widths = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=30))
    swept = sweep.parse(SWEEP.format(members=len(widths)))
    swept = replace(swept, members=[{**m, "width": w} for m, w in zip(swept.members, widths, strict=True)])
    numbers = {width: [n for n, own in enumerate(widths) if own == width] for width in sorted(set(widths))}
    bucket = divided(swept, bucket_of(swept, list(range(len(widths)))), list(numbers.values()))
    width, devices = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    capacity = width * devices * data.draw(st.integers(1, 3))
    slots, seen = Slots(bucket, swept.members, capacity, width, bucket.numbers, devices), []
    while True:
        seen += sorted(slots.members[slots.admit()].tolist())
        seated = slots.seated
        assert slots.columns["size class"][seated].tolist() == [bucket.class_of[n] for n in slots.members[seated]]
        groups = slots.columns["size class"].reshape(-1, width)
        assert (groups == groups[:, :1]).all()
        if not len(seated):
            break
        leave = data.draw(st.lists(st.sampled_from(seated.tolist()), min_size=1, unique=True))
        slots.free(np.array(leave))
    assert sorted(seen) == bucket.numbers
    for own in numbers.values():
        assert [number for number in seen if number in own] == own


def test_a_slot_that_nobody_took_yet_has_no_steps_to_take():
    swept = sweep.parse(SWEEP.format(members=2))
    slots = Slots(alone(swept, 1), swept.members, 3, 3, [1])
    slots.admit()
    assert slots.columns["steps"].tolist() == [10, 0, 0]


@given(st.data())
def test_members_of_sparse_groups_move_together(data):
    """No more groups are computed than the members need, and a slot that was freed has no steps left."""
    size, groups = data.draw(st.integers(2, 4)), data.draw(st.integers(2, 12))
    swept = sweep.parse(SWEEP.format(members=size * groups))
    (bucket,) = undivided(swept)
    slots = Slots(bucket, swept.members, size * groups, size, bucket.numbers)
    slots.admit()
    freed = np.array(sorted(data.draw(st.sets(st.integers(0, size * groups - 1), min_size=1))))
    slots.free(freed)
    assert (slots.columns["steps"][freed] == 0).all()
    left = sorted(slots.members[slots.seated].tolist())
    moving = slots.scattered()
    members = slots.members[moving].tolist()
    slots.free(moving)
    for number in members:
        slots.wait(number)
    slots.admit()
    assert sorted(slots.members[slots.seated].tolist()) == left
    used, needed = len({slot // size for slot in slots.seated.tolist()}), -(-len(left) // size)
    assert used == needed if len(moving) else used - needed < max(1, 0.25 * used)
