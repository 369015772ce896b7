"""Every object of a raster to one polygon each, and a raster of their numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import shapely

from geoseg_qgis.engine.inference.messages import report_pixel_size, report_unreadable
from geoseg_qgis.engine.inference.objects import ObjectFacts, ObjectRules, find_objects
from geoseg_qgis.engine.inference.region_map import RegionMap
from geoseg_qgis.engine.inference.windows import blocks
from geoseg_qgis.engine.methods.open_vocabulary.objects import object_masks
from geoseg_qgis.engine.methods.open_vocabulary.regions import make_proposer
from geoseg_qgis.engine.models.model_cache import load_models
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.write import RegionRasterWriter
from geoseg_qgis.engine.vector.areas import trace_areas
from geoseg_qgis.engine.vector.geopackage import write_geopackage
from geoseg_qgis.engine.vector.measure import measure_polygons
from geoseg_qgis.engine.vector.polygonize import LAYER, fill_small_holes, place, square_outlines
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.polygons import PolygonOptions
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.tasks.everything import EverythingTask

from .provenance import describe_run
from .results import ResultFiles
from .scene import prepare_scene

FINDING = "Finding objects"
DRAWING = "Drawing polygons"
# Seen alone, a part on top of a whole is an object of its own: a chimney on a roof.
RULES = ObjectRules(largest_share=0.95, smallest_first=True)


def run(job: Job, context: JobContext) -> Result:
    """Run an ``everything`` job.

    Raises:
        JobError: Whatever prevents it, with the next step.
    """
    task: EverythingTask = job.task
    files = ResultFiles(task.region_raster, task.polygon_file)
    files.check()
    context.progress(0.0, "Loading the models")
    models = load_models(job, context)
    made_for = models.card.pixel_size
    with prepare_scene(job, files.folder, made_for, context) as scene:
        report_pixel_size(models.card.title, scene.base, made_for, context)
        finding, writing = context.span(0.02, 0.85), context.span(0.85, 1.0)
        objects = RegionMap(scene.folder, scene.output, scene.journal, "objects")
        proposer = make_proposer(
            scene, models, object_masks(models, task.points_per_side), 1.0, finding
        )
        facts = find_objects(objects, proposer, RULES, lambda done: finding.progress(done, FINDING))
        report_unreadable(scene.reader, "stay without objects", context)
        provenance = describe_run(job, models, proposer.grid)
        if files.class_raster is not None:
            _write_raster(objects, Path(files.class_raster), provenance, writing.span(0.0, 0.4))
        numbers = _write_polygons(
            objects, facts, task.polygons, files.polygon_file, provenance, writing.span(0.4, 1.0)
        )
        if not numbers["OBJECT_COUNT"]:
            context.warn(
                "No object was found in this extent. Use more points per side, a finer resolution "
                "or another model."
            )
        return Result(
            files.named(), numbers, warnings=tuple(context.warnings), provenance=provenance
        )


def _write_raster(
    objects: RegionMap, path: Path, provenance: dict[str, str], context: JobContext
) -> None:
    windows = list(blocks(objects.grid))
    with RegionRasterWriter(path, objects.grid, provenance) as writer:
        for number, window in enumerate(windows):
            writer.write(window, objects.read(window))
            context.progress((number + 1) / len(windows), "Writing the region raster")


def _write_polygons(  # noqa: PLR0917
    objects: RegionMap,
    facts: ObjectFacts,
    options: PolygonOptions,
    path: str | None,
    provenance: dict[str, str],
    context: JobContext,
) -> dict[str, float]:
    """Write one polygon an object, and return the numbers of the result."""
    grid = objects.grid
    areas = trace_areas(
        grid,
        objects.read,
        None,
        options.minimum_area,
        options.simplify,
        lambda done: context.progress(0.8 * done, DRAWING),
    )
    order = np.argsort(areas.class_ids, kind="stable")
    polygons = _finish(areas.polygons[order], grid, options)
    ids, owners = np.unique(areas.class_ids[order], return_inverse=True)
    placed = place(polygons, grid)
    ground, _ = measure_polygons(placed, grid.crs_wkt)
    whole = np.zeros(0, dtype=object)
    if len(ids):
        whole = np.asarray(shapely.multipolygons(placed, indices=owners), dtype=object)
    if path is not None:
        write_geopackage(
            Path(path),
            LAYER,
            whole,
            fields={
                "object_id": ids.astype(np.int32),
                "predicted_iou": facts.iou[ids].astype(np.float64).round(4),
                "stability": facts.stability[ids].astype(np.float64).round(4),
                "area_m2": np.bincount(owners, ground, len(ids)).round(3),
                "model": np.full(len(ids), provenance.get("model", ""), dtype=object),
            },
            crs_wkt=grid.crs_wkt,
            legend=(),
            metadata=provenance,
        )
    context.progress(1.0, DRAWING)
    return {
        "OBJECT_COUNT": float(len(ids)),
        "MEAN_IOU": round(float(facts.iou[ids].mean()), 6) if len(ids) else 0.0,
        "COVERED_AREA": round(float(ground.sum()), 3),
    }


def _finish(polygons: np.ndarray, grid: Grid, options: PolygonOptions) -> np.ndarray:
    filled = fill_small_holes(polygons, grid, options.minimum_hole)
    if options.right_angles and len(filled):
        return square_outlines(filled, grid, options.simplify)
    return filled
