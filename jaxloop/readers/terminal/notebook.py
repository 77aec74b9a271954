"""The live panel in a notebook: an output of the cell that is replaced as the run goes, without widgets."""

import io
from collections.abc import Callable
from typing import Any

from rich.console import Console, RenderableType

COLUMNS = 110


class NotebookLive:
    """What the panel uses of `rich.live.Live`, whose own needs ipywidgets in a notebook."""

    def __init__(self, get_renderable: Callable[[], RenderableType]) -> None:
        self.get_renderable = get_renderable
        self.is_started = False
        self.shown: Any = None

    def start(self) -> None:
        """Begin an output of the cell."""
        from IPython.display import HTML, display

        self.shown = display(HTML(self._html()), display_id=True)
        self.is_started = True

    def refresh(self) -> None:
        """Replace the output by the panel as of now."""
        from IPython.display import HTML

        self.shown.update(HTML(self._html()))

    def stop(self) -> None:
        """Remove the output."""
        from IPython.display import HTML

        self.shown.update(HTML(""))
        self.is_started = False

    def _html(self) -> str:
        recorder = Console(record=True, file=io.StringIO(), width=COLUMNS, force_jupyter=False)
        recorder.print(self.get_renderable())
        return recorder.export_html(inline_styles=True, code_format='<pre style="line-height: 1.2">{code}</pre>')
