"""The share of its machine's peak that a run reached: counted by hand, reported only where known."""

import json

import jax
import pytest
from helpers import line
from helpers.stopping import Stopped, crash_at

import jaxloop
from jaxloop.core import devices
from jaxloop.readers.report import results
from jaxloop.storage.store import Store
from jaxloop.training import machine_cache, peak

SWEEP = """
[run]
task = "mnist1d"
steps = 4
evaluate_every = 2
[hparams]
model = "mlp"
depth = 1
batch_size = 50
[axes]
width = { values = [8, 512], kind = "KIND" }
seed = { count = 2 }
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def known():
    """A peak of 1 GFLOP/s, as if it had been measured on this machine."""
    mesh = devices.member_mesh()
    machine_cache.keep(peak.FILE, peak._key(mesh), 1e9)
    return mesh


def products_of_a_step(width, batch=50, inputs=40, classes=10):
    """FLOPs: forward, the gradients of all weights, and those of the hidden layer."""
    first, second = 2 * batch * inputs * width, 2 * batch * width * classes
    return 2 * first + 3 * second


def test_the_peak_is_measured_and_the_fastest_remembered(monkeypatch):
    mesh = devices.member_mesh()
    assert peak.remembered(mesh) is None
    first = peak.measure_and_keep(mesh)
    assert first > 1e8
    monkeypatch.setattr(peak, "measure", lambda mesh: first / 2)
    assert peak.measure_and_keep(mesh) == peak.remembered(mesh) == first
    monkeypatch.setattr(peak, "measure", lambda mesh: first * 2)
    assert peak.measure_and_keep(mesh) == peak.remembered(mesh) == first * 2


@pytest.mark.parametrize("value", ["fast", None, True, 0.0, -1.0, float("inf")])
def test_a_damaged_memory_is_no_peak(known, value):
    machine_cache.keep(peak.FILE, peak._key(known), value)
    assert peak.remembered(known) is None


def test_another_precision_has_another_peak(known):
    with jax.default_matmul_precision("highest"):
        assert peak.remembered(known) is None
    assert peak.remembered(known) == 1e9


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "computed"), [("static", [8, 512]), ("padded", [512, 512])])
def test_the_share_is_that_of_all_products_as_counted_by_hand(known, tmp_path, kind, computed):
    (tmp_path / "sweep.toml").write_text(SWEEP.replace("KIND", kind))
    with jaxloop.run(tmp_path / "sweep.toml", out=tmp_path / "run") as run:
        seconds, found = run.store.seconds, run.store.share_of_peak
        assert run.store.member_steps == 16
        products = 8 * sum(map(products_of_a_step, computed))
        assert found == {"share": pytest.approx(products / seconds / 1e9, abs=1e-4), "peak": 1e9}
        assert run.summary.share_of_peak == found["share"]
        facts = dict(results.results(run.store)["facts"])
        assert facts["share of the peak"].startswith(f"{found['share']:.0%} of 1 GFLOP/s")
    written = json.loads((tmp_path / "run" / "run.json").read_text())
    assert written["share_of_peak"] == found["share"]


@pytest.mark.slow
def test_a_short_run_does_not_measure_the_peak_a_long_one_does(tmp_path, monkeypatch):
    with jaxloop.run(line.written(tmp_path), out=tmp_path / "short") as run:
        assert run.store.share_of_peak is run.summary.share_of_peak is None
        assert "share of the peak" not in dict(results.results(run.store)["facts"])
    monkeypatch.setattr(peak, "WORTH_SECONDS", 0.0)
    with jaxloop.run(tmp_path / "line.toml", out=tmp_path / "long") as run:
        assert run.store.share_of_peak["peak"] == peak.remembered(devices.member_mesh()) > 1e8


@pytest.mark.slow
def test_nothing_is_told_of_a_run_that_crashed_or_moved(known, tmp_path):
    file = line.written(tmp_path)
    with jaxloop.run(file, out=tmp_path / "run") as run:
        assert run.store.share_of_peak is not None
    with pytest.raises(Stopped):
        jaxloop.resume(tmp_path / "run", overrides=("axes.seed.count=2",), observe=crash_at(1))
    with Store(tmp_path / "run") as store:
        assert store.share_of_peak is None
        place = store.place
        assert place is not None
        store.put(place={**place, "processor": "another"})
    with jaxloop.resume(tmp_path / "run") as run:
        assert not run.store.in_one_place
        assert run.store.share_of_peak is None
