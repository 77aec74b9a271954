"""What a member is, as content hashes: its number in a run is only a label."""

from typing import Any, NamedTuple

from jaxloop.sweep.catalog import REPLICATES
from jaxloop.sweep.schema import Document
from jaxloop.sweep.sweep import digest


class Parent(NamedTuple):
    """The member that another began as a copy of, and the steps that it had taken."""

    id: str
    step: int


def member(hparams: dict[str, Any], document: Document, code: str, data: str, parent: Parent | None = None) -> str:
    """Of one training run: its hparams, the task's code and data, how often it is looked at, and its parent."""
    lineage = [] if parent is None else [list(parent)]
    return digest([hparams, document.run.task, code, data, document.run.evaluate_every, *lineage])


def config(hparams: dict[str, Any]) -> str:
    """Of what replicates share: the hparams without seed and fold."""
    return digest({name: value for name, value in hparams.items() if name not in REPLICATES})
