"""The largest, the leftmost and the like of everything that tiles found.

An overview of a large extent shows things too small to be told apart, let alone compared. What a
superlative compares can be measured instead: everything of the kind is asked tile by tile, and of
the connected parts of the answer the ones are kept that the superlative means. The rule for the
words is in English: *[the] [two] largest* and a name of which nothing more is told.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from geoseg_qgis.engine.methods.dense import Progress, share_of
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.vector.components import Components, find_components, labelled_bands
from geoseg_qgis.engine.vector.measure import pixel_areas

from .one_thing import name_of, plural_of
from .tiling import ProbabilityFile
from .view_choice import VERBS, WORD

FEWEST_PIXELS = 64
"""Pixels of the base grid that a part needs to be compared; less is no thing but noise."""
_COUNTS = {
    word: count
    for count, word in enumerate(
        ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), start=2
    )
}
_EDGE = 2
_ENDINGS = ("image", "picture", "photo", "scene", "map", "extent")

_MEASURED = ("largest", "smallest", "leftmost", "rightmost", "topmost", "bottommost")
_SAME = {
    "biggest": "largest", "greatest": "largest", "tiniest": "smallest",
    "uppermost": "topmost", "lowermost": "bottommost",
}  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """What a superlative compares.

    Attributes:
        word: The superlative, one of those that can be measured.
        everything: Instruction that means everything that is compared.
        count: How many are meant.
    """

    word: str
    everything: str
    count: int = 1


def comparison_of(instruction: str) -> Comparison | None:
    """Return what an instruction compares, None for anything but a plain superlative."""
    words = [word.casefold() for word in WORD.findall(instruction)]
    said = list(itertools.dropwhile(VERBS.__contains__, words))
    if said[-3:-1] in (["of", "the"], ["in", "the"]) and said[-1] in _ENDINGS:
        said = said[:-3]
    if said[:1] == ["the"]:
        said = said[1:]
    count = 1
    if said and (said[0] in _COUNTS or said[0].isdigit()):
        count = _COUNTS.get(said[0]) or int(said[0])
        said = said[1:]
    word = _SAME.get(said[0], said[0]) if said else ""
    name = said[1:]
    if word not in _MEASURED or not name or count < 1 or name_of(name) != name:
        return None
    return Comparison(word, " ".join(["all", *name[:-1], plural_of(name[-1])]), count)


def keep_compared(
    file: ProbabilityFile,
    grid: Grid,
    threshold: float,
    comparison: Comparison,
    progress: Progress,
) -> int:
    """Keep what a comparison means; all else becomes 0 in the file.

    Args:
        file: Probabilities of everything that is compared.
        grid: Their pixels.
        threshold: Probability above which a pixel belongs to a part.
        comparison: What is meant.
        progress: Told the finished fraction; may raise to stop.

    Returns:
        The number of parts that were left out.
    """

    def found(window: Window) -> NDArray[np.uint8]:
        above: NDArray[np.bool_] = np.nan_to_num(file.read(window)) > np.float32(threshold)
        return above.astype(np.uint8)

    parts = find_components(grid.shape, found, None, share_of(progress, 0.0, 0.5))
    areas = parts.pixels * pixel_areas(grid, parts.columns - 0.5, parts.rows - 0.5)
    things = np.flatnonzero(parts.pixels >= FEWEST_PIXELS)
    if not len(things):
        things = np.arange(len(parts.pixels))
    fit = _fit(comparison.word, parts, areas)[things]
    kept = np.zeros(len(parts.pixels) + 1, np.bool_)
    kept[things[np.argsort(-fit, kind="stable")[: comparison.count]]] = True
    numbers = np.where(kept[parts.joins], np.int32(2), np.int32(1))
    written = share_of(progress, 0.5, 1.0)
    for window, labels in labelled_bands(grid.shape, found, numbers):
        # Pixels around a part draw its outline between them; those around the others go with them.
        near = ndimage.binary_dilation(labels == 2, iterations=_EDGE) & (labels != 1)
        probability = file.read(window)
        dropped = np.isfinite(probability) & ~near
        file.write(window, np.where(dropped, np.float32(0.0), probability))
        written((window.row_off + window.height) / grid.height)
    return max(len(things) - comparison.count, 0)


def _fit(word: str, parts: Components, areas: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is the greater, the more a superlative means a part: (n,)."""
    measures = {
        "largest": areas,
        "smallest": -areas,
        "leftmost": -parts.columns,
        "rightmost": parts.columns,
        "topmost": -parts.rows,
        "bottommost": parts.rows,
    }
    return measures[word]
