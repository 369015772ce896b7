"""Points, boxes and polygons of a layer to one outline each, and a mask of all of them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.inference.messages import report_pixel_size
from geoseg_qgis.engine.inference.windows import blocks
from geoseg_qgis.engine.methods.prompted.masks import logit_of
from geoseg_qgis.engine.methods.prompted.predictions import Predictor
from geoseg_qgis.engine.methods.prompted.prompt_tiles import Ladder
from geoseg_qgis.engine.methods.prompted.prompted_objects import (
    ObjectPrompts,
    Rectangle,
    gather_objects,
)
from geoseg_qgis.engine.methods.prompted.sam2_predictor import Sam2Predictor, sam2_predictor
from geoseg_qgis.engine.methods.prompted.segmentation import (
    FoundObject,
    MaskRules,
    PromptedSegmentation,
)
from geoseg_qgis.engine.methods.prompted.unigeoseg_predictor import UniGeoSegPredictor
from geoseg_qgis.engine.methods.referring.unigeoseg import preset_segmenter
from geoseg_qgis.engine.models.model_cache import warm_models
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.grid import Grid, model_grid
from geoseg_qgis.engine.raster.write import ClassRasterWriter
from geoseg_qgis.engine.vector.geopackage import write_geopackage
from geoseg_qgis.engine.vector.measure import measure_polygons
from geoseg_qgis.engine.vector.polygonize import LAYER, place
from geoseg_qgis.engine.vector.prompt_layer import PromptLayer, read_prompts
from geoseg_qgis.engine.vector.read import PlacedPolygons
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import LegendClass
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.tasks import PromptsTask

from .provenance import describe_run
from .results import ResultFiles
from .scene import prepare_scene

METHODS: dict[str, type[Predictor]] = {"sam2": Sam2Predictor, "unigeoseg": UniGeoSegPredictor}
OBJECT = (LegendClass(1, ("object",), "#d1495b"),)
OUTLINING = "Outlining objects"


def run(job: Job, context: JobContext) -> Result:
    """Do a ``prompts`` job.

    Raises:
        JobError: Whatever stands in the way, with the next step.
    """
    task = _task(job)
    files = ResultFiles(task.mask_raster, task.polygon_file)
    files.check()
    with prepare_scene(job, files.folder, None) as scene:
        output = scene.output
        context.progress(0.0, "Reading prompts")
        layer = read_prompts(task.prompts, output, task.label_field, task.group_field)
        for note in layer.notes:
            context.warn(note)
        wanted = _gather(layer, output, METHODS[job.method])
        context.progress(0.01, "Loading the models")
        models = warm_models(job, context)
        answerer = _answerer(job.method, models)
        segmentation = PromptedSegmentation(
            scene.reader,
            _ladder(scene, models, answerer, context),
            answerer,
            MaskRules(logit_of(task.threshold), task.minimum_score, task.polygons),
        )
        span = context.span(0.05, 0.9)
        found = list(segmentation.run(wanted.objects, lambda done: span.progress(done, OUTLINING)))
        _tell_losses(wanted, segmentation, len(found), context)
        provenance = describe_run(job, models, segmentation.fallback.finest)
        found.sort(key=lambda item: item.prompt.number)
        _write(Outlines(found, layer, output), files, provenance, context.span(0.9, 1.0))
        return Result(
            files.named(),
            _numbers(found, wanted.count),
            warnings=tuple(context.warnings),
            provenance=provenance,
        )


def _task(job: Job) -> PromptsTask:
    if not isinstance(job.task, PromptsTask):
        raise JobError(
            ErrorCode.INVALID_JOB,
            "The job's task is not one of prompts.",
            "Write the members of a prompts task.",
        )
    if job.method not in METHODS:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"Segmentation by prompts has no method called {job.method!r}.",
            f"Use one of {', '.join(METHODS)}.",
        )
    for name, value in (
        ("threshold", job.task.threshold),
        ("minimum score", job.task.minimum_score),
    ):
        if not 0.0 <= value <= 1.0:
            raise JobError(
                ErrorCode.INVALID_JOB,
                f"A {name} of {value:g} is no probability.",
                "Use a number from 0 to 1, such as 0.5.",
            )
    return job.task


def _gather(layer: PromptLayer, output: Grid, method: type[Predictor]) -> ObjectPrompts:
    wanted = gather_objects(
        layer,
        (0.0, 0.0, float(output.width), float(output.height)),
        method.line_points,
        method.inner_points,
    )
    _require_objects(wanted)
    method.check(wanted.objects)
    return wanted


def _answerer(method: str, models: LoadedPreset) -> Predictor:
    if method == "sam2":
        return sam2_predictor(models)
    return UniGeoSegPredictor(preset_segmenter(models))


def _ladder(
    scene: RasterScene, models: LoadedPreset, answerer: Predictor, context: JobContext
) -> Ladder:
    """Return the grids to read, and report when the raster is too coarse for the model."""
    output, source = scene.output, scene.reader.source_grid
    own = isinstance(answerer, UniGeoSegPredictor)
    liked = models.instruction_pixel_size if own else models.card.pixel_size
    wish = None
    if liked is not None:
        wish = liked.finest if answerer.wants_detail else liked.preferred
    finest = model_grid(output, source, wish)
    report_pixel_size(models.card.title, finest, liked, context)
    return Ladder(output, finest, answerer.tile, _ground_of(source, output))


def _ground_of(source: Grid, output: Grid) -> Rectangle:
    """Return left, top, right, bottom of a raster in pixels of a part of it."""
    across, left, down, top = source.axes_to(output)
    return left, top, left + source.width * across, top + source.height * down


def _require_objects(wanted: ObjectPrompts) -> None:
    if wanted.objects:
        return
    if wanted.without_positive and not wanted.outside:
        raise JobError(
            ErrorCode.INVALID_JOB,
            "All prompts are negative, so there is nothing to outline.",
            "Add a positive point to each object, or choose another label field.",
        )
    if wanted.outside:
        raise JobError(
            ErrorCode.EXTENT_OUTSIDE,
            "All prompts lie outside of the raster or of the extent.",
            "Check the CRS of the prompt layer, or choose another extent.",
        )
    raise JobError(
        ErrorCode.INVALID_JOB,
        "No feature of the layer of prompts has a geometry.",
        "Draw a point on each object that you want outlined.",
    )


def _tell_losses(
    wanted: ObjectPrompts, segmentation: PromptedSegmentation, found: int, context: JobContext
) -> None:
    if not found and segmentation.unread + segmentation.on_nodata == len(wanted.objects):
        if segmentation.unread:
            failures = sorted(set(segmentation.reader.failures))
            raise JobError(
                ErrorCode.TILES_FAILED,
                "The raster cannot be read where the prompts are.",
                "Repair the file or load it again, then run again.",
                "\n".join(failures),
            )
        raise JobError(
            ErrorCode.EXTENT_OUTSIDE,
            "The raster holds no data under any of the prompts.",
            "Check the CRS of the prompt layer and the raster's nodata value.",
        )
    empty = len(wanted.objects) - found
    empty -= segmentation.on_nodata + segmentation.unread + segmentation.unsure
    losses = {
        "Prompts outside of the raster or of the extent, which are not used": wanted.outside,
        "Features without a geometry, which are not used": wanted.empty,
        "Objects with negative prompts alone, which are left out": wanted.without_positive,
        "Objects with very many points, of which an even choice is used": wanted.thinned,
        "Objects where the raster holds no data, which are left out": segmentation.on_nodata,
        "Objects where the raster cannot be read, which are left out": segmentation.unread,
        "Objects that score less than the minimum score, which are left out": segmentation.unsure,
        "Objects without an outline, as nothing large enough was found at their prompts": empty,
    }
    for loss, count in losses.items():
        if count:
            context.warn(f"{loss}: {count}.")


@dataclass(frozen=True)
class Outlines:
    """What is to be written.

    Attributes:
        found: Objects in the order of the layer.
        layer: The prompts.
        grid: Grid of the results.
    """

    found: list[FoundObject]
    layer: PromptLayer
    grid: Grid

    @property
    def in_pixels(self) -> NDArray[np.object_]:
        """The outline of each object as a multipolygon in output pixels."""
        parts = np.concatenate([np.zeros(0, dtype=object), *(item.polygons for item in self.found)])
        return self._joined(parts)

    @property
    def on_map(self) -> NDArray[np.object_]:
        """The outline of each object as a multipolygon in map coordinates."""
        return place(self.in_pixels, self.grid)

    def areas(self, outlines: NDArray[np.object_]) -> NDArray[np.float64]:
        """Return square metres of outlines, on the ellipsoid."""
        parts, owners = shapely.get_parts(outlines, return_index=True)
        areas, _ = measure_polygons(parts, self.grid.crs_wkt)
        sums: NDArray[np.float64] = np.bincount(owners, areas, len(outlines)).astype(np.float64)
        return sums

    def _joined(self, parts: NDArray[np.object_]) -> NDArray[np.object_]:
        if not self.found:
            return np.zeros(0, dtype=object)
        owners = np.repeat(np.arange(len(self.found)), [len(item.polygons) for item in self.found])
        return np.asarray(shapely.multipolygons(parts, indices=owners), dtype=object)


def _write(
    outlines: Outlines, files: ResultFiles, provenance: dict[str, str], context: JobContext
) -> None:
    """Write the mask and the outlines; neither appears before it is complete."""
    with ExitStack() as stack:
        if files.class_raster is not None:
            writer = stack.enter_context(
                ClassRasterWriter(files.class_raster, outlines.grid, OBJECT, provenance)
            )
            _write_mask(outlines, writer, context)
        if files.polygon_file is not None:
            context.progress(1.0, "Writing outlines")
            _write_outlines(outlines, Path(files.polygon_file), provenance)


def _write_mask(outlines: Outlines, writer: ClassRasterWriter, context: JobContext) -> None:
    shapes = outlines.in_pixels
    placed = PlacedPolygons(shapes, None, 0)
    ones = np.ones(len(shapes), dtype=np.int32)
    windows = list(blocks(outlines.grid))
    for number, window in enumerate(windows):
        writer.write(window, placed.burn(ones, window).astype(np.uint8))
        context.progress((number + 1) / len(windows), "Writing the mask")


def _write_outlines(outlines: Outlines, path: Path, provenance: dict[str, str]) -> None:
    found, on_map = outlines.found, outlines.on_map
    rows = np.array([item.prompt.first for item in found], dtype=np.int64)
    table = outlines.layer.attributes.take(rows).with_columns(
        {
            "score": np.array([round(item.score, 4) for item in found], dtype=np.float64),
            "area_m2": outlines.areas(on_map).round(3),
            "prompts": np.array([item.prompt.features for item in found], dtype=np.int32),
            "model": np.full(len(found), provenance.get("model", ""), dtype=object),
        }
    )
    write_geopackage(
        path,
        LAYER,
        on_map,
        fields=dict(zip(table.names, table.values, strict=True)),
        crs_wkt=outlines.grid.crs_wkt,
        legend=(),
        metadata=provenance,
        empty=dict(zip(table.names, table.empty, strict=True)),
    )


def _numbers(found: list[FoundObject], wanted: int) -> dict[str, float]:
    scores = [item.score for item in found]
    return {
        "OBJECT_COUNT": float(len(found)),
        "MISSING_COUNT": float(wanted - len(found)),
        "MEAN_SCORE": float(np.mean(scores)) if scores else 0.0,
    }
