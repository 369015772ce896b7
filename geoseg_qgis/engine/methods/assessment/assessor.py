"""An assessment: every class of a mask through the network, then sums over the raster.

One class is assessed after the other. Between them only the quality map, the sums of the objects
and the outlines of missed objects are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.models.segassess.component import SegAssessModel
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.tasks.assess import AssessTask

from .mask_classes import MaskClass
from .mask_input import Mask
from .missed_objects import MissedObjects, SmallestMissed, missed_objects
from .object_pixels import ObjectOptions
from .object_quality import ObjectAccumulator, ObjectQuality, ObjectStatus
from .quality_blocks import QualityBlock, cells, coarseness, output_options, quality_blocks
from .quality_map import QualityMap
from .ranking import fix_rank
from .raster_inference import QualityPlan, infer_quality
from .summary import SCORES, Estimate, MaskAccumulator, MaskSummary
from .view_sums import ViewSums
from .views import plan_views

CPU_BATCH = 2
GPU_BATCH = 16
# Side of the parts of the area that the bootstrap draws, in pixels of the network: large enough
# for errors of one place to fall into one part.
_CELL = 256
_SMALLEST_CELL = 64
# Largest deviation of simplified outlines in pixels, half of what GeoSeg's own polygons may have.
_TOLERANCE = 1.0


@dataclass(frozen=True)
class Assessment:
    """The findings about a mask.

    Attributes:
        mask: The mask.
        quality_map: Quality of every pixel.
        objects: Quality of every object.
        missed: Objects that the mask likely lacks.
        summary: Quality of the whole mask.
        by_class: That of each class.
        options: How objects were assessed, in pixels of the results.
        views: Number of views of each tile.
    """

    mask: Mask
    quality_map: QualityMap
    objects: ObjectQuality
    missed: MissedObjects
    summary: MaskSummary
    by_class: tuple[tuple[MaskClass, MaskSummary], ...]
    options: ObjectOptions
    views: int

    @property
    def smallest_change(self) -> int:
        """Pixels of the smallest change that is more than noise."""
        return self.options.missed_area

    def numbers(self) -> dict[str, float]:
        """Return the numbers by the names of their outputs; undefined ones are left out."""
        numbers: dict[str, float] = {}
        for name in SCORES:
            estimate: Estimate = getattr(self.summary, name)
            numbers[name.upper()] = estimate.value
            numbers[f"{name.upper()}_LOW"] = estimate.low
            numbers[f"{name.upper()}_HIGH"] = estimate.high
        numbers["POLYGON_COUNT"] = float(len(self.objects.pixels))
        numbers["FALSE_COUNT"] = float(np.count_nonzero(self.objects.likely_false))
        numbers["MISSED_COUNT"] = float(len(self.missed.polygons))
        return {name: value for name, value in numbers.items() if not math.isnan(value)}


class Assessor:
    """Assesses the classes of a mask.

    Args:
        scene: Raster, grids and scratch folder.
        model: The network.
        mask: The mask, on the output grid.
        task: Variant, views and smallest areas.
    """

    def __init__(
        self, scene: RasterScene, model: SegAssessModel, mask: Mask, task: AssessTask
    ) -> None:
        self._scene = scene
        self._model = model
        self._mask = mask
        self._task = task
        self._views = plan_views(task.shifted, task.orientations.value, model.half_patch)
        count = len(mask.object_classes)
        self._factor = coarseness(scene)
        self._options = output_options(ObjectOptions(), self._factor)
        self._objects = ObjectAccumulator(count, self._options)
        self._view_sums: ViewSums | None = None
        if len(self._views) > 1:
            self._view_sums = ViewSums(len(self._views), count, ObjectOptions())
        self._whole = MaskAccumulator()
        self._by_class = {item.number: MaskAccumulator() for item in mask.classes}
        self._quality_map = QualityMap(scene.folder, scene.output, mask.read_classes)

    def assess(self, context: JobContext) -> Assessment:
        """Assess all classes.

        Raises:
            JobError: ``OUT_OF_MEMORY``, ``DISK_FULL`` or ``CANCELLED``.
        """
        classes = self._mask.classes
        assessing, tracing = context.span(0.0, 0.95), context.span(0.95, 1.0)
        for place, item in enumerate(classes):
            share = assessing.span(place / len(classes), (place + 1) / len(classes))
            self._assess_class(item, share)
        missed = missed_objects(
            self._quality_map,
            self._scene.folder,
            SmallestMissed(self._task.missed_area, self._options.missed_area),
            _TOLERANCE,
            lambda done: tracing.progress(done, "Drawing missed objects"),
        )
        totals = None if self._view_sums is None else self._view_sums.totals
        return Assessment(
            self._mask,
            self._quality_map,
            self._object_quality(),
            missed,
            self._whole.result(view_totals=totals),
            tuple((item, self._by_class[item.number].result()) for item in classes),
            self._options,
            len(self._views),
        )

    def _assess_class(self, item: MaskClass, context: JobContext) -> None:
        layer = self._mask.layer(item.number)
        inferring, summing = context.span(0.0, 0.85), context.span(0.85, 1.0)
        phase = f"Assessing {item.name}"
        batch = CPU_BATCH if self._model.device.type == "cpu" else GPU_BATCH
        blended = infer_quality(
            self._scene,
            self._model,
            layer,
            QualityPlan(self._views, self._task.variant.value, batch),
            lambda done: inferring.progress(done, phase),
            name=f"quality{item.number}",
            sums=self._view_sums,
        )
        height = self._scene.output.height
        for block in quality_blocks(
            self._scene,
            blended,
            layer,
            covered=self._mask.covered,
            variant=self._task.variant.value,
            options=self._options,
        ):
            self._add(item.number, block)
            below = block.window.row_off + block.window.height
            summing.progress(below / height, "Assessing objects")
        blended.close()

    def _add(self, number: int, block: QualityBlock) -> None:
        self._quality_map.add(number, block)
        for object_ids in block.sheets:
            if object_ids.any():
                self._objects.update(block.probabilities, object_ids, block.core, block.valid)
        side = max(_SMALLEST_CELL, round(_CELL * min(self._factor, 4.0)))
        for cell in cells(block.core, side):
            if block.valid[cell].any():
                for accumulator in (self._whole, self._by_class[number]):
                    accumulator.update(block.probabilities, cell, block.valid)

    def _object_quality(self) -> ObjectQuality:
        quality = self._objects.result()
        if self._view_sums is not None:
            quality = replace(quality, spread=self._view_sums.spread())
        return quality


def mark_too_small(quality: ObjectQuality, too_small: NDArray[np.bool_]) -> ObjectQuality:
    """Return the quality of objects with some of them too small to be assessed, (N,) bool."""
    assessed = quality.status == ObjectStatus.ASSESSED
    status = np.where(assessed & too_small, ObjectStatus.TOO_SMALL, quality.status).astype(np.uint8)
    priority = np.where(status == ObjectStatus.ASSESSED, quality.priority, np.nan)
    wrong = quality.boundary_error + quality.object_error
    return replace(
        quality,
        status=status,
        likely_false=quality.likely_false & ~too_small,
        priority=priority,
        rank=fix_rank(priority, wrong),
    )
