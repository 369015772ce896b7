"""Where the regions of a job come from: SAM 2, or the user's polygons or region raster."""

from __future__ import annotations

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.inference.proposals import Sam2Proposer, fill_from_sam2, subdivide
from geoseg_qgis.engine.inference.region_map import RegionMap
from geoseg_qgis.engine.inference.windows import blocks
from geoseg_qgis.engine.models.automatic_masks import AutomaticMaskSettings
from geoseg_qgis.engine.models.model_cache import out_of_memory_fallback
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.region_raster import read_region_raster
from geoseg_qgis.engine.vector.polygon_layer import rasterize_regions
from geoseg_qgis.protocol.source import VectorSource
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask

PHASE = "Finding regions"


def user_regions(
    scene: RasterScene, task: OpenVocabularyTask, context: JobContext
) -> RegionMap | None:
    """Return the regions of the user's own layer on the output grid, None without such a layer."""
    windows = list(blocks(scene.output))
    if isinstance(task.regions, VectorSource):
        parts = rasterize_regions(task.regions, scene.output, windows)
    elif task.regions is not None:
        parts = read_region_raster(task.regions, scene.output, windows)
    else:
        return None
    regions = RegionMap(scene.folder, scene.output)
    for number, (window, ids) in enumerate(parts):
        regions.write(window, ids)
        context.progress((number + 1) / len(windows), PHASE)
    if regions.count == 0:
        context.warn(
            "No region of the chosen layer lies in the extent, so that every pixel is labelled by "
            "itself. Choose another layer or extent."
        )
    return regions


def proposed_regions(scene: RasterScene, proposer: Sam2Proposer, context: JobContext) -> RegionMap:
    """Return SAM 2's regions on the output grid."""
    regions = RegionMap(scene.folder, scene.output, scene.journal)
    fill_from_sam2(regions, proposer, lambda done: context.progress(done, PHASE))
    return regions


def make_proposer(
    scene: RasterScene,
    models: LoadedPreset,
    settings: AutomaticMaskSettings,
    finest_scale: float,
    context: JobContext,
) -> Sam2Proposer:
    """Return the proposer of regions.

    Args:
        scene: The raster and its grids.
        models: Networks with a SAM 2.
        settings: Points and thresholds.
        finest_scale: Scale of the finest grid that any network reads.
        context: Asked for a cancel between batches of prompts.
    """
    grid, subdivision = subdivide(scene.output, scene.scale_grid(finest_scale))
    return Sam2Proposer(
        scene.reader,
        grid,
        models.sam2,
        settings=settings,
        subdivision=subdivision,
        checkpoint=lambda _: context.check_cancelled(),
        fallback=out_of_memory_fallback(models, context, "sam2"),
    )
