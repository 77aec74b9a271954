"""What JAX is set up with: devices, and the threads that decide the last bits of large products."""

import os
import socket
import subprocess
import sys

import pytest

TELL = """
import os
import jax
from jaxloop.training import host
{before}
host.prepare({arguments})
print(os.environ.get("PJRT_NPROC"), jax.local_device_count(), host.threads())
"""


def telling(arguments="", before="", **env):
    """A process that prints: how many threads XLA is asked for, devices it starts, threads a run would record."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PJRT_NPROC", "NPROC", "XLA_FLAGS")}
    code = TELL.format(before=before, arguments=arguments)
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, env={**clean, **env}, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("arguments", "before", "env", "found"),
    [
        ("", "", {"JAX_NUM_CPU_DEVICES": "3"}, "3 3 3"),
        ("", "", {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}, "4 4 4"),
        ("devices=2", "", {"JAX_NUM_CPU_DEVICES": "3"}, "2 2 2"),
        ("devices=5", "", {"JAX_NUM_CPU_DEVICES": "3"}, "3 3 3"),
        ("devices=2, threads=7", "", {"JAX_NUM_CPU_DEVICES": "3"}, "7 2 7"),
        ("threads=10**9", "", {"JAX_NUM_CPU_DEVICES": "1"}, "1024 1 1024"),
        ("devices=2, threads=7", "jax.devices()", {"JAX_NUM_CPU_DEVICES": "3", "NPROC": "6"}, "None 3 6"),
    ],
)
def test_threads_follow_the_devices_of_a_run_and_not_the_cores(arguments, before, env, found):
    with telling(arguments, before, **env) as process:
        assert process.communicate()[0].split() == found.split()


def test_several_processes_have_the_threads_of_one():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    joins = [f"jax.distributed.initialize({coordinator!r}, 2, {index})" for index in (0, 1)]
    first, second = (telling(before=join, JAX_NUM_CPU_DEVICES="2") for join in joins)
    with first, second:
        assert [process.communicate()[0].split() for process in (first, second)] == [["4", "2", "4"]] * 2
