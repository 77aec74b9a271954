"""TensorBoard events, a folder a member, through tensorboardX's EventsWriter: no thread and no descriptor held."""

# pyright: reportAttributeAccessIssue=false
# (generated protobuf modules carry no types)

import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxloop.errors import DamagedError
from jaxloop.storage.absent import absent

with absent("torch"):  # which tensorboardX loads where it is installed: a second of every start
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto import api_pb2, event_pb2, plugin_hparams_pb2
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboardX.record_writer import masked_crc32c, register_writer_factory

SCHEME = "jaxloop-append"
LABEL_BYTES = 120  # of a folder's name, of which file systems allow 255


class _Appended:
    """A file that is open only while it is flushed, so that thousands can be written to."""

    def __init__(self, path: Path):
        self.path, self.pending = path, bytearray()

    def write(self, data: bytes) -> None:
        self.pending += data

    def flush(self) -> None:
        if self.pending:
            with self.path.open("ab") as file:
                file.write(self.pending)
            self.pending.clear()

    def close(self) -> None:
        self.flush()


class _Factory:
    def open(self, path: str) -> _Appended:
        return _Appended(Path(path.removeprefix(f"{SCHEME}:")))


register_writer_factory(SCHEME, _Factory())


class MemberSummaries:
    """The events of one member.

    Args:
      folder: made if missing.
      hparams: shown in TensorBoard's HPARAMS tab, in one row with all members of the same `config`.
    """

    def __init__(self, folder: Path, hparams: dict[str, Any], config: str, *, announce: bool):
        folder.mkdir(parents=True, exist_ok=True)
        self.writer = EventsWriter(f"{SCHEME}:{folder}/events")
        if announce:
            start = plugin_hparams_pb2.SessionStartInfo(group_name=config, start_time_secs=time.time())
            for name, value in hparams.items():
                if isinstance(value, bool):
                    start.hparams[name].bool_value = value
                elif isinstance(value, int | float):
                    start.hparams[name].number_value = value
                else:
                    start.hparams[name].string_value = str(value)
            self._plugin("session_start_info", session_start_info=start)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
        self._write(event_pb2.Event(step=step, summary=summary))

    def end(self, success: bool) -> None:
        status = api_pb2.STATUS_SUCCESS if success else api_pb2.STATUS_FAILURE
        end = plugin_hparams_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
        self._plugin("session_end_info", session_end_info=end)

    def flush(self) -> None:
        self.writer.flush()

    def _plugin(self, tag: str, **content: Any) -> None:
        self._write(event_pb2.Event(summary=_plugin_summary(tag, **content)))

    def _write(self, event: event_pb2.Event) -> None:
        event.wall_time = time.time()
        self.writer.write_event(event)


def _plugin_summary(tag: str, **content: Any) -> Summary:
    data = plugin_hparams_pb2.HParamsPluginData(version=0, **content).SerializeToString()
    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=data)
    return Summary(value=[Summary.Value(tag=f"_hparams_/{tag}", metadata=SummaryMetadata(plugin_data=plugin))])


def write_experiment(folder: Path, examples: dict[str, Any], metrics: list[str]) -> None:
    """Declare a run's hparams and metrics to TensorBoard, in a file at the root that replaces the one before.

    TensorBoard takes the first declaration that it finds; a run that has grown may have more of both.

    Args:
      examples: a value of each hparam, for its type.
    """
    folder.mkdir(parents=True, exist_ok=True)
    delete(folder)
    experiment = api_pb2.Experiment()
    for name, value in examples.items():
        if isinstance(value, bool):
            kind = api_pb2.DATA_TYPE_BOOL
        elif isinstance(value, int | float):
            kind = api_pb2.DATA_TYPE_FLOAT64
        else:
            kind = api_pb2.DATA_TYPE_STRING
        experiment.hparam_infos.add(name=name, type=kind)
    for tag in metrics:
        experiment.metric_infos.add().name.tag = tag
    writer = EventsWriter(f"{SCHEME}:{folder}/events")
    summary = _plugin_summary("experiment", experiment=experiment)
    writer.write_event(event_pb2.Event(wall_time=time.time(), summary=summary))
    writer.close()


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """Return a member's measured values by (metric, step), as its event files have them.

    Raises:
      DamagedError: an event is not what was written.
    """
    found = {}
    for path in _files(folder):
        for event, _ in _events(path):
            values = (value for value in event.summary.value if not value.tag.startswith("_hparams_/"))
            found |= {(value.tag, event.step): value.simple_value for value in values}
    return found


def cut(folder: Path, step: int) -> None:
    """Drop a member's events past a step and its end, so that resumed curves have no second branch.

    Raises:
      DamagedError: an event is not what was written.
    """
    for path in _files(folder):
        kept = 0
        for event, end in _events(path):
            ended = any(value.tag == "_hparams_/session_end_info" for value in event.summary.value)
            if event.step > step or ended:
                break
            kept = end
        if kept < path.stat().st_size:
            with path.open("r+b") as file:
                file.truncate(kept)


def delete(folder: Path) -> None:
    """Delete a member's event files."""
    for path in _files(folder):
        path.unlink()


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("events.out.tfevents.*"))


def _events(path: Path) -> Iterator[tuple[event_pb2.Event, int]]:
    """Yield the events of a file, each with the offset of its end; skip one that a killed process left unfinished.

    An event's record: its length and that's checksum, its bytes and their checksum.
    """
    data, offset = path.read_bytes(), 0
    while offset + 12 <= len(data):
        header, (length,) = data[offset : offset + 8], struct.unpack_from("<Q", data, offset)
        start, end = offset + 12, offset + 12 + length + 4
        whole = struct.unpack_from("<I", data, offset + 8)[0] == masked_crc32c(header)
        if whole and end > len(data):
            return
        if not whole or struct.unpack_from("<I", data, end - 4)[0] != masked_crc32c(data[start : end - 4]):
            raise DamagedError(
                f"{path}: the event at byte {offset} is not what was written: its CRC-32C is another"
            )
        yield event_pb2.Event.FromString(data[start : end - 4]), end
        offset = end


def label(hparams: dict[str, Any], names: list[str]) -> str:
    """Return the values that distinguish a member from others: "learning_rate=0.001,seed=3"."""
    return ",".join(
        f"{name}={hparams[name]:.4g}" if isinstance(hparams[name], float) else f"{name}={hparams[name]}"
        for name in names
        if name in hparams
    )


def folder_name(number: int, hparams: dict[str, Any], varied: list[str]) -> str:
    """Return a name that sorts and is safe for a file: "0007-learning_rate=0.001,seed=3"."""
    safe = re.sub(r"[^\w.,=+-]", "_", label(hparams, varied)).encode()[:LABEL_BYTES].decode(errors="ignore")
    return f"{number:04d}-{safe}".rstrip("-")
