"""The work of an assessment: every class through the network, then sums over the raster.

One class is assessed after the other; between them only the merged map, the sums of the objects
and the outlines of missed objects are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.models.segassess.component import SegAssessModel
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.tasks.assess import AssessTask

from .mask_input import Mask, MaskClass
from .missed_objects import MissedObjects, SmallestMissed, missed_objects
from .object_pixels import ObjectOptions
from .object_quality import ObjectAccumulator, ObjectQuality, ObjectStatus
from .quality_blocks import QualityBlock, cells, coarseness, output_options, quality_blocks
from .quality_map import MergedQuality
from .ranking import fix_rank
from .raster_inference import QualityPlan, quality_surface
from .summary import LayerAccumulator, LayerSummary
from .view_sums import RunSums
from .views import plan_views

CPU_BATCH = 2
GPU_BATCH = 16
_CELL = 256
_SMALLEST_CELL = 64
_TOLERANCE = 1.0


@dataclass(frozen=True)
class Assessment:
    """What was found out about a mask.

    Attributes:
        mask: The mask.
        merged: Quality of every pixel.
        objects: Quality of every object.
        missed: Objects that the mask likely lacks.
        summary: Quality of the whole mask.
        by_class: That of each class.
        options: How objects were judged, in pixels of the results.
        runs: Views of each tile.
    """

    mask: Mask
    merged: MergedQuality
    objects: ObjectQuality
    missed: MissedObjects
    summary: LayerSummary
    by_class: tuple[tuple[MaskClass, LayerSummary], ...]
    options: ObjectOptions
    runs: int

    @property
    def smallest(self) -> int:
        """Pixels of the smallest change that is more than noise."""
        return self.options.missed_area


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
        self._objects = ObjectAccumulator(count, options=self._options)
        self._runs: RunSums | None = None
        if len(self._views) > 1:
            self._runs = RunSums(len(self._views), count, ObjectOptions())
        self._layer = LayerAccumulator()
        self._by_class = {item.number: LayerAccumulator() for item in mask.classes}
        self._merged = MergedQuality(scene.folder, scene.output, mask.read_classes)

    def assess(self, context: JobContext) -> Assessment:
        """Assess all classes.

        Raises:
            JobError: ``OUT_OF_MEMORY``, ``DISK_FULL`` or ``CANCELLED``.
        """
        classes = self._mask.classes
        looking, tracing = context.span(0.0, 0.95), context.span(0.95, 1.0)
        for place, item in enumerate(classes):
            share = looking.span(place / len(classes), (place + 1) / len(classes))
            self._assess_class(item, share)
        missed = missed_objects(
            self._merged,
            self._scene.folder,
            SmallestMissed(self._task.missed_area, self._options.missed_area),
            _TOLERANCE,
            lambda done: tracing.progress(done, "Drawing missed objects"),
        )
        totals = None if self._runs is None else self._runs.totals
        return Assessment(
            self._mask,
            self._merged,
            self._object_quality(),
            missed,
            self._layer.result(run_totals=totals),
            tuple((item, self._by_class[item.number].result()) for item in classes),
            self._options,
            len(self._views),
        )

    def _assess_class(self, item: MaskClass, context: JobContext) -> None:
        layer = self._mask.layer(item.number)
        looking, judging = context.span(0.0, 0.85), context.span(0.85, 1.0)
        what = f"Assessing {item.name}"
        batch = CPU_BATCH if self._model.device.type == "cpu" else GPU_BATCH
        surface = quality_surface(
            self._scene,
            self._model,
            layer,
            QualityPlan(self._views, self._task.variant.value, batch),
            lambda done: looking.progress(done, what),
            name=f"quality{item.number}",
            runs=self._runs,
        )
        height = self._scene.output.height
        for block in quality_blocks(
            self._scene,
            surface,
            layer,
            covered=self._mask.covered,
            variant=self._task.variant.value,
            options=self._options,
        ):
            self._add(item.number, block)
            below = block.window.row_off + block.window.height
            judging.progress(below / height, "Judging objects")
        surface.close()

    def _add(self, number: int, block: QualityBlock) -> None:
        self._merged.add(number, block)
        for object_ids in block.sheets:
            if object_ids.any():
                self._objects.update(block.probabilities, object_ids, block.core, block.valid)
        side = max(_SMALLEST_CELL, round(_CELL * min(self._factor, 4.0)))
        for cell in cells(block.core, side):
            if block.valid[cell].any():
                for accumulator in (self._layer, self._by_class[number]):
                    accumulator.update(block.probabilities, cell, block.valid)

    def _object_quality(self) -> ObjectQuality:
        quality = self._objects.result()
        if self._runs is not None:
            quality = replace(quality, spread=self._runs.spread())
        return quality


def unjudge(quality: ObjectQuality, too_small: NDArray[np.bool_]) -> ObjectQuality:
    """Return the quality of objects with some of them taken as too small to judge, (N,) bool."""
    judged = quality.status == ObjectStatus.JUDGED
    status = np.where(judged & too_small, ObjectStatus.TOO_SMALL, quality.status).astype(np.uint8)
    priority = np.where(status == ObjectStatus.JUDGED, quality.priority, np.nan)
    wrong = quality.boundary_error + quality.object_error
    return replace(
        quality,
        status=status,
        likely_false=quality.likely_false & ~too_small,
        priority=priority,
        rank=fix_rank(priority, wrong),
    )
