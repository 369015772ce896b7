"""From objects on a raster of any size to their outlines, tile by tile.

A tile is read and encoded once for all objects on it. Memory is that of one tile, of one batch of
prompts, and of the outlines found so far.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.chips import ChipReader
from geoseg_qgis.engine.progress import Progress
from geoseg_qgis.protocol.tasks import PolygonOptions

from .drawing import Drawing
from .mask_outlines import Polygons, outline_masks
from .masks import Logits, Mask, ObjectMask, Placement
from .predictions import Answer, Predictor
from .prompt_tiles import Ladder, PromptTile, plan_prompt_tiles
from .prompted_objects import ObjectPrompt
from .refinement import MOST_STEPS, CoarseLook, refine_edge

Checkpoint = Callable[[], None]
"""Raises when the user cancelled."""

_WAITING_PIXELS = 8_000_000


@dataclass(frozen=True)
class FoundObject:
    """The outline of one object.

    Attributes:
        prompt: What was asked.
        score: How sure the network is, 0..1.
        polygons: Its parts in output pixels, none where nothing was found.
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
class _Seen:
    """An answer, and which pixels of its tile hold data."""

    answer: Answer
    valid: Mask


@dataclass
class PromptedSegmentation:
    """One run.

    Attributes:
        reader: Where pixels come from.
        ladder: Grids to look at.
        answerer: The network.
        rules: What counts as an outline.
        embeddings: Tiles encoded so far.
        on_nodata: Objects left out because there is no data under their prompts.
        unread: Objects left out because the raster could not be read there.
        unsure: Objects left out for their score.
    """

    reader: ChipReader
    fallback: Ladder
    answerer: Predictor
    rules: MaskRules
    embeddings: int = 0
    on_nodata: int = 0
    unread: int = 0
    unsure: int = 0
    _waiting: list[tuple[ObjectPrompt, float, ObjectMask]] = field(default_factory=list)

    def run(self, objects: Sequence[ObjectPrompt], progress: Progress) -> Iterator[FoundObject]:
        """Yield the objects that were found, in the order of the tiles.

        Args:
            objects: In output pixels.
            progress: Told the finished fraction; raises to stop.

        Raises:
            JobError: ``OUT_OF_MEMORY`` when not even one prompt fits.
        """
        done = 0
        for tile in plan_prompt_tiles(objects, self.fallback):
            checkpoint = partial(progress, done / len(objects))
            for item, seen in self._answer(tile):
                checkpoint()
                mask = self._mask(tile, item, seen, checkpoint)
                if mask is not None:
                    self._waiting.append((item, seen.answer.score, mask))
                if sum(mask.pixels.size for _, _, mask in self._waiting) > _WAITING_PIXELS:
                    yield from self._trace()
            yield from self._trace()
            done += len(tile.objects)
            progress(done / len(objects))

    def _trace(self) -> Iterator[FoundObject]:
        waiting, self._waiting = self._waiting, []
        masks = [mask for _, _, mask in waiting]
        outlines = outline_masks(masks, self.fallback.output, self.rules.options)
        for (item, score, _), polygons in zip(waiting, outlines, strict=True):
            if len(polygons):
                yield FoundObject(item, score, polygons)

    def _answer(self, tile: PromptTile) -> Iterator[tuple[ObjectPrompt, _Seen]]:
        """Yield the objects of a tile, in output pixels, with their answers."""
        size = self.answerer.tile
        picture = self.reader.read(self.fallback.grid(tile.level), tile.window(size))
        if picture is None:
            self.unread += len(tile.objects)
            return
        scale = self.fallback.scale(tile.level)
        placed = [
            on_data(item.rescaled(scale, (-tile.left, -tile.top)), picture.valid)
            for item in tile.objects
        ]
        askable = [item for item in placed if item is not None]
        self.on_nodata += len(placed) - len(askable)
        if not askable:
            return
        embedding = self.answerer.read(picture.continued())
        self.embeddings += 1
        back = (1 / scale[0], 1 / scale[1])
        corner = (tile.left * back[0], tile.top * back[1])
        for item, answer in self.answerer.answer(embedding, askable):
            if answer.score < self.rules.minimum_score:
                self.unsure += 1
                continue
            yield item.rescaled(back, corner), _Seen(answer, picture.valid)

    def _mask(
        self, tile: PromptTile, item: ObjectPrompt, seen: _Seen, checkpoint: Checkpoint
    ) -> ObjectMask | None:
        placement = self._placement(tile.level, tile.left, tile.top, seen.answer.logits)
        drawing = Drawing(
            seen.answer.logits,
            seen.valid,
            placement,
            item,
            self.rules.threshold,
            self.fallback.output,
            seen.answer.fineness,
        )
        if tile.level == 0 or not self.answerer.takes_negative:
            return drawing.mask()
        cells = drawing.cells()
        if cells is None:
            return None
        level = max(0, tile.level - MOST_STEPS)
        scale = self.fallback.scale(level)
        look = CoarseLook(
            cells, placement.rescaled(scale), self.answerer.tile, self.rules.threshold
        )

        def ask(left: int, top: int, prompt: ObjectPrompt) -> Logits | None:
            checkpoint()
            return self._look_closer(level, left, top, prompt)

        fine = (
            (part, self._placement(level, part.left, part.top, part.logits))
            for part in refine_edge(look, item, ask)
        )
        return drawing.refined(look.band, fine)

    def _look_closer(self, level: int, left: int, top: int, prompt: ObjectPrompt) -> Logits | None:
        size = self.answerer.tile
        picture = self.reader.read(self.fallback.grid(level), Window(left, top, size, size))
        seen = None if picture is None else on_data(prompt, picture.valid)
        if picture is None or seen is None:
            return None
        embedding = self.answerer.read(picture.continued())
        self.embeddings += 1
        ((_, answer),) = self.answerer.answer(embedding, [seen])
        return answer.logits

    def _placement(self, level: int, left: int, top: int, cells: Logits) -> Placement:
        across, down = self.fallback.scale(level)
        size = self.answerer.tile
        return Placement(
            left / across,
            top / down,
            size / cells.shape[1] / across,
            size / cells.shape[0] / down,
        )


def on_data(item: ObjectPrompt, valid: NDArray[np.bool_]) -> ObjectPrompt | None:
    """Return an object without the points that lie on no data or outside of a tile.

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
