"""Several processes that train one run: each its share of the slots, on its own devices, in step with the others.

A member needs nothing of another, so that no step spans processes; they exchange what was measured between chunks.
"""

import atexit
import itertools
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxloop.errors import PeerError, SweepError

BARRIER_MS = 86_400_000  # a dead process is noticed by its silence, not by this
HEARTBEAT_SECONDS = 20  # after which a process that says nothing is taken for dead
LAUNCHED = ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")  # how many processes a launcher started
# In what Gloo and JAX's coordination raise, as RuntimeError or ValueError, and no mistake of a program's does.
OF_PEERS = re.compile(
    r"\b(ABORTED|CANCELLED|DEADLINE_EXCEEDED|FAILED_PRECONDITION|UNAVAILABLE)\b"
    r"|[Gg]loo|[Cc]onnect|[Pp]eer|timed out|[Cc]oordination|[Aa]gent"
)
SAVED = "what was saved is whole: `jaxloop resume RUN` goes on, with any number of processes"


_barriers = itertools.count()  # a barrier's key is for one use; every process comes to all of them in order
_witness: "_Witness | None" = None  # of this process, where it has joined others


def join(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Make this process one of several, as told, or as a launcher that JAX knows says. Call before JAX starts.

    Raises:
      PeerError: the first of them is not reached.
    """
    if processes == 1 or (coordinator is None and not is_launched()):
        return
    global _witness
    _witness = _Witness()
    _stdout_is_pythons()
    try:
        jax.distributed.initialize(coordinator, processes, process, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
    except (RuntimeError, ValueError) as error:  # JAX's own are of the first kind
        raise PeerError(f"the processes of this run did not meet: {_first_line(error)}") from error


def meet() -> None:
    """Start JAX in a process that has joined others.

    Raises:
      PeerError: they do not find each other.
    """
    try:
        jax.devices()
    except RuntimeError as error:
        if not OF_PEERS.search(str(error)):
            raise
        rule = (
            f"their hosts need names that resolve to each other's addresses, this one's is {socket.gethostname()}"
        )
        raise PeerError(f"the processes of this run did not meet: {rule}\n({_first_line(error)})") from error


def is_launched() -> bool:
    """Return whether Slurm, Open MPI, Kubernetes (an indexed job) or a TPU pod started several processes."""
    names = LAUNCHED if "SLURM_STEP_NODELIST" in os.environ else LAUNCHED[1:]  # a job's own shell is no step
    sizes = [os.environ.get(name, "1") for name in names]
    pod = os.environ.get("TPU_WORKER_HOSTNAMES", "")
    indexed_job = "JOB_COMPLETION_INDEX" in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ
    return any(size.isdigit() and int(size) > 1 for size in sizes) or "," in pod or indexed_job


class _Witness:
    """A shell that tells why, if this process is killed, or aborted by JAX as the first one is gone."""

    def __init__(self) -> None:
        told = f"jaxloop: this process or another of its run was ended; {SAVED}"
        command = ["/bin/sh", "-c", 'read -r word || echo "$0" >&2', told]
        self.shell = subprocess.Popen(command, stdin=subprocess.PIPE)
        atexit.register(self.dismiss)

    def dismiss(self) -> None:
        """Stop watching: a process that ends in order says so itself."""
        self.shell.communicate(b"done\n")


def _stdout_is_pythons() -> None:
    """Send to stderr what libraries in other languages print: Gloo greets each group of devices."""
    sys.stdout.flush()
    sys.stdout = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)
    os.dup2(2, 1)


def count() -> int:
    return jax.process_count()


def are_several() -> bool:
    """Return whether this process has joined others; does not start JAX."""
    return jax.distributed.is_initialized()


def index() -> int:
    return jax.process_index()


def leads() -> bool:
    """Return whether this is the process that writes what is written once."""
    return index() == 0


def gathered(tree: Any) -> Any:
    """Host arrays with the rows of every process, in their order; all have as many."""
    found = jax.device_get(tree)
    if count() == 1:
        return found
    with _peers():
        return multihost_utils.process_allgather(found, tiled=True)


def leaders(value: int) -> int:
    """Return the first process's value, in every process."""
    return int(gathered(np.array([value]))[0])


def least(value: float) -> float:
    """Return the smallest of all processes' values."""
    return float(gathered(np.array([value], np.float32)).min())


def most(value: float) -> float:
    """Return the largest of all processes' values."""
    return -least(-value)


def broadcast(content: bytes) -> bytes:
    """Return what the first process has to say, in every process."""
    if count() == 1:
        return content
    size = leaders(len(content))
    mine = np.zeros(size, np.uint8)
    mine[: len(content)] = np.frombuffer(content[:size], np.uint8)
    return gathered(mine)[:size].tobytes()


@contextmanager
def _peers() -> Iterator[None]:
    """Raise PeerError where a process that others wait for has stopped."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if not OF_PEERS.search(str(error)):
            raise
        raise PeerError(f"another process of this run has stopped; {SAVED}\n({_first_line(error)})") from error


def leave(code: int) -> NoReturn:
    """End this process at once: in order it would wait for the others, which wait for it."""
    sys.stdout.flush()
    sys.stderr.flush()
    if _witness:
        _witness.dismiss()
    os._exit(code)


def barrier(name: str) -> None:
    """Wait until every process is here."""
    if count() > 1:
        import orbax.checkpoint as ocp  # slow to load

        with _peers():
            ocp.multihost.get_barrier_sync_fn()(key=f"{name} {next(_barriers)}", timeout_ms=BARRIER_MS)


def agree(digest: str) -> None:
    """Make sure that all processes are about to do the same, by its content hash.

    Raises:
      SweepError: they are about to do different things.
    """
    words = np.frombuffer(bytes.fromhex(digest), np.uint32)[None]
    if (gathered(words) != words).any():
        raise SweepError("this run's processes differ in their sweep, task, data or libraries: start them alike")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
