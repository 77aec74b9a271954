"""How long a program takes to compile: what one of its kind last took on this machine, else an estimate."""

import json
from typing import Any

from jax.sharding import Mesh

from jaxloop.core.bucket import Bucket
from jaxloop.core.costs import operations
from jaxloop.core.task import Task
from jaxloop.sweep.sweep import Sweep
from jaxloop.training import machine_cache

FILE = "compiling.json"
WORTH_KEEPING = 3.0  # seconds of compiling; most programs from JAX's cache take less
# Measured on 2 CPU cores: see benchmarks/LOG.md.
FIXED_SECONDS = 1.5
SECONDS_PER_OPERATION = 7e-3


def expected(sweep: Sweep, task: Task, bucket: Bucket, mesh: Mesh) -> str:
    """Return "last time 9 s" if this machine has compiled one of this kind, else an estimate: "about 9 s"."""
    known = machine_cache.read(FILE)
    if isinstance(last := known.get(_kind_key(sweep, bucket, mesh)), int):
        return f"last time {last} s"
    slowdown = known.get(_slowdown_key(mesh))
    seconds = _estimate(sweep, task, bucket) * (slowdown if isinstance(slowdown, float) else 1.0)
    return f"about {_whole_seconds(seconds)} s"


def keep(seconds: float, sweep: Sweep, task: Task, bucket: Bucket, mesh: Mesh) -> None:
    """Keep how long a program took; of the first of its kind, also how much slower it was than the estimate."""
    if seconds > WORTH_KEEPING:
        kind = _kind_key(sweep, bucket, mesh)
        if kind not in machine_cache.read(FILE):  # later ones may come from JAX's cache
            machine_cache.keep(FILE, _slowdown_key(mesh), seconds / _estimate(sweep, task, bucket))
        machine_cache.keep(FILE, kind, _whole_seconds(seconds))


def _estimate(sweep: Sweep, task: Task, bucket: Bucket) -> float:
    count = sum(operations(sweep, task, part) for part in bucket.size_classes)
    return FIXED_SECONDS + SECONDS_PER_OPERATION * count


def _kind_key(sweep: Sweep, bucket: Bucket, mesh: Mesh) -> str:
    """Return the key of programs that take about as long to compile."""
    model, optimizer = bucket.static.get("model"), bucket.static["optimizer"]
    return _key(mesh, sweep.document.run.task, model, optimizer, len(bucket.size_classes))


def _slowdown_key(mesh: Mesh) -> str:
    return _key(mesh, "slowdown")


def _key(mesh: Mesh, *parts: Any) -> str:
    return json.dumps([*parts, *machine_cache.machine(mesh)])


def _whole_seconds(seconds: float) -> int:
    return max(1, round(seconds))
