"""Where a message says that a mistake is: the line of its key, or the `--set` that gave it."""

import pytest

from jaxloop.sweep.source_map import SourceMap

TEXT = """[run]
steps = 4
[axes]
width = { values = [1] }
"""


@pytest.fixture
def source_map():
    found = SourceMap("a.toml", TEXT)
    found.overridden(("run", "steps"), "run.steps=0")
    found.overridden(("axes", "depth", "num"), "axes.depth.num=0")
    found.overridden(("evaluate", "metric"), "evaluate.metric=x")
    return found


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ((), "a.toml: sweep: wrong"),
        (("verdict",), "a.toml: verdict: wrong"),  # nowhere in the file
        (("axes", "width", "values"), "a.toml:4: axes.width.values: wrong"),  # inside of an inline table
        (("axes", "height"), "a.toml:3: axes.height: wrong"),
        (("run", "steps"), "--set run.steps=0: run.steps: wrong"),
        (("run",), "a.toml:1: run: wrong"),  # a section of the file, of which one key is overridden
        (("run", "steps", "inner"), "--set run.steps=0: run.steps.inner: wrong"),
        (("axes", "depth"), "--set axes.depth.num=0: axes.depth: wrong"),  # of which `--set` gave a part
        (("evaluate",), "--set evaluate.metric=x: evaluate: wrong"),  # a section that `--set` began
    ],
)
def test_a_message_names_the_closest_place(source_map, path, says):
    assert source_map.say(path, "wrong") == says


def test_the_known_parts_of_a_path_are_those_that_are_written(source_map):
    assert source_map.longest_known(("axes", "width", "Axis", "values", "0")) == ("axes", "width", "values")
    assert source_map.longest_known(("axes", "depth", "num", "int")) == ("axes", "depth", "num")
