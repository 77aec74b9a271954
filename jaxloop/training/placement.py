"""Where a run is trained: on how many devices, of which kind, and how that differs from where it was before."""

from typing import Any

import jax
from jax.sharding import Mesh

from jaxloop.core import devices
from jaxloop.errors import SweepError
from jaxloop.storage.store import Store
from jaxloop.training import host, processes, provenance


def mesh(store: Store) -> tuple[Mesh, list[str]]:
    """Return this process's devices: its share of as many as the run began on, or all that are here.

    Returns:
      The mesh, and notes where devices or cores are left unused.

    Raises:
      SweepError: processes have unlike numbers of devices.
    """
    had, here = (store.devices or 0), len(jax.local_devices())
    fits = had > 0 and had % processes.count() == 0 and had // processes.count() <= here
    found = devices.member_mesh(had // processes.count() if fits else None)
    if processes.least(found.size) < processes.most(found.size):
        raise SweepError("the processes of this run need the same number of devices each")
    notes = []
    if found.size < (here := host.available()):
        notes.append(f"{found.size} of {here} devices are used: as many as the run began on")
    if idle := host.idle_cores():
        notes.append(
            f"JAX ran before jaxloop in this process, and {idle} of {here + idle} cores have no device: "
            'start jaxloop first, or JAX with `jax.config.update("jax_num_cpu_devices", ...)`'
        )
    return found, notes


def moved(store: Store, mesh: Mesh) -> list[str]:
    """Return a note where a run goes on elsewhere than it was last."""
    changes = _changes(store, mesh)
    note = f"resumed elsewhere ({', '.join(changes)}): last bits may differ from those of an uninterrupted run"
    return [note] if changes else []


def facts(store: Store, mesh: Mesh) -> dict[str, Any]:
    """Return what the store should know of where the run is now, and of how many devices it began on."""
    place = _place(mesh)
    return {
        "place": place,
        "devices": store.devices or place["devices"],
        "in_one_place": not _changes(store, mesh)
        and not processes.are_several()
        and (store.in_one_place or not store.member_steps),
    }


def _changes(store: Store, mesh: Mesh) -> list[str]:
    now = _place(mesh)
    had = store.place or now
    return [f"{name} {had[name]} -> {now[name]}" for name in had if now[name] != had[name]]


def _place(mesh: Mesh) -> dict[str, Any]:
    return {
        "devices": mesh.size * processes.count(),
        "kind": mesh.devices.flat[0].device_kind,
        "threads": host.threads() if devices.on_cpu(mesh) else 0,
        "processor": provenance.processor(),
    }
