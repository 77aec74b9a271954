"""How many members share a program and a group, in numbers alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxloop.core import devices


@given(
    groups=st.integers(1, 50),
    width=st.sampled_from([2, 4, 8, 16, 1024]),
    count=st.integers(1, 8),
    share=st.floats(0.0, 0.999),
)
def test_a_shrunk_capacity_is_smaller_and_whole(groups, width, count, share):
    capacity = groups * width * count
    found = devices.shrunk(capacity, width, 2, count, share)
    if found is None:
        assert capacity == 2 * count
        return
    smaller, narrower = found
    assert smaller < capacity
    assert 2 <= narrower <= width
    assert smaller % (narrower * count) == 0
    assert smaller <= max(share * capacity, 2 * count)


def test_a_fixed_width_is_not_narrowed():
    assert devices.shrunk(8, 4, 4, 2, 0.5) is None
    assert devices.shrunk(16, 4, 4, 2, 0.5) == (8, 4)


def test_half_a_capacity_loses_whole_groups_first():
    assert devices.shrunk(64, 8, 2, 2, 0.5) == (32, 8)
    assert devices.shrunk(48, 8, 2, 2, 0.5) == (16, 8)  # 12 a device: one whole group
    assert devices.shrunk(16, 8, 2, 2, 0.5) == (8, 4)  # half a group: a narrower one
    assert devices.shrunk(16, 8, 2, 2, 0.3) == (4, 2)
    assert devices.shrunk(4, 2, 2, 2, 0.5) is None


@pytest.mark.parametrize(
    ("slots", "count", "on_cpu", "elsewhere"),
    [(1, 1, 2, 2), (2, 1, 2, 2), (3, 1, 4, 4), (33, 1, 32, 64), (64, 2, 32, 32), (65, 2, 32, 64), (5, 4, 2, 2)],
)
def test_the_largest_group_is_a_power_of_two_that_holds_a_devices_share(slots, count, on_cpu, elsewhere):
    assert devices.largest_group(slots, count, cpu=True) == on_cpu
    assert devices.largest_group(slots, count, cpu=False) == elsewhere


@pytest.mark.parametrize(
    ("working_set", "most", "size"),
    [
        (devices.CACHE_BYTES, 32, 2),
        (devices.CACHE_BYTES / 4, 32, 4),
        (devices.CACHE_BYTES / 5, 32, 4),
        (devices.CACHE_BYTES / 8, 4, 4),
        (10 * devices.CACHE_BYTES, 32, 2),
        (0.0, 32, 32),
    ],
)
def test_a_group_is_as_large_as_the_cache_holds(working_set, most, size):
    assert devices.choose_group_size(working_set, most) == size


def test_slots_are_few_on_cpu_and_one_a_member_elsewhere():
    assert devices.choose_slots(1000, None, cpu=True) == devices.CPU_CAPACITY
    assert devices.choose_slots(1000, None, cpu=False) == 1000
    assert devices.choose_slots(1000, 64, cpu=False) == 64
    assert devices.choose_slots(10, 64, cpu=True) == 10


def test_a_capacity_is_whole_groups_on_each_device():
    assert devices.capacity(10, 4, 2) == 16
    assert devices.capacity(16, 4, 2) == 16
    assert devices.capacity(17, 4, 2) == 24
