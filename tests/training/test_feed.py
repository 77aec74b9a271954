"""Training examples that are read from disk as they are needed: the same bits as from memory, killed or not."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import stopping
from helpers.on_disk import TASK, written

import jaxloop
from jaxloop import api
from jaxloop.core import size_classes
from jaxloop.core.bucket import undivided
from jaxloop.core.data import Data, FromDisk
from jaxloop.core.shapes import resident
from jaxloop.errors import ResourceError
from jaxloop.tasks import text
from jaxloop.training import replay

METRICS = ("train/loss", "validation/loss", "test/loss")


@pytest.fixture
def sweep(tmp_path):
    return written(tmp_path)


@pytest.mark.slow
@pytest.mark.optimized
def test_streamed_examples_give_the_bits_of_resident_ones(sweep, tmp_path):
    resident = jaxloop.run(sweep, out=tmp_path / "resident", overrides=("data.stream=false",))
    streamed = jaxloop.run(sweep, out=tmp_path / "streamed")
    assert len(streamed.members) == 24
    for metric in METRICS:
        np.testing.assert_array_equal(streamed.curves(metric), resident.curves(metric))
    again = replay.train_alone(*streamed.sweep_and_task, streamed.store, 23)
    assert (again["largest_difference"], again["missing"]) == (0.0, 0)


@pytest.mark.slow
def test_size_classes_of_a_batch_read_the_same_rows(sweep, tmp_path, monkeypatch):
    """Two classes of one program: the batches of the smaller lie as far apart as those of the larger."""
    monkeypatch.setattr(size_classes, "COMPILE_SECONDS", 0.0)
    padded = TASK.replace("metrics, data)", 'metrics, data, hparams={"batch_size": jaxloop.size(8)})')
    weighed = padded.replace("jnp.mean((jnp.tanh", "jnp.average((jnp.tanh").replace(
        '- batch["y"]) ** 2)', '- batch["y"]) ** 2, weights=batch.get("weight"))'
    )
    (tmp_path / "streamed.py").write_text(weighed)
    sweep.write_text(sweep.read_text().replace("batch_size = 32\n", ""))
    runs = []
    for stream in ("true", "false"):
        overrides = ("axes.batch_size.values=[4, 32]", f"data.stream={stream}")
        runs.append(jaxloop.run(sweep, out=tmp_path / stream, overrides=overrides))
    assert [len(run.store.size_classes[0]) for run in runs] == [2, 2]
    for metric in METRICS:
        np.testing.assert_array_equal(*(run.curves(metric) for run in runs))


@pytest.mark.slow
def test_a_streamed_run_that_is_killed_resumes_to_the_same_bits(sweep, tmp_path):
    whole = jaxloop.run(sweep, out=tmp_path / "whole")
    with pytest.raises(stopping.Stopped):
        jaxloop.run(sweep, out=tmp_path / "killed", observe=stopping.crash_at(7))
    resumed = jaxloop.resume(tmp_path / "killed")
    for metric in METRICS:
        np.testing.assert_array_equal(resumed.curves(metric), whole.curves(metric))


def test_rows_are_read_once_each_and_in_the_order_of_the_file():
    asked = []

    class Spy(np.ndarray):
        def __getitem__(self, index):
            asked.append(np.asarray(index).tolist())
            return np.asarray(self).__getitem__(index)

    source = FromDisk({"x": np.arange(20).view(Spy)})
    assert source.rows(np.array([7, 3, 7, 19]))["x"].tolist() == [7, 3, 7, 19]
    assert asked == [[3, 7, 19]]


def test_the_row_that_stands_for_a_source_is_read_once(sweep, monkeypatch):
    swept, task = api.read(sweep)
    read, rows = [], FromDisk.rows
    monkeypatch.setattr(FromDisk, "rows", lambda self, indices: read.append(len(indices)) or rows(self, indices))
    for bucket in undivided(swept) * 2:
        assert resident(task, bucket)["train"]["x"].shape == (1, 8)
    assert read == [1]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return {**self.whole.rows(indices), 'y': np.zeros(640, complex)}", "needs 'y' as float32, as it was"),
        ("raise OSError('the disk is gone')", "data.train.rows: OSError: the disk is gone"),
        (
            "return {name: x[:-1] for name, x in self.whole.rows(indices).items()}",
            "needs to return arrays of shapes {'x': (640, 8), 'y': (640,)}, got {'x': (639, 8), 'y': (639,)}",
        ),
    ],
)
def test_a_source_that_fails_in_use_says_what_is_safe(sweep, tmp_path, body, says):
    failing = TASK.replace(
        "def task(",
        f"""class Failing:
    def __init__(self, whole):
        self.whole = whole

    def __len__(self):
        return len(self.whole)

    def rows(self, indices):
        if len(indices) != 640:  # a row of batches
            return self.whole.rows(indices)
        {body}

def task(""",
    ).replace("jaxloop.from_disk(train)", "Failing(jaxloop.from_disk(train))")
    (tmp_path / "streamed.py").write_text(failing)
    with pytest.raises(ResourceError) as caught:
        jaxloop.run(sweep, out=tmp_path / "run")
    assert says in str(caught.value)
    assert "`jaxloop resume RUN`" in str(caught.value)


def test_a_fingerprint_of_a_source_tells_its_length_and_content():
    x = np.arange(10_000.0)
    prints = {
        Data(jaxloop.from_disk({"x": array})).fingerprint() for array in (x, x[:-1], x + 1, x.astype(np.float32))
    }
    assert len(prints) == 4
    assert Data(jaxloop.from_disk({"x": x.copy()})).fingerprint() in prints


def test_examples_that_fit_no_split_are_refused():
    with pytest.raises(ValueError, match="one common, non-empty first axis"):
        jaxloop.from_disk({"x": np.zeros(3), "y": np.zeros(4)})


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's account of a process's memory")
def test_what_is_read_of_a_file_does_not_stay_in_memory(tmp_path):
    """64 MB in a process that may not grow by half of that."""
    np.save(tmp_path / "x.npy", np.zeros((1 << 14, 1 << 10), np.float32))
    code = f"""
import numpy as np, jaxloop
def resident():
    return int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0]) >> 10
source = jaxloop.from_disk({{"x": np.load({str(tmp_path / "x.npy")!r}, mmap_mode="r")}})
source.rows(np.arange(10))
before = resident()
for start in range(0, 1 << 14, 1 << 9):
    source.rows(np.arange(start, start + (1 << 9)))
print(resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 32


def test_a_text_that_is_read_from_disk_trains_like_one_in_memory(tmp_path):
    tokens = np.random.default_rng(0).integers(0, 300, 4000).astype("<u2")
    tokens.tofile(tmp_path / "tokens.bin")
    options = {"path": str(tmp_path / "tokens.bin"), "tokens": "uint16", "context": 7}
    whole, read = text(**options).data, text(**options, from_disk=True).data
    assert read.source is not None
    rows = np.array([5, 0, 17, 5])
    np.testing.assert_array_equal(read.source.rows(rows)["x"], whole.splits()["train"]["x"][rows])
    np.testing.assert_array_equal(read.splits()["test"]["x"], whole.splits()["test"]["x"])
    symbols = np.unique(tokens)
    np.testing.assert_array_equal(symbols[whole.splits()["train"]["x"].ravel()], tokens[: len(read.source) * 8])
    with pytest.raises(ValueError, match="needs one of uint8, uint16"):
        text(tokens="uint32")
