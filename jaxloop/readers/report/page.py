"""A page as one HTML file with its data, styles, scripts and ECharts; it needs no network access."""

import html
import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

PARTS = files("jaxloop.readers.report")
SCRIPTS = ("echarts.min.js", "charts.js", "table.js", "sweep.js", "loop.js", "compare.js", "page.js")


def page(runs: Sequence[Mapping[str, Any]], comparisons: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return a page about runs.

    Args:
      runs: what `results` gives of each, with `headline`, `findings` and `importances` beside it.
      comparisons: of the first run with each of the others.
    """
    title = " · ".join(str(run["name"]) for run in runs)
    data = {"runs": list(runs), "comparisons": list(comparisons)}
    filled = {
        "{{title}}": html.escape(title),
        "{{style}}": _read("page.css"),
        "{{data}}": _json(data),
        "{{scripts}}": "\n".join(f"<script>\n{_read(name)}\n</script>" for name in SCRIPTS),
    }
    text = _read("page.html")
    for mark, content in filled.items():
        before, _, after = text.rpartition(mark)
        text = before + content + after
    return text


def _read(name: str) -> str:
    return PARTS.joinpath(name).read_text(encoding="utf-8")


def _json(data: Any) -> str:
    """Return strict JSON that no HTML parser takes for a tag; what is not finite is null."""
    return json.dumps(_plain(data), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
