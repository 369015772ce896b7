"""Answers to the requests ``outline`` and ``prepare``, by the parts that jobs with prompts use."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
import shapely

from geoseg_qgis.engine.hardware import on_release
from geoseg_qgis.engine.inference.chips import Chip
from geoseg_qgis.engine.methods.prompted.drawing import Drawing
from geoseg_qgis.engine.methods.prompted.mask_outlines import Polygons, outline_masks
from geoseg_qgis.engine.methods.prompted.masks import Placement, logit_of
from geoseg_qgis.engine.methods.prompted.predictors import preset_predictor, prompt_pixel_size
from geoseg_qgis.engine.methods.prompted.prompt_tiles import GridPyramid
from geoseg_qgis.engine.methods.prompted.prompted_objects import ObjectPrompt
from geoseg_qgis.engine.methods.prompted.segmentation import on_data
from geoseg_qgis.engine.methods.prompted.zoom_in import Crop
from geoseg_qgis.engine.models.device import choose_device
from geoseg_qgis.engine.models.preset import LoadedPreset, PresetCache
from geoseg_qgis.engine.raster.source import CACHE_BYTES
from geoseg_qgis.engine.vector.polygonize import place
from geoseg_qgis.engine.zoo.registry import choose_preset
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.outline import Outline, OutlineRequest, Place, Prompt, PromptKind, Ring
from geoseg_qgis.protocol.polygons import PolygonOptions

from .lattice import LatticeTile, interactive_pyramid, shrink_for, tile_of
from .prompts import object_of
from .rasters import Fingerprint, OpenRaster, OpenRasters

METHOD = "sam2"
MOST_ENCODED = 16
"""Encoded tiles that are kept. One takes about 25 MB with the built-in model and 80 MB with a
published one, its zoom-ins included."""

Checkpoint = Callable[[], None]
"""Raises when nobody waits for the answer any more."""


def _go_on() -> None:
    """Let every request be answered."""


@dataclass(frozen=True)
class _Model:
    """A promptable network that is ready.

    Attributes:
        key: Model and device that were asked for.
        loaded: The preset.
        predictor: Its network.
        finest: Finest pixels in metres that it was made for; None for any.
    """

    key: tuple[str, str]
    loaded: LoadedPreset
    predictor: Any
    finest: float | None


@dataclass(frozen=True)
class _EncodedTile:
    """A tile of a raster, read and encoded."""

    chip: Chip
    encoded: Any


_TileKey = tuple[Fingerprint, tuple[str, str], LatticeTile]


class Outliner:
    """Keeps one model, a few open rasters and the encodings of recent places.

    Its methods may be called from several threads, one at a time.
    """

    def __init__(self) -> None:
        self._presets = PresetCache()
        self._model: _Model | None = None
        self._rasters = OpenRasters()
        self._tiles: OrderedDict[_TileKey, _EncodedTile | None] = OrderedDict()
        self._last: _Work | None = None
        self._lock = threading.RLock()
        on_release(self.release)

    def release(self) -> None:
        """Unload the model, close the rasters and forget the encodings."""
        with self._lock:
            self._tiles.clear()
            self._last = None
            self._rasters.close()
            self._model = None
            self._presets.release()

    def prepare(self, request: OutlineRequest, checkpoint: Checkpoint = _go_on) -> Outline:
        """Load the model and encode the place, so that the next outline comes at once.

        Args:
            request: Without a place, the model is loaded alone.
            checkpoint: Called between the steps.

        Raises:
            JobError: Whatever keeps outlines there from being made.
        """
        with self._lock, rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
            model = self._ready(request)
            if request.place is None:
                return Outline(model=model.loaded.card.name)
            here = Prompt(PromptKind.POINT, ((request.place.x, request.place.y),))
            work = self._plan(request.place, (here,), model)
            checkpoint()
            known = work.key in self._tiles
            self._tile(work)
            return work.answer(known)

    def outline(self, request: OutlineRequest, checkpoint: Checkpoint = _go_on) -> Outline:
        """Return the outline of the object that the prompts mark.

        Args:
            request: At least one prompt must lie on the object.
            checkpoint: Called between the steps.

        Raises:
            JobError: ``EXTENT_OUTSIDE``, ``SOURCE_UNREADABLE``, ``MODEL_MISSING`` and whatever
                else prevents it; ``INVALID_JOB`` without a place.
        """
        if request.place is None or not request.prompts:
            raise JobError(
                ErrorCode.INVALID_JOB,
                "An outline was asked for without a place or without prompts.",
                "Give both.",
            )
        with self._lock, rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
            model = self._ready(request)
            work = self._plan(request.place, request.prompts, model)
            checkpoint()
            known = work.key in self._tiles
            tile = self._tile(work)
            checkpoint()
            if tile is None:
                return work.answer(known)
            return work.outline(tile, known, request.simplify)

    def use_rest(self) -> bool:
        """Encode one more zoom-in around the last place; return whether there may be more to do.

        While the user looks, this makes the next click as quick as one on the same object.
        """
        with self._lock:
            work = self._last
            tile = None if work is None else self._tiles.get(work.key)
            if work is None or tile is None or not work.encode_crop(tile):
                self._last = None
            return self._last is not None

    def _ready(self, request: OutlineRequest) -> _Model:
        key = (request.model, request.device)
        if self._model is None or self._model.key != key:
            self._tiles.clear()
            preset = choose_preset(request.model, METHOD)
            loaded = self._presets.get(preset, choose_device(request.device))
            predictor = preset_predictor(METHOD, loaded)
            made_for = prompt_pixel_size(METHOD, loaded)
            self._model = _Model(key, loaded, predictor, made_for.finest if made_for else None)
        return self._model

    def _plan(self, place: Place, prompts: tuple[Prompt, ...], model: _Model) -> _Work:
        raster = self._rasters.get(place.source)
        predictor = model.predictor
        shrink = shrink_for(raster.grid, place.pixel_size)
        pyramid = interactive_pyramid(raster.grid, shrink, model.finest, predictor.tile)
        item = object_of(
            prompts,
            pyramid.output,
            pyramid.reachable,
            predictor.line_points,
            predictor.inner_points,
        )
        tile = tile_of(item, pyramid, shrink)
        return _Work((raster.fingerprint, model.key, tile), raster, pyramid, item, model)

    def _tile(self, work: _Work) -> _EncodedTile | None:
        """Return a tile, read and encoded the first time; None for one without any data."""
        self._last = work
        if work.key not in self._tiles:
            self._tiles[work.key] = work.encode()
            while len(self._tiles) > MOST_ENCODED:
                self._tiles.popitem(last=False)
        self._tiles.move_to_end(work.key)
        return self._tiles[work.key]


@dataclass(frozen=True)
class _Work:
    """One request on its tile.

    Attributes:
        key: What the encoding is kept under.
        raster: The raster.
        pyramid: Its grids.
        item: The object in pixels of the result.
        model: The network.
    """

    key: _TileKey
    raster: OpenRaster
    pyramid: GridPyramid
    item: ObjectPrompt
    model: _Model

    @property
    def tile(self) -> LatticeTile:
        """Where the tile lies."""
        return self.key[2]

    def encode(self) -> _EncodedTile | None:
        """Read and encode the tile; None where it holds no data.

        Raises:
            JobError: ``SOURCE_UNREADABLE``.
        """
        chip = self.raster.reader.read(self.pyramid.grid(self.tile.level), self.tile.window)
        if chip is None:
            raise JobError(
                ErrorCode.SOURCE_UNREADABLE,
                self.raster.reader.failures[-1],
                "Check that the file is complete, or click elsewhere.",
            )
        if not chip.valid.any():
            return None
        return _EncodedTile(chip, self.model.predictor.encode(chip.continued()))

    def encode_crop(self, tile: _EncodedTile) -> bool:
        """Encode the crop nearest to the object that is not yet; return whether there was one."""
        predictor = self.model.predictor
        scale = self.pyramid.scale(self.tile.level)
        left, top, right, bottom = self.item.rescaled(
            scale, (-self.tile.left, -self.tile.top)
        ).bounds
        x, y = (left + right) / 2, (top + bottom) / 2
        crops = predictor.crops_to_encode(tile.encoded)
        if not crops:
            return False

        def distance(crop: Crop) -> float:
            return math.hypot(crop.left + crop.side / 2 - x, crop.top + crop.side / 2 - y)

        nearest = min(crops, key=distance)
        predictor.encode_crop(tile.encoded, nearest)
        return True

    def outline(self, tile: _EncodedTile, known: bool, simplify: float) -> Outline:
        """Return the outline on the encoded tile, without polygons where there is no object."""
        scale = self.pyramid.scale(self.tile.level)
        corner = (-self.tile.left, -self.tile.top)
        placed = on_data(self.item.rescaled(scale, corner), tile.chip.valid)
        if placed is None:
            return self.answer(known)
        ((_, found),) = self.model.predictor.predict(tile.encoded, [placed])
        back = (1 / scale[0], 1 / scale[1])
        origin = (self.tile.left * back[0], self.tile.top * back[1])
        cells = found.logits.shape
        drawing = Drawing(
            found.logits,
            tile.chip.valid,
            Placement(
                *origin,
                self.tile.size / cells[1] * back[0],
                self.tile.size / cells[0] * back[1],
            ),
            placed.rescaled(back, origin),
            logit_of(0.5),
            self.pyramid.output,
            found.zoom,
        )
        mask = drawing.mask()
        if mask is None:
            return self.answer(known)
        options = PolygonOptions(simplify=simplify)
        (polygons,) = outline_masks([mask], self.pyramid.output, options)
        covered = mask.pixels.sum() * mask.step**2 * scale[0] * scale[1] / self.tile.size**2
        return self.answer(known, polygons, found.score, float(covered))

    def answer(
        self,
        known: bool,
        polygons: Polygons | None = None,
        score: float = 0.0,
        share: float = 0.0,
    ) -> Outline:
        """Return the response with polygons given in pixels of the result."""
        grid = self.pyramid.output
        shapes = () if polygons is None else tuple(map(_rings, place(polygons, grid)))
        return Outline(
            shapes,
            round(score, 4),
            round(min(share, 1.0), 4),
            self.model.loaded.card.name,
            self.pyramid.grid(self.tile.level).pixel_size[0],
            self.raster.grid.bounds,
            known,
        )


def _rings(polygon: shapely.Polygon) -> tuple[Ring, ...]:
    return tuple(
        tuple((float(x), float(y)) for x, y in np.asarray(ring.coords)[:, :2])
        for ring in (polygon.exterior, *polygon.interiors)
    )
