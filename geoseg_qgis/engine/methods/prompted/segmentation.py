"""From prompted objects on a raster of any size to their outlines, tile by tile.

A tile is read and encoded once for all objects on it. Memory holds one tile, one batch of prompts,
and the outlines found so far.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.chips import ChipReader
from geoseg_qgis.engine.inference.journal import NO_JOURNAL, Arrays, Journal
from geoseg_qgis.engine.progress import Progress
from geoseg_qgis.protocol.polygons import PolygonOptions

from .drawing import Drawing
from .mask_outlines import Polygons, outline_masks
from .masks import Logits, Mask, ObjectMask, Placement
from .predictions import Prediction, Predictor
from .prompt_tiles import GridPyramid, PromptTile, plan_prompt_tiles
from .prompted_objects import ObjectPrompt
from .refinement import MOST_LEVELS, CoarseMask, refine_edge

Checkpoint = Callable[[], None]
"""Raises when the user cancelled."""

# Masks that wait to be traced together hold about this many pixels at most.
_WAITING_PIXELS = 8_000_000


@dataclass(frozen=True)
class FoundObject:
    """The outline of one object.

    Attributes:
        prompt: Its prompts in output pixels, as they were given.
        score: How far the network trusts the outline, 0..1.
        polygons: Its polygons in output pixels, at least one.
    """

    prompt: ObjectPrompt
    score: float
    polygons: Polygons


@dataclass(frozen=True)
class MaskRules:
    """What counts as an outline.

    Attributes:
        threshold: Logit above which a pixel belongs to the object.
        minimum_score: Objects with a lower score are left out.
        options: How outlines are made.
    """

    threshold: float
    minimum_score: float
    options: PolygonOptions


@dataclass(frozen=True)
class _TilePrediction:
    """A prediction, and which pixels of its tile hold data."""

    prediction: Prediction
    valid: Mask


@dataclass
class PromptedSegmentation:
    """One run.

    Attributes:
        reader: Where pixels come from.
        pyramid: Grids to read from.
        predictor: The network.
        rules: What counts as an outline.
        journal: Keeps finished tiles.
        tiles: Tiles encoded so far, by this run or the one that it continues.
        on_nodata: Objects left out because there is no data under their prompts.
        unread: Objects left out because the raster could not be read there.
        below_score: Objects left out for their score.
    """

    reader: ChipReader
    pyramid: GridPyramid
    predictor: Predictor
    rules: MaskRules
    journal: Journal = NO_JOURNAL
    tiles: int = 0
    on_nodata: int = 0
    unread: int = 0
    below_score: int = 0
    _waiting: list[tuple[ObjectPrompt, float, ObjectMask]] = field(default_factory=list)

    def run(self, objects: Sequence[ObjectPrompt], progress: Progress) -> Iterator[FoundObject]:
        """Yield the objects that were found, in the order of the tiles.

        Args:
            objects: In output pixels.
            progress: Called with the finished fraction; raises to stop.

        Raises:
            JobError: ``OUT_OF_MEMORY`` when not even one prompt fits.
        """
        done = 0
        tiles = plan_prompt_tiles(objects, self.pyramid)
        identity = (self.pyramid.finest.transform, self.predictor.tile, len(objects))
        stage = self.journal.stage("prompts", identity, len(tiles))
        for number, tile in enumerate(tiles):
            checkpoint = partial(progress, done / len(objects))
            arrays = stage.recall(str(number), partial(self._outline, tile, checkpoint))
            yield from self._unpacked(tile, arrays)
            done += len(tile.objects)
            progress(done / len(objects))

    def _outline(self, tile: PromptTile, checkpoint: Checkpoint) -> Arrays:
        """Return the outlines of a tile and what was counted, as arrays that can be kept."""
        before = self._counts
        found: list[FoundObject] = []
        for item, prediction in self._predict(tile):
            checkpoint()
            mask = self._mask(tile, item, prediction, checkpoint)
            if mask is not None:
                self._waiting.append((item, prediction.prediction.score, mask))
            if sum(mask.pixels.size for _, _, mask in self._waiting) > _WAITING_PIXELS:
                found.extend(self._trace())
        found.extend(self._trace())
        counted = self._counts - before
        # What is counted comes back with the arrays, whoever has counted it.
        self._counts = before
        return _packed(found, counted)

    def _unpacked(self, tile: PromptTile, arrays: Arrays) -> Iterator[FoundObject]:
        counted, numbers, scores, lengths, outlines = arrays
        self._counts += counted
        prompts = {item.number: item for item in tile.objects}
        texts = np.split(outlines, np.cumsum(lengths)[:-1]) if len(lengths) else []
        for number, score, text in zip(numbers.tolist(), scores.tolist(), texts, strict=True):
            polygons = shapely.get_parts(shapely.from_wkb(text.tobytes()))
            yield FoundObject(prompts[number], score, polygons)

    @property
    def _counts(self) -> NDArray[np.int64]:
        return np.array([self.tiles, self.on_nodata, self.unread, self.below_score], np.int64)

    @_counts.setter
    def _counts(self, values: NDArray[np.int64]) -> None:
        self.tiles, self.on_nodata, self.unread, self.below_score = values.tolist()

    def _trace(self) -> Iterator[FoundObject]:
        waiting, self._waiting = self._waiting, []
        masks = [mask for _, _, mask in waiting]
        outlines = outline_masks(masks, self.pyramid.output, self.rules.options)
        for (item, score, _), polygons in zip(waiting, outlines, strict=True):
            if len(polygons):
                yield FoundObject(item, score, polygons)

    def _predict(self, tile: PromptTile) -> Iterator[tuple[ObjectPrompt, _TilePrediction]]:
        """Yield the objects of a tile, in output pixels, with their predictions."""
        size = self.predictor.tile
        chip = self.reader.read(self.pyramid.grid(tile.level), tile.window(size))
        if chip is None:
            self.unread += len(tile.objects)
            return
        scale = self.pyramid.scale(tile.level)
        placed = [
            on_data(item.rescaled(scale, (-tile.left, -tile.top)), chip.valid)
            for item in tile.objects
        ]
        usable = [item for item in placed if item is not None]
        self.on_nodata += len(placed) - len(usable)
        if not usable:
            return
        encoded = self.predictor.encode(chip.continued())
        self.tiles += 1
        back = (1 / scale[0], 1 / scale[1])
        corner = (tile.left * back[0], tile.top * back[1])
        for item, prediction in self.predictor.predict(encoded, usable):
            if prediction.score < self.rules.minimum_score:
                self.below_score += 1
                continue
            yield item.rescaled(back, corner), _TilePrediction(prediction, chip.valid)

    def _mask(
        self, tile: PromptTile, item: ObjectPrompt, found: _TilePrediction, checkpoint: Checkpoint
    ) -> ObjectMask | None:
        prediction = found.prediction
        placement = self._placement(tile.level, tile.left, tile.top, prediction.logits)
        drawing = Drawing(
            prediction.logits,
            found.valid,
            placement,
            item,
            self.rules.threshold,
            self.pyramid.output,
            prediction.zoom,
        )
        if tile.level == 0 or not self.predictor.takes_negative:
            return drawing.mask()
        cells = drawing.cells()
        if cells is None:
            return None
        level = max(0, tile.level - MOST_LEVELS)
        scale = self.pyramid.scale(level)
        coarse = CoarseMask(
            cells, placement.rescaled(scale), self.predictor.tile, self.rules.threshold
        )

        def predict(left: int, top: int, prompt: ObjectPrompt) -> Logits | None:
            checkpoint()
            return self._predict_fine(level, left, top, prompt)

        fine = (
            (tile, self._placement(level, tile.left, tile.top, tile.logits))
            for tile in refine_edge(coarse, item, predict)
        )
        return drawing.refined(coarse.band, fine)

    def _predict_fine(self, level: int, left: int, top: int, prompt: ObjectPrompt) -> Logits | None:
        size = self.predictor.tile
        chip = self.reader.read(self.pyramid.grid(level), Window(left, top, size, size))
        usable = None if chip is None else on_data(prompt, chip.valid)
        if chip is None or usable is None:
            return None
        encoded = self.predictor.encode(chip.continued())
        self.tiles += 1
        ((_, prediction),) = self.predictor.predict(encoded, [usable])
        return prediction.logits

    def _placement(self, level: int, left: int, top: int, cells: Logits) -> Placement:
        across, down = self.pyramid.scale(level)
        size = self.predictor.tile
        return Placement(
            left / across,
            top / down,
            size / cells.shape[1] / across,
            size / cells.shape[0] / down,
        )


def _packed(found: Sequence[FoundObject], counted: NDArray[np.int64]) -> Arrays:
    """Return counts, and number, score and outline of each object, as arrays."""
    texts = [bytes(shapely.to_wkb(shapely.multipolygons(item.polygons))) for item in found]
    return [
        counted,
        np.array([item.prompt.number for item in found], np.int64),
        np.array([item.score for item in found], np.float64),
        np.array([len(text) for text in texts], np.int64),
        np.frombuffer(b"".join(texts), np.uint8),
    ]


def on_data(item: ObjectPrompt, valid: NDArray[np.bool_]) -> ObjectPrompt | None:
    """Return an object without the points on nodata or outside of a tile.

    Args:
        item: In pixels of the tile.
        valid: Which pixels of the tile hold data, shape (side, side).

    Returns:
        None when nothing positive is left.
    """
    size = valid.shape[0]
    inside = ((item.points >= 0) & (item.points <= size)).all(axis=1)
    places = np.clip(np.floor(item.points).astype(np.intp), 0, size - 1)
    kept = item.with_points(inside & valid[places[:, 1], places[:, 0]])
    areas = []
    for area in item.areas:
        left, top = (max(int(side), 0) for side in area[:2])
        right, bottom = (max(int(np.ceil(side)), 0) for side in area[2:])
        if valid[top : max(bottom, top + 1), left : max(right, left + 1)].any():
            areas.append(area)
    if not kept.on_object.any() and not areas:
        return None
    return dataclasses.replace(kept, areas=tuple(areas))
