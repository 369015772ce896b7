"""What every run on imagery reports: pixel size, unknown words, places that cannot be read."""

from __future__ import annotations

from collections.abc import Iterable

from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.fill_values import is_washed_out, suspected_fill
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.source import Raster
from geoseg_qgis.engine.raster.stretch import LinearStretch
from geoseg_qgis.engine.zoo.card import PixelSize
from geoseg_qgis.engine.zoo.vocabulary import Vocabulary

from .chips import ChipReader

_SAMPLED_PIXELS = 200_000
POOR_RESULTS = "Expect poor results, or choose another model."


def report_pixel_size(
    title: str,
    grid: Grid,
    made_for: PixelSize | None,
    context: JobContext,
    *,
    shrink: float = 1.0,
    advice: str = POOR_RESULTS,
) -> None:
    """Report the pixel size that a model reads, and warn when it was made for finer pixels.

    Args:
        title: Of the model.
        grid: Grid that the network reads.
        made_for: Pixel sizes of the model, None when any will do.
        context: Takes the messages.
        shrink: How much longer the pixels are than those of ``grid``.
        advice: One or two sentences: what to expect and what to do.
    """
    size = grid.ground_pixel_size()
    if size is None:
        return
    pixel = max(size) * shrink
    reads = f"{title} reads the image at {pixel:.3g} m per pixel"
    context.info(f"{reads}.")
    if made_for is not None and pixel > made_for.coarsest:
        made = f"{made_for.finest:g} to {made_for.coarsest:g} m"
        context.warn(f"{reads}, but it was made for {made}. {advice}")


def report_unknown_words(
    title: str,
    vocabulary: Vocabulary,
    unknown: Iterable[str],
    another_model: str,
    context: JobContext,
) -> None:
    """Warn of words that a model does not know, and suggest similar ones that it does.

    Args:
        title: Of the model.
        vocabulary: The words it knows.
        unknown: Those it does not know; nothing is reported without any.
        another_model: Which model to choose instead, for example ``a bigger model``.
        context: Takes the message.
    """
    words = list(dict.fromkeys(unknown))
    if not words:
        return
    similar = sorted({near for word in words for near in vocabulary.similar_words(word)})
    examples = f" such as {', '.join(similar)}" if similar else ""
    context.warn(
        f"{title} does not know {', '.join(words)}: its result is a guess. "
        f"Use other words{examples}, or {another_model}."
    )


def report_stretch(raster: Raster, grid: Grid, stretch: LinearStretch, context: JobContext) -> None:
    """Warn where undeclared no-data values spoil the contrast stretch of a run.

    8-bit values that pass as they are have no limits that could be spoilt.

    Args:
        raster: Open raster.
        grid: Part that is processed.
        stretch: That of the run.
        context: Takes the message.
    """
    if stretch.unchanged:
        return
    patch = raster.sample(grid, _SAMPLED_PIXELS)
    fill = suspected_fill(patch)
    if fill is not None and any(fill[0] in limits for limits in stretch.limits):
        context.warn(
            f"{fill[1]:.0%} of the pixels hold {fill[0]:g}, far from all other values, and the "
            f"contrast stretch reaches to it. If they hold no data, add {fill[0]:g} to the "
            "no-data values of the layer (--nodata on the command line) and run again."
        )
    elif is_washed_out(patch, stretch):
        limits = "; ".join(f"{low:g} to {high:g}" for low, high in stretch.limits)
        context.warn(
            f"With the contrast stretch ({limits}) nearly all pixels have the same few grey "
            "levels. Set narrower limits in the layer's style, or choose another stretch."
        )


def report_unreadable(reader: ChipReader, consequence: str, context: JobContext) -> None:
    """Warn of the places of the raster that could not be read.

    Args:
        reader: Remembers them.
        consequence: What became of them, for example ``stay unclassified``.
        context: Takes the message.
    """
    failures = sorted(set(reader.failures))
    if failures:
        context.warn(
            f"Places of the raster that could not be read and {consequence}: {len(failures)}. "
            f"{failures[0]} Repair the file, then run again."
        )
