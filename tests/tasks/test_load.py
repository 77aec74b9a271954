"""What a user's file gives: a task, with what lies beside it, or one clear error."""

import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import line

import jaxloop
from jaxloop import api
from jaxloop.errors import DamagedError, SweepError
from jaxloop.tasks import load

DEFAULT = line.changed(line.LINE, ("split))", 'split), hparams={"given": DEFAULT})'))


def read(folder, **parts):
    return api.read(line.written(folder, **parts))[1]


@pytest.mark.parametrize(
    ("written", "default"),
    [
        ("np.float32(0.5)", 0.5),
        ("np.float64(0.5)", 0.5),
        ("np.int64(3)", 3),
        ("np.uint8(3)", 3),
        ("np.bool_(True)", True),
        ("np.array(2)", 2),
        ("jnp.float32(0.5)", 0.5),
        ("np.str_('a')", "a"),
        ("True", True),
        ("jaxloop.size(8)", (8, 8)),
    ],
)
def test_a_default_of_numpy_is_the_python_value_that_it_is(tmp_path, written, default):
    given = read(tmp_path, task=DEFAULT.replace("DEFAULT", written)).hparams["given"]
    assert given == default
    assert not type(given).__module__.startswith(("numpy", "jax."))


BAD_DEFAULTS = ["[64, 64]", "(64, 64)", "None", '{"a": 1}', "{1}", "np.arange(2)", "print", "b'a'", "1j"]


@pytest.mark.parametrize("written", [*BAD_DEFAULTS, "float('inf')", "np.nan", "1e39"])
def test_any_other_default_is_refused_by_name_but_spoils_no_other_task(tmp_path, written):
    task = DEFAULT.replace("DEFAULT", written)
    with pytest.raises(SweepError, match=r"line.toml:3: run.task: .*hparam 'given' needs"):
        read(tmp_path, task=task)
    assert read(tmp_path, task=task + line.LINE[line.LINE.index("task =") :]).hparams == {}


@pytest.mark.parametrize(
    ("split", "says"),
    [
        ('{"x": [[1.0], [2.0, 3.0]], "y": [1, 2]}', r"data.train\['x'\]: needs an array of numbers.*list"),
        ('({"x": i} for i in iter(int, 1))', r"data.train: needs a dict of arrays.*generator"),
        ('[{"x": 1}]', r"data.train: needs a dict of arrays.*list"),
        ('{"x": iter([1, 2])}', r"data.train\['x'\].*list_iterator"),
        ('{"x": np.array(["a", "b"])}', r"data.train\['x'\].*array of <U1"),
        ('{"x": np.array([None, 1])}', r"data.train\['x'\].*array of object"),
        ('{"x": 3}', r"data.train\['x'\].*int"),
        ('{"x": np.float32(3)}', r"data.train\['x'\].*single value"),
        ('{"x": np.ones(3), "y": np.ones(4)}', r"one common, non-empty first axis"),
        ("{}", r"one common, non-empty first axis"),
        ("None", r"`loss` needs batches: give `data` a training split"),
    ],
)
def test_data_that_are_no_arrays_are_refused_by_split_and_key(tmp_path, split, says):
    task = line.changed(line.LINE, ("Data(split,", f"Data({split},"))
    with pytest.raises(SweepError, match=says):
        read(tmp_path, task=task)


def test_lists_and_what_numpy_takes_are_arrays(tmp_path):
    task = line.changed(line.LINE, ("Data(split,", 'Data({"x": [[0.5]] * 9, "y": jnp.arange(9.0)},'))
    data = read(tmp_path, task=task).data
    assert type(data.splits()["train"]["x"]) is type(data.splits()["train"]["y"]) is np.ndarray
    assert data.splits()["train"]["x"].shape == (9, 1)


GUARDED = """
try:
    import wandb, datasets.missing
except ImportError:
    pass
try:
    from . import parts
except ImportError:
    import parts
import plain.helpers
task = parts.task
"""


def in_modules(folder):
    """The task, in a package beside a file that imports it, with a module that it imports as it is called."""
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "__init__.py").write_text("from .model import task\n")
    (folder / "parts" / "model.py").write_text(
        line.changed(line.LINE, ("    return jnp.square", "    import late\n    return late.weight * jnp.square"))
    )
    (folder / "late.py").write_text("weight = 1.0\n")
    (folder / "unrelated.py").write_text("raise RuntimeError\n")
    for name in ("datasets", "wandb"):  # folders of data that are named as packages are
        (folder / name).mkdir()
    (folder / "plain").mkdir()
    (folder / "plain" / "helpers.py").write_text(
        "try:\n    from . import more\nexcept ImportError:\n    import more\n"
    )
    (folder / "plain" / "more.py").write_text("")
    return line.written(folder, task=GUARDED)


@pytest.mark.parametrize("changed", ["parts/model.py", "parts/__init__.py", "plain/more.py", "late.py"])
def test_modules_beside_a_task_are_importable_and_count_as_code(tmp_path, changed):
    file = in_modules(tmp_path)
    with jaxloop.run(file, out=tmp_path / "run") as run:
        first = run.curves("validation/loss")
    (tmp_path / "unrelated.py").write_text("1 / 0\n")
    jaxloop.resume(tmp_path / "run", overrides=("axes.seed.count=2",)).close()
    text = (tmp_path / changed).read_text()
    (tmp_path / changed).write_text(text.replace("weight = 1.0", "weight = 2.0") + "\n# changed\n")
    with pytest.raises(DamagedError, match=r"code: was .*\n(.*\n)*\+# changed"):
        jaxloop.resume(tmp_path / "run", overrides=("axes.seed.count=3",))
    if changed == "late.py":  # loaded anew in the same process
        again = jaxloop.run(file, out=tmp_path / "again").curves("train/loss")
        assert (again[:, 0] > 1.2 * jaxloop.load(tmp_path / "run").curves("train/loss")[::2, 0]).all()
    assert np.isfinite(first).all()


def test_projects_with_modules_of_one_name_have_their_own(tmp_path):
    for project, value in (("a", 0.25), ("b", 0.5)):
        folder = tmp_path / project
        folder.mkdir()
        (folder / "constants.py").write_text(f"given = {value}\n")
        task = "from constants import given\n" + DEFAULT.replace("DEFAULT", "given")
        assert read(folder, task=task).hparams == {"given": value}


def test_jaxloop_itself_beside_a_task_is_no_part_of_it(tmp_path):
    (tmp_path / "jaxloop").symlink_to(Path(jaxloop.__file__).parent)
    before = sys.modules["jaxloop.core.task"]
    task = read(tmp_path)
    assert isinstance(task, jaxloop.Task)
    assert sys.modules["jaxloop.core.task"] is before
    assert load.task_files("line.py:task", tmp_path) == [(tmp_path / "line.py").resolve()]
