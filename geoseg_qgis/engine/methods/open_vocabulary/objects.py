"""Where separate objects come from: the user's own regions, or SAM 2's masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.inference.objects import ObjectRules, find_objects
from geoseg_qgis.engine.inference.region_map import RegionMap
from geoseg_qgis.engine.models.automatic_masks import AutomaticMaskSettings
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .gumix.settings import GumixSettings
from .regions import make_proposer

PHASE = "Separating objects"
POINTS_PER_SIDE = 20


@dataclass(frozen=True)
class ObjectRequest:
    """What separate objects are made of.

    Attributes:
        scene: The raster and its grids.
        models: Networks with a SAM 2.
        points_per_side: Points along a side of a tile; None takes `POINTS_PER_SIDE`.
        regions: The user's own regions, which are the objects then; None without any.
    """

    scene: RasterScene
    models: LoadedPreset
    points_per_side: int | None = None
    regions: RegionMap | None = None

    def check(self) -> None:
        """Refuse a model without SAM 2 before any work.

        Raises:
            JobError: ``MODEL_INVALID``.
        """
        if self.models.card.sam2 is None:
            raise JobError(
                ErrorCode.MODEL_INVALID,
                f"{self.models.card.title} has no SAM 2, which separates touching objects.",
                "Choose a model with SAM 2, give regions of your own, or switch Separate objects "
                "off.",
            )

    def find(self, class_raster: Path, context: JobContext) -> RegionMap:
        """Return the objects of a class raster on the grid of the results.

        Args:
            class_raster: Class ids, 0 for none.
            context: Takes the progress and is asked for a cancel.
        """
        if self.regions is not None:
            return self.regions
        objects = RegionMap(self.scene.folder, self.scene.output, self.scene.journal, "objects")
        settings = object_masks(self.models, self.points_per_side or POINTS_PER_SIDE)
        proposer = make_proposer(self.scene, self.models, settings, 1.0, context)
        with rasterio.open(class_raster) as dataset:

            def labels(window: Window) -> NDArray[np.uint8]:
                classes: NDArray[np.uint8] = dataset.read(1, window=window)
                return classes

            find_objects(
                objects,
                proposer,
                ObjectRules(),
                lambda done: context.progress(done, PHASE),
                labels,
            )
        return objects


def object_masks(models: LoadedPreset, points_per_side: int) -> AutomaticMaskSettings:
    """Return how SAM 2 is asked for objects: with the thresholds of the card, one mask a point."""
    proposals = GumixSettings.geo().with_overrides(models.card.gumix).proposals
    return AutomaticMaskSettings(
        points_per_side=points_per_side,
        iou_threshold=proposals.predicted_iou_threshold,
        stability_threshold=proposals.stability_threshold,
        stability_offset=proposals.stability_offset,
        overlap_threshold=proposals.box_overlap_threshold,
        three_masks=False,
        at_source=False,
    )
