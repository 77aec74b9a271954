"""A matplotlib figure made without pyplot, which would keep it, and that a notebook shows all the same."""

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


class OwnFigure(Figure):
    """A figure with one plot, as `axes[0]`."""

    def __init__(self, title: str) -> None:
        super().__init__(figsize=(6.4, 4.2), layout="constrained")
        FigureCanvasAgg(self)
        self.subplots().set_title(title, fontsize=10, parse_math=False)

    def _repr_png_(self) -> bytes:
        """Show a notebook the picture: it knows by itself of pyplot's figures alone."""
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=100)
        return file.getvalue()
