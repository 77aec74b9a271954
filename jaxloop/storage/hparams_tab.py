"""What TensorBoard's HPARAMS tab shows, in which order, and on which scale."""

# pyright: reportAttributeAccessIssue=false
# (generated protobuf modules carry no types)

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxloop.storage import tensorboard
from jaxloop.storage.absent import absent
from jaxloop.storage.ranking import metrics_in_order
from jaxloop.storage.store import Store
from jaxloop.sweep.catalog import REPLICATES

with absent("torch"):
    from tensorboardX.proto import api_pb2, event_pb2

DIFFERS = b"\x38\x01"  # `differs = true` of TensorBoard's HParamInfo, a field that tensorboardX does not have yet


def write(folder: Path, members: Sequence[Mapping[str, Any]], store: Store) -> None:
    """Declare a run's hparams and metrics to TensorBoard, in a file that replaces the one before.

    Args:
      folder: of all members' folders.
      members: the hparams of each.
    """
    declare(folder, members, store.varied, metrics_in_order(store))


def declare(
    folder: Path, members: Sequence[Mapping[str, Any]], varied: Sequence[str], metrics: Sequence[str]
) -> None:
    """Declare hparams and metrics to TensorBoard, in a file that replaces the one before.

    TensorBoard shows the first five of each at once: of hparams, by name, those that are marked as differing; of
    metrics, in this order. So axes alone are declared, without seeds, which a row averages over. TensorBoard takes
    the first declaration that it finds; a run that has grown may have more of both.

    Args:
      folder: of all members' folders.
      members: the hparams of each.
      varied: the names of those that differ.
      metrics: the one that members are ranked by comes first.
    """
    tensorboard.delete(folder)
    values: dict[str, list[Any]] = {}
    for hparams in members:
        for name, value in hparams.items():
            values.setdefault(name, []).append(value)
    experiment = api_pb2.Experiment()
    axes = [name for name in varied if name in values and name not in REPLICATES]
    for name in axes or values:
        info = experiment.hparam_infos.add(name=name)
        _declare(info, values[name])
        info.MergeFromString(DIFFERS)
    for tag in metrics:
        experiment.metric_infos.add().name.tag = tag
    events = tensorboard.Events(folder)
    summary = tensorboard.hparams_summary("experiment", experiment=experiment)
    events.write(event_pb2.Event(wall_time=time.time(), summary=summary))
    events.flush()


def _declare(info: Any, values: Sequence[Any]) -> None:
    """Declare an hparam's type and what it ranges over."""
    if all(isinstance(value, bool) for value in values):
        info.type = api_pb2.DATA_TYPE_BOOL
        domain: Sequence[Any] = sorted(set(values))
    elif all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        info.type = api_pb2.DATA_TYPE_FLOAT64
        info.domain_interval.min_value, info.domain_interval.max_value = min(values), max(values)
        return
    else:
        info.type = api_pb2.DATA_TYPE_STRING
        domain = sorted({str(value) for value in values})
    for value in domain:
        added = info.domain_discrete.values.add()
        if isinstance(value, bool):
            added.bool_value = value
        else:
            added.string_value = value
