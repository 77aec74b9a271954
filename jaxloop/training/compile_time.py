"""How long a program takes to compile: as one of its kind last took on this machine, else estimated."""

import json
from typing import Any

from jax.sharding import Mesh

from jaxloop.core.bucket import Bucket
from jaxloop.core.costs import operations
from jaxloop.core.task import Task
from jaxloop.sweep.sweep import Sweep
from jaxloop.training import machine_cache

FILE = "compiling.json"
WORTH_KEEPING = 3.0  # seconds of compiling; a program from JAX's cache takes less
# Measured on 2 CPU cores: see benchmarks/LOG.md.
FIXED_SECONDS = 1.5
SECONDS_PER_OPERATION = 7e-3


def expected(sweep: Sweep, task: Task, bucket: Bucket, mesh: Mesh) -> str:
    """Return "last time 9 s", of this kind of program on this machine; else "about 9 s"."""
    known = machine_cache.read(FILE)
    if isinstance(last := known.get(_kind(sweep, bucket, mesh)), int):
        return f"last time {last} s"
    pace = known.get(_pace(mesh))
    seconds = _estimate(sweep, task, bucket) * (pace if isinstance(pace, float) else 1.0)
    return f"about {_whole(seconds)} s"


def keep(seconds: float, sweep: Sweep, task: Task, bucket: Bucket, mesh: Mesh) -> None:
    """Keep how long a program has taken, and by what factor this machine differs from the estimate."""
    if seconds > WORTH_KEEPING:
        machine_cache.keep(FILE, _kind(sweep, bucket, mesh), _whole(seconds))
        machine_cache.keep(FILE, _pace(mesh), seconds / _estimate(sweep, task, bucket))


def _estimate(sweep: Sweep, task: Task, bucket: Bucket) -> float:
    count = operations(sweep, task, bucket) * len(bucket.size_classes)
    return FIXED_SECONDS + SECONDS_PER_OPERATION * count


def _kind(sweep: Sweep, bucket: Bucket, mesh: Mesh) -> str:
    """Return the key of programs that take about as long to compile."""
    model, optimizer = bucket.static.get("model"), bucket.static["optimizer"]
    return _key(mesh, sweep.document.run.task, model, optimizer, len(bucket.size_classes))


def _pace(mesh: Mesh) -> str:
    return _key(mesh, "pace")


def _key(mesh: Mesh, *parts: Any) -> str:
    return json.dumps([*parts, *machine_cache.machine(mesh)])


def _whole(seconds: float) -> int:
    return max(1, round(seconds))
