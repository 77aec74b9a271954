"""A run's `summary` folder: a few TensorBoard runs about all members together, rebuilt from the store.

Nothing is lost with it: it is written without care for crashes, and seldom enough to cost nothing.
"""

# pyright: reportAttributeAccessIssue=false
# (generated protobuf modules carry no types)

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxloop.formatting import in_order, value
from jaxloop.storage import tensorboard
from jaxloop.storage.absent import absent
from jaxloop.storage.ledger import incumbent
from jaxloop.storage.ranking import RankedConfig, metrics_in_order, ranked, with_finite_mean
from jaxloop.storage.records import Status
from jaxloop.storage.store import Store
from jaxloop.sweep.catalog import direction

with absent("torch"):
    from tensorboardX.proto import event_pb2, layout_pb2
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboardX.proto.tensor_pb2 import TensorProto

BEST = 8  # configs with curves of their own
OTHERS = 6  # TensorBoard runs beside these: quantiles, the best, counts, tables
QUANTILES = {"quantile-10": 0.1, "quantile-50": 0.5, "quantile-90": 0.9}
SHARE = 0.01  # of a run's time that writing may take, before its end
FEW = 16  # values of an axis that a table lists
ESCAPES = {ord(letter): f"&#{ord(letter)};" for letter in "|<>&`*_[]\n"}  # of Markdown and HTML
STRING = 7  # DT_STRING of TensorFlow's types.proto


class Aggregates:
    """The writer of one `summary` folder.

    Args:
      best: how many configs have curves of their own.
    """

    def __init__(self, folder: Path, best: int = BEST) -> None:
        self.folder, self.best = folder, best
        self.ended, self.took, self.edition = -math.inf, 0.0, 0

    def refresh(self, store: Store) -> None:
        """Write the folder, unless it was written so lately that this would slow training."""
        if time.monotonic() - self.ended > self.took / SHARE:
            self.write(store)

    def write(self, store: Store) -> None:
        """Write the folder as the store is now; files of before are deleted once the new ones are there."""
        begun = time.monotonic()
        before = {path for path in self.folder.rglob("events.out.tfevents.*")} if self.folder.is_dir() else set()
        self.edition += 1
        with store.read_transaction():
            written = _Writer(self.folder, f".{self.edition:06d}", store, self.best).write()
        for path in before - written:
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        self.ended = time.monotonic()
        self.took = self.ended - begun


class _Writer:
    def __init__(self, folder: Path, edition: str, store: Store, best: int) -> None:
        self.folder, self.edition, self.store = folder, edition, store
        self.metrics = metrics_in_order(store)
        self.written: set[Path] = set()
        self.configs = with_finite_mean(ranked(store, so_far=store.trains))
        self.best = self.configs[:best]

    def write(self) -> set[Path]:
        """Write all runs of the folder, and return their files."""
        self._curves()
        self._counts()
        self._overview()
        return self.written

    def _curves(self) -> None:
        """Write quantiles over all members, and mean and standard error over the seeds of the best configs."""
        runs: dict[str, dict[str, dict[int, float]]] = {}
        for metric in self.metrics:
            steps, values = self.store.evaluation_curves(metric)
            if len(values) == 0 or (np.isfinite(values).sum(1) <= 1).all():
                continue  # a curve of one point is no curve: the overview has it as text
            measured = np.isfinite(values).any(0)
            steps, values = steps[measured], values[:, measured]
            for name, curve in _quantiles(values, self._mode(metric)).items():
                runs.setdefault(name, {})[metric] = _points(steps.tolist(), curve)
            for place, config in enumerate(self.best, 1):
                tags = runs.setdefault(f"config-{place}-{self._label(config)}", {})
                at, mean, error = _over_seeds(steps, values[config.members])
                tags[metric] = _points(at, mean)
                if metric == self.store.metric and len(config.members) > 1:
                    tags[_band(metric, "lower")] = _points(at, mean - error)
                    tags[_band(metric, "upper")] = _points(at, mean + error)
        for name, tags in runs.items():
            self._scalars(name, tags)

    def _mode(self, metric: str) -> str | None:
        return self.store.mode if metric == self.store.metric else direction(metric)

    def _label(self, config: RankedConfig) -> str:
        return tensorboard.folder_label(config.hparams, self.store.axes) or "all"

    def _counts(self) -> None:
        """Write how many members were in training, finished, stopped and diverged after each turn."""
        members, turns = self.store.members(), self.store.turns()
        if not turns:
            return
        last = max(max(began, ended or 0) for began, ended in turns.values())
        found = {status: np.zeros(last + 2, int) for status in (Status.FINISHED, Status.STOPPED, Status.DIVERGED)}
        active = np.zeros(last + 2, int)
        for number, (began, ended) in turns.items():
            active[began] += 1
            if ended is not None:
                active[ended] -= 1
                found[members[number].status][ended] += 1
        first = min(began for began, _ in turns.values())
        curves = {"in training": active, **{str(status): counts for status, counts in found.items()}}
        at = range(first, last + 1)
        self._scalars(
            "counts", {f"turns/{n}": _points(at, counts.cumsum()[first:-1]) for n, counts in curves.items()}
        )

    def _scalars(self, run: str, tags: Mapping[str, Mapping[int, float]]) -> None:
        """Write a run of scalars, by tag and step."""
        events = self._events(run)
        for step in sorted({step for points in tags.values() for step in points}):
            values = [
                Summary.Value(tag=tag, simple_value=points[step])
                for tag, points in tags.items()
                if step in points and math.isfinite(points[step])
            ]
            events.write(event_pb2.Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        events.flush()

    def _overview(self) -> None:
        """Write the tables, and the layout of the CUSTOM SCALARS tab: the best configs' means with their bands."""
        events = self._events("overview")
        metric = self.store.metric
        chart = layout_pb2.Chart(
            title=f"{metric}: mean of the best configs, ± 1 standard error over seeds",
            margin=layout_pb2.MarginChartContent(
                series=[
                    layout_pb2.MarginChartContent.Series(
                        value=metric, lower=_band(metric, "lower"), upper=_band(metric, "upper")
                    )
                ]
            ),
        )
        layout = layout_pb2.Layout(category=[layout_pb2.Category(title="best configs", chart=[chart])])
        values = [
            _text("custom_scalars__config__", "custom_scalars", layout.SerializeToString()),
            _text("overview/text_summary", "text", self._tables().encode()),
        ]
        events.write(event_pb2.Event(wall_time=time.time(), step=0, summary=Summary(value=values)))
        events.flush()

    def _tables(self) -> str:
        """Return the best configs, and each axis with the best config at each of its values, in Markdown."""
        store, names = self.store, self.store.axes
        shown = [store.metric, *(name for name in self.metrics if name.startswith("test/"))]
        speed = f"{store.member_steps / store.seconds:,.0f} member-steps per second" if store.seconds else ""
        counts = ", ".join(f"{count} {status}" for status, count in store.counts().items() if count)
        parts = [f"**{_cell(store.name)}**: {counts}. {speed}", *_of_a_loop(store.ledger()), "### Best configs"]
        rows = [self._cells(config, names, shown) for config in self.best]
        parts.append(_table([*names, *_headings(shown), "members"], rows))
        for name in names:
            firsts: dict[object, RankedConfig] = {}  # they are ranked: the first of a value is its best
            for config in self.configs:
                if name in config.hparams:
                    firsts.setdefault(config.hparams[name], config)
            if 1 < len(firsts) <= FEW:
                rows = [self._cells(firsts[value], [name], shown) for value in in_order(firsts)]
                parts += [
                    f"### {_cell(name)}: the best config at each value",
                    _table([name, *_headings(shown), "members"], rows),
                ]
        return "\n\n".join(parts)

    def _cells(self, config: RankedConfig, names: Sequence[str], shown: Sequence[str]) -> list[object]:
        measured = [config.metrics.get(name) for name in shown]
        measured.insert(1, config.standard_error)
        return [*(config.hparams.get(name) for name in names), *measured, config.members_in_words()]

    def _events(self, run: str) -> tensorboard.Events:
        events = tensorboard.Events(self.folder / run, self.edition)
        self.written.add(events.path)
        return events


def _headings(shown: Sequence[str]) -> list[str]:
    """Return the names of metrics, the ranked one followed by its standard error."""
    return [shown[0], "± s.e.", *shown[1:]]


def _of_a_loop(ledger: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a loop's incumbent, and the closing audit's verdict, each in a paragraph."""
    now = ", ".join(f"{_cell(name)}={_cell(each)}" for name, each in incumbent(ledger).items())
    audits = [record for record in ledger if record["kind"] == "audit" and "effect" in record]
    audited = [
        f"**Audit**: {each['verdict']}, {each['effect']:+.4g} [{each['low']:+.4g}, {each['high']:+.4g}] over the "
        f"baseline on {each['n']} fresh seeds"
        for each in audits[-1:]
    ]
    return [*([f"**Incumbent**: {now}"] if now else []), *audited]


def _quantiles(values: np.ndarray, mode: str | None) -> dict[str, np.ndarray]:
    """Return the quantiles over members of (members, points) values, and the best of each where that is known."""
    found = dict(zip(QUANTILES, np.nanquantile(values, [*QUANTILES.values()], axis=0), strict=True))
    if mode:
        found["best"] = np.nanmax(values, axis=0) if mode == "max" else np.nanmin(values, axis=0)
    return found


def _over_seeds(steps: np.ndarray, values: np.ndarray) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Return the steps at which any of a config's members was measured, their mean there and its standard error.

    Args:
      steps: (points,).
      values: (members, points) of the config; NaN where a member was not measured.

    Returns:
      The steps; (steps,) means; (steps,) standard errors, 0 where one member was measured.
    """
    measured = np.isfinite(values).any(0)
    values = values[:, measured].astype(np.float64)  # squares of large float32 overflow
    count, mean = np.isfinite(values).sum(0), np.nanmean(values, axis=0)
    variance = np.nansum((values - mean) ** 2, axis=0) / np.maximum(count - 1, 1)
    return steps[measured].tolist(), mean, np.sqrt(variance / count)


def _points(steps: Iterable[int], curve: np.ndarray) -> dict[int, float]:
    """Return a curve by step."""
    return dict(zip(steps, curve.tolist(), strict=True))


def _band(metric: str, end: str) -> str:
    return f"with standard error/{metric}/{end}"  # "w": after the metrics themselves


def _text(tag: str, plugin: str, content: bytes) -> Summary.Value:
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin))
    return Summary.Value(tag=tag, metadata=metadata, tensor=TensorProto(dtype=STRING, string_val=[content]))


def _table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown; what is in a cell stays there, whatever it holds."""
    lines = [
        [_cell(name) for name in names],
        ["---"] * len(names),
        *([_cell(value) for value in row] for row in rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(content: object) -> str:
    return value(content).translate(ESCAPES)
