"""Plots as SVG, to be placed inside of a page. The same data give the same text."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RIGHT, _WRONG = "#0f766e", "#be4830"
_HISTOGRAM_SIZE = (7.0, 2.2)
_CELL = 40.0 / 72.0  # 40 points, in inches
_LONGEST_LABEL = 22
# Text stays text, in the fonts of the page. Names are no formulas, even if they hold a dollar sign.
_SETTINGS: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "geoseg", "text.parse_math": False,
    "font.size": 10.0, "font.sans-serif": ["DejaVu Sans"],
}  # fmt: skip
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def histogram(values: NDArray[np.floating], bins: int) -> Markup:
    """Return a histogram of shares.

    Args:
        values: (N,), 0..1.
        bins: Number of equal bins.
    """

    def draw(axes: Axes) -> None:
        counts, edges = np.histogram(values, bins, (0.0, 1.0))
        bars = axes.bar(edges[:-1], counts, 0.92 / bins, align="edge", color=_RIGHT, clip_on=False)
        for number, bar in enumerate(bars):
            bar.set_gid(f"bar-{number}")
        axes.bar_label(bars, [str(number) if number else "" for number in counts.tolist()])
        axes.set(xlim=(0.0, 1.0), yticks=())
        axes.set_xticks((0.0, 0.25, 0.5, 0.75, 1.0), ("0", "0.25", "0.5", "0.75", "1"))

    return _draw(_HISTOGRAM_SIZE, draw)


def confusion_matrix(
    shares: NDArray[np.floating],
    right: NDArray[np.bool_],
    rows: Sequence[str],
    columns: Sequence[str],
) -> Markup:
    """Return a confusion matrix as a heat map.

    Args:
        shares: Share of each class of the reference (row) that each class of the result (column)
            takes, (R, C), 0..1.
        right: Cells whose two classes are the same, (R, C).
        rows: Names of the rows.
        columns: Names of the columns.
    """
    from matplotlib.colors import to_rgb  # noqa: PLC0415

    height, width = shares.shape

    def draw(axes: Axes) -> None:
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.set_yticks(np.arange(height) + 0.5, [_short(name) for name in rows])
        axes.xaxis.tick_top()
        axes.set_xticks(np.arange(width) + 0.5, [_short(name) for name in columns])
        for label in axes.get_xticklabels():
            label.set(rotation=50.0, horizontalalignment="left", rotation_mode="anchor")
        colors = np.where(right[..., None], to_rgb(_RIGHT), to_rgb(_WRONG))
        opacity = np.where(shares > 0, 0.1 + 0.65 * shares, 0.0)
        axes.pcolormesh(np.concatenate([colors, opacity[..., None]], axis=2), clip_on=False)
        for (row, column), share in np.ndenumerate(shares):
            if share:
                text = "<1%" if share < 0.005 else f"{share:.0%}"
                written = axes.text(column + 0.5, row + 0.5, text, ha="center", va="center")
                written.set_in_layout(False)

    return _draw((width * _CELL, height * _CELL), draw)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_LABEL else name[: _LONGEST_LABEL - 1] + "…"


def _draw(size: tuple[float, float], draw: Callable[[Axes], None]) -> Markup:
    """Return a figure of one plot, with its axes filling ``size`` inches."""
    # Slow to import, and only reports need it.
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    stream = io.StringIO()
    with rc_context(_SETTINGS), warnings.catch_warnings():
        # The page's fonts have letters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=size)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        draw(axes)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        figure.savefig(
            stream, format="svg", metadata=_NO_METADATA, transparent=True, bbox_inches="tight"
        )
    text = stream.getvalue()
    # Matplotlib escapes the names in the drawing.
    return Markup(text[text.index("<svg") :])  # noqa: S704  # nosec B704
