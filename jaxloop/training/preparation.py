"""Before a run is trained, its folder is checked, grown, mended and set back to its newest whole checkpoint."""

from pathlib import Path

from jaxloop.core.task import Task
from jaxloop.formatting import ranges
from jaxloop.storage import run_folder
from jaxloop.storage.records import ENDED
from jaxloop.storage.store import Store
from jaxloop.sweep.sweep import Sweep
from jaxloop.training import drift, extension, provenance, retention
from jaxloop.training.create import whereabouts
from jaxloop.training.growth import grow, refuse_other_terms
from jaxloop.training.rewind import rewind, whole_checkpoint


def prepared(
    run: Path, sweep: Sweep, task: Task, store: Store, origin: dict[str, str], *, allow_drift: bool
) -> list[str]:
    """Run the checks before training, then roll a run's store and files back to the resume point.

    Args:
      sweep: `growth.aligned` with the run; new members join it.
      origin: as `drift.origin` gives it.
      allow_drift: to go on although code, data or libraries have changed since the run was last started.

    Returns:
      What the user should know.

    Raises:
      SweepError: the sweep changes what members share.
      DamagedError: no whole checkpoint is left, or something has drifted.
      ResourceError: the disk is too small for new members.
    """
    checkpoint, damage = whole_checkpoint(run, store)
    refuse_other_terms(sweep, store)
    counts, turn = store.counts(), checkpoint["turn"]
    extended = extension.extended(sweep, [member.hparams for member in store.members()])
    trains = bool(extended) or sum(counts[status] for status in ENDED) < len(sweep.members)
    drifted = drift.compare(run, sweep, store, origin, turn, trains=trains, allowed=allow_drift)
    is_new = store.status == "created"
    file, notes = run_folder.sweep(run), store.notes if is_new else []
    if not file.exists():
        notes.append(f"{file} was missing: written anew from the store")
    ranked_by = store.metric, store.mode
    grow(run, sweep, task, store, origin, {**drifted, **_moved(run, sweep, store)})
    if (now := (store.metric, store.mode)) != ranked_by:
        notes.append(f"members are ranked by {' '.join(now)} from now on; it was by {' '.join(ranked_by)}")
    if damage:
        at = f"turn {turn}" if turn else "the beginning"
        notes.append(f"the last checkpoint is damaged: {damage}: going on from {at}, the one before it")
    if extended := store.extended:
        finished = "those that had finished continue training"
        notes.append(f"members {ranges(extended)} were given more steps; {finished}")
    if not is_new:
        notes += rewind(run, store, checkpoint, extended)
    if extended:
        store.put(extended=[])
    facts = {"name": store.name, "folder": store.folder, "origins": store.origins}
    facts |= {"forked_from": store.forked_from} if store.forked_from else {}
    notes += provenance.restore(run, facts, sweep.folder)
    return notes + retention.mend(run, store)


def _moved(run: Path, sweep: Sweep, store: Store) -> dict[str, str]:
    """Return facts to record where the run or the sweep's folder has been moved."""
    now = whereabouts(sweep, run)
    return {} if now == {"folder": store.folder, "folder_from_run": store.folder_from_run} else now
