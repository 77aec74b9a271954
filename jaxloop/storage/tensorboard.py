"""TensorBoard events, a folder a member, in tensorboardX's Protocol Buffers: no thread and no descriptor held."""

# pyright: reportAttributeAccessIssue=false
# (generated protobuf modules carry no types)

import re
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from crc32c import crc32c

from jaxloop.errors import DamagedError
from jaxloop.storage import array_events
from jaxloop.storage.absent import absent
from jaxloop.sweep.catalog import REPLICATES

with absent("torch"):  # which tensorboardX loads where it is installed: a second of every start
    from tensorboardX.proto import api_pb2, event_pb2, plugin_hparams_pb2
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata

LABEL_BYTES = 120  # of a folder's name, of which file systems allow 255
MARKERS = np.array([0x11111111, 0x22222222], np.uint32).view(np.float32).tolist()  # floats that share no byte


class Events:
    """An event file that is open only while it is flushed, so that thousands can be written to.

    Args:
      folder: made if missing.
      edition: tells files apart that were begun in the same second; TensorBoard reads the later one last.
    """

    def __init__(self, folder: Path, edition: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}{edition}"
        self.pending = bytearray()
        self.write(event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2"))

    def write(self, event: event_pb2.Event) -> None:
        self.pending += _records(np.frombuffer(event.SerializeToString(), np.uint8)[None])[0]

    def flush(self) -> None:
        if self.pending:
            with self.path.open("ab") as file:
                file.write(self.pending)
            self.pending.clear()


def _records(events: np.ndarray) -> list[bytes]:
    """Return serialized events as records of a file: length, event, and a checksum after each.

    Args:
      events: (N, length) uint8.
    """
    length = struct.pack("<Q", events.shape[1])
    header, content = length + _checksum(length), memoryview(events.tobytes())
    checksums = _masked(np.array([crc32c(event) for event in _rows(content, events.shape[1])]))
    records = np.hstack(
        [
            np.tile(np.frombuffer(header, np.uint8), (len(events), 1)),
            events,
            checksums[:, None].view(np.uint8),
        ]
    )
    return list(_rows(records.tobytes(), records.shape[1]))


def _masked(checksums: np.ndarray) -> np.ndarray:
    """Return CRC-32C checksums as records have them, little-endian uint32: rotated by 15 bits, plus a constant."""
    found = checksums.astype(np.uint32)
    return ((found >> np.uint32(15) | found << np.uint32(17)) + np.uint32(0xA282EAD8)).astype("<u4")


def _checksum(data: bytes) -> bytes:
    return _masked(np.array([crc32c(data)])).tobytes()


def _rows(content: Any, length: int) -> Iterator[Any]:
    """Yield consecutive slices of `length` bytes."""
    return (content[start : start + length] for start in range(0, len(content), length))


def scalar_records(steps: np.ndarray, metrics: Mapping[str, np.ndarray]) -> list[bytes]:
    """Return the record of each member's measured values, for `MemberSummaries.append`.

    Protocol Buffers writes one event of each kind; in those of the other members only the bytes of their values
    differ. Made one by one, they took ten times as long (benchmarks/LOG.md).

    Args:
      steps: (K,) of the members.
      metrics: by name, (K,) values; NaN where nothing was measured.
    """
    names = np.array(list(metrics))
    values = np.stack([np.asarray(column, "<f4") for column in metrics.values()], axis=1)
    measured = ~np.isnan(values)
    kinds: dict[bytes, list[int]] = {}
    keys = np.column_stack([steps, measured])
    for row, key in enumerate(_rows(keys.tobytes(), keys[0].nbytes) if len(keys) else ()):
        kinds.setdefault(key, []).append(row)
    records, now = [b""] * len(values), time.time()
    for rows in kinds.values():
        has, step = measured[rows[0]], int(steps[rows[0]])
        one, other = (_template(step, now, names[has].tolist(), marker) for marker in MARKERS)
        events = np.tile(one, (len(rows), 1))
        events[:, one != other] = np.ascontiguousarray(values[rows][:, has]).view(np.uint8)
        for row, record in zip(rows, _records(events), strict=True):
            records[row] = record
    return records


def _template(step: int, time: float, tags: list[str], value: float) -> np.ndarray:
    """Return the bytes of an event whose scalars all have one value."""
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag in tags])
    event = event_pb2.Event(wall_time=time, step=step, summary=summary)
    return np.frombuffer(event.SerializeToString(), np.uint8)


class MemberSummaries:
    """The events of one member.

    Args:
      folder: made if missing.
      hparams: shown in TensorBoard's HPARAMS tab, in one row with all members of the same `group`.
      group: the name of that row.
    """

    def __init__(self, folder: Path, hparams: dict[str, Any], group: str) -> None:
        is_new = not files(folder)
        self.events = Events(folder)
        if is_new:
            start = plugin_hparams_pb2.SessionStartInfo(group_name=group, start_time_secs=time.time())
            for name, value in hparams.items():
                if isinstance(value, bool):
                    start.hparams[name].bool_value = value
                elif isinstance(value, int | float):
                    start.hparams[name].number_value = value
                else:
                    start.hparams[name].string_value = str(value)
            self._plugin("session_start_info", session_start_info=start)

    def append(self, record: bytes) -> None:
        """Add a point of all curves, as `scalar_records` gives it."""
        self.events.pending += record

    def append_arrays(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Add what can be shown of measured arrays, by metric."""
        if summary := array_events.shown(arrays):
            self.events.write(event_pb2.Event(wall_time=time.time(), step=step, summary=summary))

    def end(self, success: bool) -> None:
        status = api_pb2.STATUS_SUCCESS if success else api_pb2.STATUS_FAILURE
        end = plugin_hparams_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
        self._plugin("session_end_info", session_end_info=end)

    def flush(self) -> None:
        self.events.flush()

    def _plugin(self, tag: str, **content: Any) -> None:
        self.events.write(event_pb2.Event(wall_time=time.time(), summary=hparams_summary(tag, **content)))


def hparams_summary(tag: str, **content: Any) -> Summary:
    """Return what the HPARAMS tab reads."""
    data = plugin_hparams_pb2.HParamsPluginData(version=0, **content).SerializeToString()
    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=data)
    return Summary(value=[Summary.Value(tag=f"_hparams_/{tag}", metadata=SummaryMetadata(plugin_data=plugin))])


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """Return a member's measured values by (metric, step), as its event files have them.

    Raises:
      DamagedError: an event is not what was written.
    """
    found = {}
    for path in files(folder):
        for event, _ in _events(path):
            values = (value for value in event.summary.value if value.WhichOneof("value") == "simple_value")
            found |= {(value.tag, event.step): value.simple_value for value in values}
    return found


def cut(folder: Path, step: int) -> None:
    """Drop a member's events past a step and its end, so that resumed curves have no second branch.

    Raises:
      DamagedError: an event is not what was written.
    """
    for path in files(folder):
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
    for path in files(folder):
        path.unlink()


def files(folder: Path) -> list[Path]:
    """Return the event files in a folder, the oldest first."""
    return sorted(folder.glob("events.out.tfevents.*"))


def _events(path: Path) -> Iterator[tuple[event_pb2.Event, int]]:
    """Yield the events of a file, each with the offset of its end; skip one that a killed process left unfinished.

    A record is the event's length and the length's checksum, then the event and its checksum.
    """
    data, offset = path.read_bytes(), 0
    while offset + 12 <= len(data):
        header, (length,) = data[offset : offset + 8], struct.unpack_from("<Q", data, offset)
        start, end = offset + 12, offset + 12 + length + 4
        whole = data[offset + 8 : start] == _checksum(header)
        if whole and end > len(data):
            return
        if not whole or data[end - 4 : end] != _checksum(data[start : end - 4]):
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


def group_name(hparams: dict[str, Any], varied: list[str], config: str) -> str:
    """Return the name of a config's row in the HPARAMS tab: what distinguishes it, and enough of its hash."""
    named = label(hparams, [name for name in varied if name not in REPLICATES])
    return f"{named or 'all'} · {config[:4]}"


def folder_name(number: int, hparams: dict[str, Any], varied: list[str]) -> str:
    """Return a name that sorts and is safe for a file: "0007-learning_rate=0.001,seed=3"."""
    return f"{number:04d}-{folder_label(hparams, varied)}".rstrip("-")


def folder_label(hparams: dict[str, Any], names: list[str]) -> str:
    """Return `label` in letters that are safe in a file's name, and not too many of them."""
    return re.sub(r"[^\w.,=+-]", "_", label(hparams, names)).encode()[:LABEL_BYTES].decode(errors="ignore")
