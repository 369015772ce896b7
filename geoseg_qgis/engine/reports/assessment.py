"""The report of an assessment: numbers, where errors are, the worst places, how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.methods.assessment.assessor import Assessment
from geoseg_qgis.engine.methods.assessment.object_quality import ObjectStatus, scores
from geoseg_qgis.engine.methods.assessment.polygon_output import missed_ranks
from geoseg_qgis.engine.methods.assessment.problems import PROBLEM_COLORS, problems
from geoseg_qgis.engine.methods.assessment.quality_classes import QualityClass
from geoseg_qgis.engine.methods.assessment.raster_output import QUALITY_LEGEND, QualityTally
from geoseg_qgis.engine.methods.assessment.summary import Estimate, MaskSummary
from geoseg_qgis.engine.models.segassess.component import SegAssessSettings
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.overview import overview_grid, overview_png, sample_classes
from geoseg_qgis.engine.zoo.card import ModelCard
from geoseg_qgis.protocol.tasks.assess import AssessTask, AssessVariant

from .page import count, score, write_page
from .plots import histogram

_WORST = 20
_BINS = 20
_TITLES = {"iou": "IoU", "precision": "Precision", "recall": "Recall", "f1": "F1"}
_PLACES_NOTE = "Places are map coordinates in the CRS of the imagery; pixels are those of results."


@dataclass(frozen=True)
class RunFacts:
    """Facts about the run that the page shows beside the assessment.

    Attributes:
        scene: Imagery and grids.
        card: The model.
        settings: Settings of its network.
        warnings: Warnings of the run.
        provenance: How the page was made.
    """

    scene: RasterScene
    card: ModelCard
    settings: SegAssessSettings
    warnings: tuple[str, ...]
    provenance: Mapping[str, str]


def write_report(
    path: str, assessment: Assessment, tally: QualityTally, task: AssessTask, run: RunFacts
) -> None:
    """Write the page.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
    """
    assessed = assessment.objects.status == ObjectStatus.ASSESSED
    write_page(
        path,
        "assessment.html.j2",
        mask=assessment.mask.name,
        imagery=run.provenance.get("source", ""),
        model=run.card.title,
        warnings=run.warnings,
        tiles=_tiles(assessment),
        score_titles=list(_TITLES.values()),
        scores=list(_scores(assessment)),
        views=assessment.views,
        map=_map(assessment, run.scene),
        qualities=tally.summaries(),
        histogram=histogram(assessment.objects.soft.iou[assessed], _BINS),
        assessed=int(assessed.sum()),
        polygons=len(assessed),
        problems=_problems(assessment),
        worst=_worst(assessment, run.scene.output),
        missed=_missed(assessment, run.scene.output),
        places_note=_PLACES_NOTE,
        limits=_limits(assessment, task, run),
        provenance=run.provenance,
    )


def _tiles(assessment: Assessment) -> list[tuple[str, str]]:
    estimates = {title: getattr(assessment.summary, key).value for key, title in _TITLES.items()}
    return [
        *((title, score(value)) for title, value in estimates.items() if not math.isnan(value)),
        ("Polygons", count(len(assessment.objects.pixels))),
        ("Likely false", count(int(assessment.objects.likely_false.sum()))),
        ("Likely missed", count(len(assessment.missed.polygons))),
    ]


def _scores(assessment: Assessment) -> Iterator[tuple[str, list[Estimate]]]:
    yield "All", _estimates(assessment.summary)
    tp, fp, _, fn = np.array(assessment.summary.hard_pixels, dtype=np.float64)
    counted = scores(tp, fp, fn)
    yield (
        "All, pixels of the map counted",
        [Estimate(float(getattr(counted, key)), math.nan, math.nan) for key in _TITLES],
    )
    if len(assessment.by_class) > 1:
        yield from ((item.name, _estimates(summary)) for item, summary in assessment.by_class)


def _estimates(summary: MaskSummary) -> list[Estimate]:
    return [getattr(summary, key) for key in _TITLES]


def _map(assessment: Assessment, scene: RasterScene) -> str:
    """Return the imagery with the quality over it, as a data address."""
    small = overview_grid(scene.output)
    chip = scene.reader.read(small, Window(0, 0, small.width, small.height))
    classes = sample_classes(assessment.quality_map.quality, scene.output, small)
    pixels = np.zeros((3, *small.shape), np.uint8) if chip is None else chip.pixels
    colors = {
        item.class_id: item.color
        for item in QUALITY_LEGEND
        if item.class_id != QualityClass.TRUE_NEGATIVE.raster_value
    }
    return overview_png(pixels, classes, colors)


def _problems(assessment: Assessment) -> list[tuple[str, str, int]]:
    names, counts = np.unique(problems(assessment.objects).astype(str), return_counts=True)
    number = dict(zip(names.tolist(), counts.tolist(), strict=True))
    return [(color, name, number[name]) for name, color in PROBLEM_COLORS.items() if name in number]


def _worst(assessment: Assessment, grid: Grid) -> list[dict[str, object]]:
    objects, mask = assessment.objects, assessment.mask
    assessed = np.flatnonzero(objects.status == ObjectStatus.ASSESSED)
    worst = assessed[np.argsort(objects.rank[assessed])][:_WORST]
    named, names = problems(objects), ["", *(item.name for item in mask.classes)]
    return [
        {
            "rank": objects.rank[index],
            "class_name": names[mask.object_classes[index]],
            "problem": named[index],
            "iou": float(objects.soft.iou[index]),
            "confidence": float(objects.confidence[index]),
            "area": round(mask.areas[index]),
            "place": _place(grid, mask.centres[index]),
        }
        for index in worst.tolist()
    ]


def _missed(assessment: Assessment, grid: Grid) -> list[dict[str, object]]:
    missed = assessment.missed
    _, rank = missed_ranks(missed)
    first = np.argsort(rank)[:_WORST]
    names = ["", *(item.name for item in assessment.mask.classes)]
    points = shapely.get_coordinates(shapely.point_on_surface(missed.polygons[first]))
    areas = shapely.area(missed.polygons[first])
    return [
        {
            "rank": rank[index],
            "class_name": names[missed.classes[index]],
            "probability": float(missed.scores[index]),
            "pixels": round(areas[line]),
            "place": _place(grid, points[line]),
        }
        for line, index in enumerate(first.tolist())
    ]


def _place(grid: Grid, point: NDArray[np.float64]) -> str:
    x, y = grid.map_point(float(point[0]), float(point[1]))
    digits = 6 if abs(x) <= 360 and abs(y) <= 90 else 1
    return f"{x:.{digits}f}, {y:.{digits}f}"


def _limits(assessment: Assessment, task: AssessTask, run: RunFacts) -> dict[str, str]:
    size = run.scene.base.ground_pixel_size()
    reads = "its own pixels" if size is None else f"{max(size):.3g} m per pixel"
    suited = run.card.pixel_size
    made_for = "" if suited is None else f", made for {suited.finest:g} to {suited.coarsest:g} m"
    variant = {
        AssessVariant.CONSTRAINED: "TP and FP inside the mask, TN and FN outside",
        AssessVariant.RAW: "as the network predicts them, which may contradict the mask",
    }[task.variant]
    width = assessment.options.minimum_width
    return {
        "What it is": "The estimate of a network that reads image and mask. It was not compared "
        "with ground truth here: check a sample of polygons before you rely on the numbers.",
        "Trained on": ", ".join(run.settings.objects) or "the card does not say",
        "Image read at": f"{reads}{made_for}",
        "Quality classes": variant,
        "Views of each tile": str(assessment.views),
        "Too small to assess": f"objects narrower than {width:.3g} pixels"
        + (f" or below {task.minimum_area:g} m²" if task.minimum_area else ""),
        "Recall of a polygon": "counts what seems to be missing within "
        f"{assessment.options.buffer:.3g} pixels around it",
    }
