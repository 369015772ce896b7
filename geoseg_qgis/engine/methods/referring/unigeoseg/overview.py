"""One instruction on a whole extent: an overview first, then zoom-ins on what it shows.

Positions, comparisons and counts hold for the extent only, so the instruction itself is run once,
on an overview of all of it. A zoom-in asks the network for the object in a box, the bounding box
of an instance in the overview, and is dropped where it shows another object than the overview.
Instances close together share a zoom-in. An instance too large for one zoom-in at full detail is
refined along its outline, in finer and finer tiles.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from geoseg_qgis.engine.inference.coarse_to_fine import agree, edge_ramp
from geoseg_qgis.engine.inference.journal import NO_JOURNAL, Journal, Stage
from geoseg_qgis.engine.models.unigeoseg.sequence import Request
from geoseg_qgis.engine.progress import Progress, share_of
from geoseg_qgis.engine.raster.grid import Grid

from .best_area import keep_best_of
from .chip_predictor import ChipPredictor
from .composite import Composite, CompositeLayer
from .instances import (
    Instance,
    ZoomSettings,
    areas_touching,
    find_instances,
    whole_instance_pixel,
    zoom_windows,
)
from .letterbox import Letterbox

# An instance shares a zoom-in whose pixels are at most this much coarser than its own would be ...
_SHARED_PIXEL = 1.25
# ... and whose edges are at least this share of the side away.
_SHARED_EDGE = 0.125
# The prediction of a zoom-in counts in full within this many coarse pixels of the instance, and
# fades out over as many more.
_REACH = 2.0


@dataclass(frozen=True)
class OverviewPrediction:
    """The prediction for a whole extent.

    Attributes:
        raster: Probability on the output grid.
        instances: Connected areas of the overview that were kept.
        left_out: Connected areas that were not kept.
        chips: Zoom-ins.
        refined: Outlines that zoom-ins redrew.
        refused: Outlines that zoom-ins did not confirm.
        coarse: Outlines without a zoom-in, as there were too many.
    """

    raster: Composite
    instances: int
    left_out: int
    chips: int
    refined: int
    refused: int
    coarse: int


def overview_grid(base: Grid, side: int) -> Grid:
    """Return the grid on which an extent fits into the network's square, aspect kept."""
    if max(base.shape) <= side:
        return base
    height, width = Letterbox(base.height, base.width, side).fitted
    return base.rescaled(width, height)


def predict_overview(
    predictor: ChipPredictor,
    grids: tuple[Grid, Grid],
    request: Request,
    settings: ZoomSettings,
    progress: Progress,
    *,
    best_only: bool = False,
    journal: Journal = NO_JOURNAL,
) -> OverviewPrediction | None:
    """Run an instruction on a whole extent; None when none of its pixels holds data.

    Args:
        predictor: Reads, encodes and predicts.
        grids: Base grid, the finest that zoom-ins read, and the grid of the result.
        request: The instruction.
        settings: See `ZoomSettings`.
        progress: Called with the finished fraction.
        best_only: Keep only the best area of the overview, see `best_area`.
        journal: Keeps finished chips.

    Raises:
        JobError: ``OUT_OF_MEMORY``, ``CANCELLED``.
    """
    base, output = grids
    grid = overview_grid(base, predictor.side)
    stage = journal.stage("overview", settings, None)
    seen = predictor.probabilities(stage, grid, [request], 0.0, share_of(progress, 0.0, 0.3))
    if seen is None:
        return None
    probability = seen[0]
    left_out = keep_best_of(probability, settings.threshold) if best_only else 0
    instances = find_instances(grid, probability > settings.threshold, base.width / grid.width)
    lowest = CompositeLayer(grid, probability, np.ones(grid.shape, np.float32))
    zoom = _Zoom(predictor, base, Composite(output, lowest), settings, stage)
    zoom.run(instances, share_of(progress, 0.3, 1.0))
    progress(1.0)
    return OverviewPrediction(
        zoom.raster, len(instances), left_out, zoom.chips, zoom.refined, zoom.refused, zoom.coarse
    )


class _Zoom:
    """Zooms in on instances and puts what it finds on top of a composite."""

    def __init__(
        self,
        predictor: ChipPredictor,
        base: Grid,
        raster: Composite,
        settings: ZoomSettings,
        stage: Stage,
    ) -> None:
        self._predictor = predictor
        self._stage = stage
        self._base = base
        self.raster = raster
        self._settings = settings
        self._waiting: deque[Instance] = deque()
        self.chips = self.refined = self.refused = self.coarse = 0

    def run(self, instances: list[Instance], progress: Progress) -> None:
        """Zoom in on instances, and then on what the zoom-ins show of them."""
        most = self._settings.most_chips
        self._waiting.extend(instances)
        while self._waiting:
            instance = self._waiting.popleft()
            windows = zoom_windows(instance, self._base, self._predictor.side, self._settings)
            for window, pixel in windows:
                if self.chips >= most:
                    self.coarse += 1
                    break
                group = [instance, *self._companions(window, pixel)]
                self._waiting.extend(self._zoom_in(group, window, pixel))
                progress(self.chips / most)

    def _companions(self, window: Window, pixel: float) -> list[Instance]:
        """Take the waiting instances that a window shows as well as one of their own would."""
        side, settings = self._predictor.side, self._settings
        edge = _SHARED_EDGE * pixel * side
        companions: list[Instance] = []
        for instance in list(self._waiting):
            left, top, right, bottom = instance.box_on(self._base)
            inside = (
                left >= window.col_off + edge
                and top >= window.row_off + edge
                and right <= window.col_off + window.width - edge
                and bottom <= window.row_off + window.height - edge
            )
            own_pixel = whole_instance_pixel(instance, self._base, side, settings)
            if (
                inside
                and instance.pixel >= settings.least_gain * pixel
                and pixel <= _SHARED_PIXEL * own_pixel
            ):
                companions.append(instance)
                self._waiting.remove(instance)
        return companions

    def _zoom_in(self, group: list[Instance], window: Window, pixel: float) -> list[Instance]:
        """Redraw some instances on one chip; return those it confirms, as it shows them."""
        grid = self._base.window_grid(window)
        grid = grid.rescaled(max(round(grid.width / pixel), 1), max(round(grid.height / pixel), 1))
        targets = [_Target(instance, grid) for instance in group]
        targets = [each for each in targets if each.coarse.any() and not each.coarse.all()]
        if not targets:
            return []
        requests = [self._request(each) for each in targets]
        probabilities = self._predictor.probabilities(self._stage, grid, requests, 0.0)
        if probabilities is None:
            return []
        self.chips += 1
        drawing = _Drawing(grid, _fade(window, self._base, grid))
        confirmed: list[Instance] = []
        for target, probability in zip(targets, probabilities, strict=True):
            foreground = probability > self._settings.threshold
            found = areas_touching(foreground, target.coarse)
            if not target.confirmed_by(found, self._settings.agreement):
                self.refused += 1
                continue
            self.refined += 1
            drawing.add(probability, target.weight(found, foreground, pixel))
            labels = np.where(found, 1, np.where(target.others, 2, 0)).astype(np.int32)
            confirmed.append(Instance(grid, labels, 1, pixel))
        self.raster.add(drawing.layer())
        return confirmed

    def _request(self, target: _Target) -> Request:
        rows, columns = ndimage.find_objects(target.coarse.astype(np.uint8))[0]
        box = (float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))
        return self._predictor.segmenter.request(*target.coarse.shape, box=box)


class _Target:
    """An instance of a coarse chip on the grid of a finer one.

    Attributes:
        coarse: (h, w) bool, where the coarse chip shows the instance.
        others: (h, w) bool, where it shows other instances, which must stay as they are.
    """

    def __init__(self, instance: Instance, grid: Grid) -> None:
        self._known = instance.chip_on(grid)
        self._pixel = instance.pixel
        self.coarse = self._known & instance.mask_on(grid)
        self.others = self._known & instance.others_on(grid)

    def confirmed_by(self, found: NDArray[np.bool_], least_iou: float) -> bool:
        """Return whether a finer mask (h, w) shows the same object as the coarse chip."""
        return agree(found & self._known, self.coarse, least_iou)

    def weight(
        self, found: NDArray[np.bool_], foreground: NDArray[np.bool_], pixel: float
    ) -> NDArray[np.float32]:
        """Return how much the finer chip replaces the coarse one: (h, w), 0..1.

        Args:
            found: The instance in the finer chip, (h, w).
            foreground: All foreground of the finer chip, (h, w).
            pixel: Side of the finer chip's pixels in pixels of the base grid.
        """
        distance = ndimage.distance_transform_edt(~(found | self.coarse))
        radius = _REACH * max(self._pixel / pixel, 1.0)
        weight: NDArray[np.float32] = (2.0 - distance / radius).clip(0.0, 1.0).astype(np.float32)
        weight[(foreground | self.others) & ~found] = 0.0
        return weight


class _Drawing:
    """The predictions for several instances on one chip, laid over each other."""

    def __init__(self, grid: Grid, fade: NDArray[np.float32]) -> None:
        self._grid = grid
        self._fade = fade
        self._probability = np.zeros(grid.shape, np.float32)
        self._weight = np.zeros(grid.shape, np.float32)

    def add(self, probability: NDArray[np.float32], weight: NDArray[np.float32]) -> None:
        """Put a prediction on top: probabilities and weights (h, w)."""
        below = self._weight * (1.0 - weight)
        total = weight + below
        mixed = weight * probability + below * self._probability
        self._probability = np.where(total > 0.0, mixed / np.maximum(total, 1e-6), 0.0)
        self._weight = total

    def layer(self) -> CompositeLayer:
        """Return all of them."""
        weight = (self._weight * self._fade).astype(np.float16)
        return CompositeLayer(self._grid, self._probability.astype(np.float16), weight)


def _fade(window: Window, base: Grid, grid: Grid) -> NDArray[np.float32]:
    """Return weights (h, w) that fall towards the edges of a chip, except those of the extent."""
    starts = (window.row_off, window.col_off)
    lengths = (window.height, window.width)
    down, across = (
        edge_ramp(count, start=start > 0, end=start + length < size)
        for start, length, size, count in zip(starts, lengths, base.shape, grid.shape, strict=True)
    )
    return np.outer(down, across).astype(np.float32)
