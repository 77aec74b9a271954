"""How a process finds out that it is one of several, and what it keeps to itself then."""

import subprocess
import sys

import pytest

from jaxloop.errors import PeerError
from jaxloop.training import processes


@pytest.mark.parametrize(
    ("variables", "several"),
    [
        ({}, False),
        ({"SLURM_NTASKS": "2"}, False),  # a job's own shell
        ({"SLURM_NTASKS": "2", "SLURM_STEP_NODELIST": "a,b"}, True),
        ({"SLURM_NTASKS": "1", "SLURM_STEP_NODELIST": "a"}, False),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"JOB_COMPLETION_INDEX": "0", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}, True),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, True),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
    ],
)
def test_launchers_are_told_by_their_variables(monkeypatch, variables, several):
    known = ("SLURM_NTASKS", "SLURM_STEP_NODELIST", "OMPI_COMM_WORLD_SIZE", "JOB_COMPLETION_INDEX")
    for name in (*known, "KUBERNETES_SERVICE_HOST", "TPU_WORKER_HOSTNAMES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert processes.is_launched() == several


def test_what_libraries_print_stays_out_of_stdout():
    """Gloo greets there whenever a group of devices first meets, in the middle of a run."""
    code = (
        "import os; from jaxloop.training import processes; processes._stdout_is_pythons(); "
        "os.write(1, b'[Gloo] hello'); print('{}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, "[Gloo] hello" in done.stderr) == ("{}\n", True)


@pytest.mark.parametrize(
    "words",
    [
        "UNKNOWN: Gloo AllGather failed: Connection closed by peer [127.0.0.1]:41234",
        "FAILED_PRECONDITION: Agent is in ERROR state.",
        "DEADLINE_EXCEEDED: Barrier timed out. Id: turn 3::1",
        "UNAVAILABLE: Failed to send RPC to coordination service.",
    ],
)
@pytest.mark.parametrize("kind", [RuntimeError, ValueError])  # JAX's own errors are of the first kind
def test_a_process_that_is_gone_is_told_in_whatever_type_gloo_does(monkeypatch, kind, words):
    def fails(*_, **__):
        raise kind(f"{words}\nand more")

    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes.multihost_utils, "process_allgather", fails)
    with pytest.raises(PeerError, match="has stopped; what was saved is whole") as told:
        processes.gathered(1.0)
    assert "and more" not in str(told.value)


@pytest.mark.parametrize(
    "error", [ValueError("shapes (2,) and (3,) differ"), RuntimeError("RESOURCE_EXHAUSTED: 1 GB")]
)
def test_a_mistake_is_not_another_processs(monkeypatch, error):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes.multihost_utils, "process_allgather", fails)
    with pytest.raises(type(error)) as told:
        processes.gathered(1.0)
    assert told.value is error
