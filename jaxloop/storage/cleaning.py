"""Space that runs which have ended take, and how to get it back."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxloop.errors import LockedError
from jaxloop.storage import lock, run_folder
from jaxloop.storage.records import ENDED
from jaxloop.storage.store import Store


@dataclass(frozen=True)
class Cleaning:
    """What is to be deleted of a run.

    Attributes:
      paths: folders, each with all that is in it.
      size: of all of that, in bytes.
      has_ended: whether none of its members is left to train.
    """

    run: Path
    paths: list[Path]
    size: int
    has_ended: bool

    def json(self) -> dict[str, Any]:
        return {"run": str(self.run), "paths": [str(path) for path in self.paths], "bytes": self.size}


def plan(run: Path, *, whole: bool) -> Cleaning:
    """Return what to delete: checkpoints and parameters, which nothing that reads results needs; or the whole run.

    Raises:
      LockedError: the run is being trained, or another host began to and may still do so.
    """
    with Store(run) as store, lock.kept_out(run):
        members = store.members()
        if store.status == "running" and (host := lock.other_host(run)):
            raise LockedError(
                f"{run}: {host} began to train it, and may still do so: `jaxloop resume` takes it over"
            )
    own = [
        run_folder.own_checkpoint(run, member.folder, tree) for member in members for tree in ("params", "average")
    ]
    shared = [run_folder.checkpoints(run), run_folder.finals(run), run_folder.states(run)]
    wanted = [run] if whole else [*shared, *own]
    paths = [path for path in wanted if path.is_dir()]
    held = sum(file.lstat().st_size for path in paths for file in path.rglob("*") if not file.is_dir())
    return Cleaning(run, paths, held, all(member.status in ENDED for member in members))


def clean(planned: Cleaning) -> None:
    """Delete the planned paths; the store forgets final parameters first, so that it never names missing ones.

    Raises:
      LockedError: the run is being trained.
    """
    with lock.held(planned.run):
        if planned.paths != [planned.run]:
            with Store(planned.run) as store, store.transaction():
                store.drop_final_folders()
        for path in planned.paths:
            shutil.rmtree(path)
