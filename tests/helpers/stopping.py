"""Runs that end in the middle, as a crash would end them."""

import pytest
from conftest import TINY

import jaxloop
from jaxloop.sweep import sweep


class Stopped(Exception):
    """What ends a run in the middle, as a crash would."""


def crash_at(turn):
    told = []

    def observe(progress):
        told.append(progress)
        if len(told) == turn:
            raise Stopped

    return observe


def crashed(folder, *overrides, turn=2):
    with pytest.raises(Stopped):
        jaxloop.run(sweep.parse(TINY, overrides), out=folder, observe=crash_at(turn))
    return folder
