"""What a member is, as content hashes: its number in a run is only a label."""

from typing import Any

from jaxloop.sweep.catalog import REPLICATES
from jaxloop.sweep.schema import Document
from jaxloop.sweep.sweep import digest


def member(hparams: dict[str, Any], document: Document, code: str, data: str) -> str:
    """Of one training run: its hparams, the task's code and data, and how often it is looked at."""
    return digest([hparams, document.run.task, code, data, document.run.evaluate_every])


def config(hparams: dict[str, Any]) -> str:
    """Of what replicates share: the hparams without seed and fold."""
    return digest({name: value for name, value in hparams.items() if name not in REPLICATES})
