"""The largest, the leftmost and the like of everything that tiles found.

An overview of a large extent shows things too small to be told apart, let alone compared. What a
superlative compares can be measured instead: everything of the kind is asked tile by tile, and of
the connected parts of the answer the ones are kept that the superlative means. The rule for the
words is in English: *[the] [two] largest* and a name of which nothing more is told.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from geoseg_qgis.engine.progress import Progress, share_of
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.vector.components import (
    Components,
    ReadClasses,
    find_components,
    labelled_bands,
)
from geoseg_qgis.engine.vector.measure import pixel_areas

from .prompts import TaskChoice
from .tiling import ProbabilityFile
from .view_choice import is_superlative
from .wording import JOINING, is_counted, is_number, is_plural, name_of, plural_of, words_of

_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_COUNTS = {word: count for count, word in enumerate(_NUMBERS, start=2)}
_ENDINGS = ("image", "picture", "photo", "scene", "map", "extent")
_MEASURED = ("largest", "smallest", "leftmost", "rightmost", "topmost", "bottommost")
_SAME = {
    "biggest": "largest", "greatest": "largest", "tiniest": "smallest",
    "uppermost": "topmost", "lowermost": "bottommost",
}  # fmt: skip
_FEWEST_PIXELS = 9
_LEAST_AREA = 4.0
_LEAST_SHARE = 0.1
_EDGE = 2


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


@dataclass(frozen=True)
class Compared:
    """What became of the parts that were compared: how many were kept, and how many not."""

    kept: int
    left_out: int


def comparison_of(
    instruction: str, task: TaskChoice = "auto", knows: Callable[[str], bool] | None = None
) -> Comparison | None:
    """Return what an instruction compares, None for anything but a plain superlative.

    Args:
        instruction: What is asked.
        task: How it is meant; ``reasoning`` counts as a question.
        knows: Whether the network knows a word; it is asked for a singular if it knows no plural.
    """
    said = words_of(instruction, task) or []
    if said[-3:-1] in (["of", "the"], ["in", "the"]) and said[-1] in _ENDINGS:
        said = said[:-3]
    if said[:1] == ["the"]:
        said = said[1:]
    counts = [word for word in said[:2] if is_number(word)]
    said = [word for index, word in enumerate(said) if index > 1 or not is_number(word)]
    word, name = _SAME.get(said[0], said[0]) if said else "", said[1:]
    if word not in _MEASURED or not name or name_of(name) != name or len(counts) > 1:
        return None
    if any(one in JOINING | {"the", "a", "an"} or is_number(one) for one in name):
        return None
    noun, several = name[-1], is_plural(name[-1])
    if any(is_plural(one) for one in name[:-1]) or any(is_superlative(one) for one in name):
        return None
    # "The largest buildings" leaves open how many.
    count = _count_of(counts[0]) if counts else 1
    if count is None or (several and count == 1) or not (several or is_counted(noun)):
        return None
    plural = plural_of(noun)
    asked = plural if knows is None or knows(plural) or not knows(noun) else noun
    return Comparison(word, " ".join(["all", *name[:-1], asked]), count)


def keep_compared(
    file: ProbabilityFile,
    grid: Grid,
    threshold: float,
    comparison: Comparison,
    progress: Progress,
) -> Compared:
    """Keep what a comparison means; all else becomes 0 in the file.

    Parts that are hardly a thing are not compared as long as there are others: those of less than
    9 pixels, of 4 square metres, or of a tenth of the median. What the border or unknown pixels cut
    is not the smallest.

    Args:
        file: Probabilities of everything that is compared.
        grid: Their pixels.
        threshold: Probability above which a pixel belongs to a part.
        comparison: What is meant.
        progress: Told the finished fraction; may raise to stop.
    """

    def found(window: Window) -> NDArray[np.uint8]:
        above: NDArray[np.bool_] = np.nan_to_num(file.read(window)) > np.float32(threshold)
        return above.astype(np.uint8)

    parts = find_components(grid.shape, found, None, share_of(progress, 0.0, 0.4))
    areas = parts.pixels * pixel_areas(grid, parts.columns - 0.5, parts.rows - 0.5)
    compared = (parts.pixels >= _FEWEST_PIXELS) & (areas >= _LEAST_AREA)
    if compared.any():
        compared &= areas >= _LEAST_SHARE * np.median(areas[compared])
    if comparison.word == "smallest":
        cut = np.zeros(len(areas), np.bool_)
        cut[_cut_parts(file, found, parts)] = True
        compared &= ~cut
    # Those that should not be compared come last.
    order = np.lexsort((-_fit(comparison.word, parts, areas), ~compared))
    kept = np.zeros(len(areas) + 1, np.bool_)
    kept[order[: comparison.count]] = True
    numbers = np.where(kept[parts.joins], np.int32(2), np.int32(1))
    written = share_of(progress, 0.4, 1.0)
    for window, near in _around(labelled_bands(grid.shape, found, numbers)):
        probability = file.read(window)
        dropped = np.isfinite(probability) & ~near
        file.write(window, np.where(dropped, np.float32(0.0), probability))
        written((window.row_off + window.height) / grid.height)
    count = int(kept.sum())
    return Compared(count, len(areas) - count)


def _count_of(word: str) -> int | None:
    if word.isdecimal():
        return int(word) or None
    return _COUNTS.get(word)


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


def _cut_parts(file: ProbabilityFile, found: ReadClasses, parts: Components) -> NDArray[np.int64]:
    """Return the indices of parts that the border of the grid or unknown pixels may cut."""
    height, width = parts.shape
    touched = [np.zeros(0, np.int32)]
    for window, labels in labelled_bands(parts.shape, found, parts.joins + np.int32(1)):
        outside = ndimage.binary_dilation(np.isnan(file.read(window)))
        outside[:, [0, width - 1]] = True
        outside[0] |= window.row_off == 0
        outside[-1] |= window.row_off + window.height == height
        touched.append(np.unique(labels[outside]))
    numbers = np.unique(np.concatenate(touched))
    return numbers[numbers > 0].astype(np.int64) - 1


def _around(
    bands: Iterator[tuple[Window, NDArray[np.int32]]],
) -> Iterator[tuple[Window, NDArray[np.bool_]]]:
    """Yield which pixels are of a part numbered 2 or draw its outline, a band behind the labels."""
    window, labels = next(bands)
    nothing = np.zeros((0, labels.shape[1]), np.int32)
    above: NDArray[np.bool_] = nothing == 2
    for following, below in itertools.chain(bands, [(window, nothing)]):
        kept = labels == 2
        rows = [above[-_EDGE:], kept, below[:_EDGE] == 2]
        near = ndimage.binary_dilation(np.concatenate(rows), iterations=_EDGE)
        yield window, near[len(rows[0]) : len(rows[0]) + len(kept)] & (labels != 1)
        above, window, labels = kept, following, below
