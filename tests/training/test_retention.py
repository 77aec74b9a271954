"""Which final parameters a run keeps, and what of them can be damaged or lost."""

import shutil

import jax
import pytest
from conftest import TINY
from helpers.stopping import Stopped

import jaxloop
from jaxloop.errors import NotFoundError
from jaxloop.readers.verify import verify
from jaxloop.storage.ranking import ranked
from jaxloop.sweep import sweep


@pytest.mark.parametrize(("keep", "kept"), [("none", []), ("best:1", [0, 1])])
def test_a_finished_run_may_keep_less(tmp_path, keep, kept):
    run = jaxloop.run(sweep.parse(TINY, ("axes.learning_rate.num=2",)), out=tmp_path / "run").path
    assert len(list(run.glob("members/*/checkpoint"))) == 4
    with jaxloop.load(run) as loaded:
        best = [member for member in ranked(loaded.store)[0].members if kept]
        params = {number: jax.tree.leaves(loaded.params(number)) for number in best}
    with jaxloop.resume(run, overrides=(f"checkpoint.keep={keep}",)) as less:
        for number in range(4):
            if number in best:
                pairs = zip(params[number], jax.tree.leaves(less.params(number)), strict=True)
                assert all((a == b).all() for a, b in pairs)
            else:
                with pytest.raises(NotFoundError, match="keep removed them"):
                    less.params(number)
    assert not (run / "finished").exists()
    assert len(list(run.glob("members/*/checkpoint"))) == len(best) == len(kept)
    assert verify(run)["problems"] == []


def test_what_is_kept_stays_where_a_new_best_has_nothing_left(tmp_path):
    with jaxloop.run(sweep.parse(TINY, ("checkpoint.keep=best:1",)), out=tmp_path / "run") as run:
        first = ranked(run.store)[0].members
    with jaxloop.resume(run.path, overrides=("evaluate.metric=train/loss", "evaluate.mode=max")) as resumed:
        assert ranked(resumed.store)[0].members != first
        _, note = resumed.summary.notes  # the first tells of the other metric
        assert "have no final parameters any more: nothing of the others" in note
        assert all(jax.tree.leaves(resumed.params(number)) for number in first)
    assert verify(run.path)["problems"] == []


@pytest.mark.slow
def test_nothing_is_dropped_for_a_best_that_is_damaged(tmp_path):
    """Of the best members one has a damaged copy here, a damaged copy there: the others' are what is left."""
    run = jaxloop.run(sweep.parse(TINY), out=tmp_path / "run")
    best = ranked(run.store)[0].members
    folders = {member.number: run.path / "members" / member.folder / "checkpoint" for member in run.members}
    for folder in (run.path / "finished", folders[best[0]]):
        victim = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        victim.write_bytes(victim.read_bytes()[:-1])
    with jaxloop.resume(run.path, overrides=("checkpoint.keep=best:1",)) as resumed:
        finals, own, kept = resumed.summary.notes
    assert f"final parameters of members {best[0]} are lost" in finals
    assert f"member {best[0]}'s own checkpoint is lost" in own
    assert f"members {best[0]} are among the best and have no final parameters any more" in kept
    assert all(folder.exists() for folder in folders.values())


def test_killed_while_it_drops_a_folder_a_run_has_not_lost_it(tmp_path, monkeypatch):
    run = jaxloop.run(sweep.parse(TINY), out=tmp_path / "run").path

    def killed_in(folder, rmtree=shutil.rmtree, **options):
        if not folder.name.startswith("checkpoint"):
            return rmtree(folder, **options)
        next(path for path in folder.rglob("*") if path.is_file()).unlink()
        raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed_in)
        with pytest.raises(Stopped):
            jaxloop.resume(run, overrides=("checkpoint.keep=best:1",))
    assert len(list(run.glob("members/*/checkpoint*"))) == 6
    with jaxloop.resume(run) as resumed:
        assert resumed.summary.notes == []
    assert len(list(run.glob("members/*/checkpoint*"))) == 2
    assert verify(run)["problems"] == []
