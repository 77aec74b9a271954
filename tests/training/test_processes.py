"""Several processes, real ones, train one run: the same bits, and nothing lost when one of them is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from conftest import JAXLOOP, TINY
from helpers import counter, line, on_disk
from helpers.draws import draws

import jaxloop
from jaxloop.storage.store import Store

pytestmark = pytest.mark.slow
SETTINGS = ["axes.seed.count=4", "population.group_size=2", "population.capacity=8", "checkpoint.every=20"]
LONG = ["run.steps=600"]


def started(words, processes, devices, settings=SETTINGS):
    """`jaxloop` in so many processes of so many CPU devices; `settings` for all, or a list of them for each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    lists = settings if settings and isinstance(settings[0], list) else [settings] * processes
    together = ["--coordinator", coordinator, "--processes", str(processes)] if processes > 1 else []
    return [
        subprocess.Popen(
            [JAXLOOP, *map(str, words), *(part for setting in chosen for part in ("--set", setting)), *together]
            + (["--process", str(index)] if together else []),
            env={**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index, chosen in enumerate(lists)
    ]


@pytest.fixture(autouse=True, scope="module")
def two_cores():
    """For what is started here, as on the smallest machine: were threads to follow them, `LARGE` would differ."""
    if sys.platform != "linux":
        yield
        return
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(all_of_them)[:2])
    yield
    os.sched_setaffinity(0, all_of_them)


def ended(processes):
    """Exit code, stdout and stderr of each."""
    said = [process.communicate(timeout=240) for process in processes]
    return [(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)]


def trained(words, processes, devices, settings=SETTINGS):
    found = ended(started([*words, "--json"], processes, devices, settings))
    assert [code for code, _, _ in found] == [0] * processes, found
    return json.loads(found[0][1])


def same(ours, theirs, **tolerance):
    with jaxloop.load(ours) as mine, jaxloop.load(theirs) as yours:
        assert [(m.id, m.status, m.step) for m in mine.members] == [
            (m.id, m.status, m.step) for m in yours.members
        ]
        for metric in yours.store.metric_names():
            np.testing.assert_allclose(mine.curves(metric), yours.curves(metric), **tolerance)
        for member in yours.members:
            pairs = zip(*(jax.tree.leaves(run.params(member)) for run in (mine, yours)), strict=True)
            for a, b in pairs:
                np.testing.assert_allclose(a, b, **tolerance)


# with products that XLA divides among threads, whose number decides their last bits
LARGE = ["run.task=mnist1d", "hparams.width=100", "hparams.batch_size=1000"]


@pytest.mark.optimized
@pytest.mark.parametrize("task", [LARGE], ids=["large"])
def test_two_processes_of_two_devices_have_the_bits_of_one_of_four(tiny, tmp_path, task):
    one = trained(["population", tiny, "--out", tmp_path / "one"], 1, 4, [*SETTINGS, *task])
    two = trained(["population", tiny, "--out", tmp_path / "two"], 2, 2, [*SETTINGS, *task])
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["devices"] == two["devices"] == 4
    assert one["capacity"] == two["capacity"] == 8
    same(tmp_path / "two", tmp_path / "one", rtol=0, atol=0)
    (replay,) = ended(started(["replay", tmp_path / "two", 3, "--json"], 1, 2, []))
    assert json.loads(replay[1])["largest_difference"] == 0
    assert subprocess.run([JAXLOOP, "verify", str(tmp_path / "two")]).returncode == 0


@pytest.mark.optimized
def test_a_task_s_own_steps_have_the_same_bits_on_any_devices_and_in_any_processes(tmp_path):
    sweep, settings = counter.written(tmp_path), ["population.group_size=2", 'checkpoint.best="validation/norm"']
    for name, processes, devices in (("one", 1, 1), ("two", 1, 2), ("both", 2, 1)):
        trained(["population", sweep, "--out", tmp_path / name], processes, devices, settings)
        same(tmp_path / name, tmp_path / "one", rtol=0, atol=0)
        with jaxloop.load(tmp_path / name) as mine, jaxloop.load(tmp_path / "one") as yours:
            for number in range(6):
                np.testing.assert_array_equal(mine.best(number)["w"], yours.best(number)["w"])


def test_examples_on_disk_are_read_by_the_process_whose_members_see_them(tmp_path):
    """Three members in eight slots: the second process has none of them."""
    few = ["axes.learning_rate={values=[1e-3]}", "axes.train_examples={values=[100]}", "axes.steps={values=[40]}"]
    for name, processes, settings in (("one", 1, few), ("two", 2, [*few, "population.capacity=8"])):
        trained(["population", on_disk.written(tmp_path), "--out", tmp_path / name], processes, 1, settings)
    same(tmp_path / "two", tmp_path / "one", rtol=0, atol=0)
    with jaxloop.load(tmp_path / "two") as run:
        assert [(member.status, member.step) for member in run.members] == [("finished", 40)] * 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.toml").write_text(TINY)
    trained(["population", folder / "tiny.toml", "--out", folder / "run"], 1, 4, [*SETTINGS, *LONG])
    return folder / "run"


@pytest.mark.parametrize(("victim", "processes"), [(0, 2), (1, 1)])
def test_one_is_killed_the_others_stop_and_any_number_goes_on(tiny, tmp_path, whole, victim, processes):
    run = tmp_path / "run"
    alive = started(["population", tiny, "--out", run], 2, 2, [*SETTINGS, *LONG])
    until = time.monotonic() + 120
    while not has_points(run, 10):
        assert all(process.poll() is None for process in alive), ended(alive)
        assert time.monotonic() < until
        time.sleep(0.05)
    alive[victim].send_signal(signal.SIGKILL)
    killed_at = time.monotonic()
    found = ended(alive)
    assert time.monotonic() - killed_at < 60
    code, _, said = found[1 - victim]
    assert code in (8, -signal.SIGABRT), found
    assert "jaxloop resume RUN" in said
    assert "Traceback" not in said
    summary = trained(["resume", run], processes, 4 if processes == 1 else 2, [])
    assert (summary["processes"], summary["finished"]) == (processes, 12)
    if summary["devices"] == 4:
        same(run, whole, rtol=0, atol=0)
    else:  # other devices: it says that last bits may differ
        assert "last bits may differ" in " ".join(summary["notes"])
        same(run, whole, rtol=1e-3, atol=1e-4)
    assert subprocess.run([JAXLOOP, "verify", str(run)]).returncode == 0


def has_points(run, count):
    if not (run / "run.sqlite").exists():
        return False
    with Store(run) as store:
        return len(store.steps()) >= count


def test_processes_that_differ_in_their_sweep_are_refused(tiny, tmp_path):
    settings = [["run.steps=40"], ["run.steps=60"]]
    found = ended(started(["population", tiny, "--out", tmp_path / "run"], 2, 2, settings))
    assert all(code in (2, 8, -signal.SIGABRT) for code, _, _ in found), found
    assert any("differ in their sweep" in said for _, _, said in found)
    assert not (tmp_path / "run").exists()


def test_options_that_go_together(tiny, jaxloop_command):
    done = jaxloop_command("population", tiny, "--processes", 2)
    assert (done.returncode, "go together" in done.stderr) == (2, True)
    done = jaxloop_command("population", tiny, "--coordinator", "localhost:1", "--processes", 2, "--process", 2)
    assert (done.returncode, "needs to be below" in done.stderr) == (2, True)


def open_mpi(index, job):
    return {
        "OMPI_MCA_orte_hnp_uri": f"{job * 4096}.0;tcp://127.0.0.1:1",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_RANK": str(index),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(index),
    }


def slurm(index, job):
    return {
        "SLURM_JOB_ID": str(job),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(index),
        "SLURM_LOCALID": str(index),
    }


@pytest.mark.parametrize("launcher", [open_mpi, slurm])
def test_what_a_launcher_says_is_found(tmp_path, launcher):
    """The variables that it sets, without it."""
    job = draws().randrange(1, 4000)
    file = line.written(tmp_path)
    alive = [
        subprocess.Popen(
            [JAXLOOP, "population", str(file), "--out", str(tmp_path / "run"), "--json"],
            env={**os.environ, "JAX_NUM_CPU_DEVICES": "1", **launcher(index, job)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in (0, 1)
    ]
    found = ended(alive)
    assert [code for code, _, _ in found] == [0, 0], found
    assert json.loads(found[0][1])["processes"] == 2
    assert found[1][1] == ""
