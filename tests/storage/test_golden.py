"""Runs that earlier versions wrote: this one reads them, goes on with them, or says which version can.

Where one of these fails, a reader of the new format belongs beside that of the old, or `database.READERS` gets a
line: the fixtures stay as they are. `tools/golden.py` makes one for a new format.
"""

import json
import shutil

import jax
import numpy as np
import pytest
from conftest import ROOT, TINY

import jaxloop
from jaxloop.errors import DamagedError, SweepError
from jaxloop.readers.verify import verify
from jaxloop.storage.database import FORMAT, LATER_TABLES
from jaxloop.storage.store import Store
from jaxloop.sweep import sweep

GOLDEN = ROOT / "tests" / "golden"
FOLDERS = sorted(GOLDEN.iterdir())


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def golden(request, tmp_path):
    """A copy of a run, interrupted at its fourth turn, and what it is expected to come to."""
    shutil.copytree(request.param / "run", tmp_path / "run")
    return tmp_path / "run", json.loads((request.param / "expected.json").read_text())


def test_the_present_format_has_a_golden_run():
    assert GOLDEN / f"format-{FORMAT}" in FOLDERS


def test_a_golden_run_is_read(golden):
    run, expected = golden
    assert verify(run)["problems"] == []
    with jaxloop.load(run) as loaded:
        ended = [member for member in loaded.members if member.status == "finished"]
        assert [(member.number, member.step) for member in ended] == [(0, 20), (2, 20)]
        for metric, rows in expected["curves"].items():
            wanted = np.array(rows, np.float32)[:, :4]
            wanted[:, loaded.steps().searchsorted(50) :] = np.nan
            np.testing.assert_array_equal(loaded.curves(metric), wanted)
        for member in ended:
            leaves = [leaf.ravel().tolist() for leaf in jax.tree.leaves(loaded.params(member))]
            assert leaves == expected["params"][member.number]


def test_a_golden_run_goes_on(golden):
    """To the same values, but for rounding on other machines and versions of JAX."""
    run, expected = golden
    with jaxloop.resume(run, allow_drift=True) as resumed:
        assert resumed.summary.finished == 4
        assert resumed.store.format == FORMAT
        tables = {name for (name,) in resumed.store.connection.execute("select name from sqlite_master")}
        assert tables >= LATER_TABLES.keys()
        for metric, rows in expected["curves"].items():
            np.testing.assert_allclose(
                resumed.curves(metric), np.array(rows, np.float32), rtol=1e-3, atol=1e-3, err_msg=metric
            )


@pytest.mark.parametrize(("format", "reader"), [(1, "never released"), (FORMAT + 1, "a later jaxloop")])
def test_another_format_is_told_with_who_reads_it(golden, format, reader):
    run, _ = golden
    with Store(run) as store:
        store.put(format=format)
    with pytest.raises(DamagedError, match=reader):
        jaxloop.load(run)


def test_a_key_of_format_2_is_read_by_its_present_name_and_refused_in_a_new_sweep(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(GOLDEN / "format-2" / "run", run)
    assert "width =" in (run / "sweep.toml").read_text().partition("[population]")[2]
    with jaxloop.load(run) as loaded:
        assert loaded.sweep_and_task[0].document.population.group_size == "auto"
    with jaxloop.resume(run, allow_drift=True) as resumed:
        told = [change for record in resumed.store.drift for change in record["changes"]]
        assert not any("edited" in change for change in told)
    with pytest.raises(SweepError, match=r"population\.width: is named `population\.group_size` now"):
        sweep.parse(TINY, ("population.width=4",))
