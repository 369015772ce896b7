"""The page of an assessment: numbers, where errors lie, the worst places, how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.methods.assessment import Estimate, LayerSummary, ObjectStatus, QualityClass
from geoseg_qgis.engine.methods.assessment.numbers import PROBLEM_COLORS, problems
from geoseg_qgis.engine.methods.assessment.object_quality import scores
from geoseg_qgis.engine.methods.assessment.polygons import missed_ranks
from geoseg_qgis.engine.methods.assessment.rasters import QUALITY_LEGEND, QualityTally
from geoseg_qgis.engine.methods.assessment.run import Assessment
from geoseg_qgis.engine.models.segassess.component import SegAssessSettings
from geoseg_qgis.engine.raster.overview import overview_grid, overview_png, sample_classes
from geoseg_qgis.engine.zoo.card import ModelCard
from geoseg_qgis.protocol.tasks import AssessTask, AssessVariant

from .html_page import (
    MISSING,
    bar_cell,
    count,
    count_cell,
    details,
    escape,
    facts,
    page,
    section,
    table,
    tile,
)
from .text_file import write_text

_WORST = 20
_BINS = 20
_TITLES = (("iou", "IoU"), ("precision", "Precision"), ("recall", "Recall"), ("f1", "F1"))
_SUMMARY_NOTE = (
    "Predicted by the network, without ground truth: sums of probabilities, and below them counts "
    "of the most likely class. Intervals hold 95 % of what random parts of the area{} would give; "
    "they do not hold the network's own bias."
)
_PLACES_NOTE = "Places are map coordinates in the CRS of the imagery, pixels those of the results."


@dataclass(frozen=True)
class Surroundings:
    """What the page says beside the findings.

    Attributes:
        scene: Imagery and grids.
        card: The model.
        settings: Those of its network.
        warnings: Sentences that the user must see.
        provenance: How the page was made.
    """

    scene: RasterScene
    card: ModelCard
    settings: SegAssessSettings
    warnings: tuple[str, ...]
    provenance: Mapping[str, str]


def write_report(
    path: str, found: Assessment, tally: QualityTally, task: AssessTask, around: Surroundings
) -> None:
    """Write the page.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
    """
    name, imagery = found.mask.name, around.provenance.get("source", "")
    parts = [
        f"<header><p class='kind'>Assessment</p><h1>{escape(name)}</h1>"
        f"<p>judged on <b>{escape(imagery)}</b> by {escape(around.card.title)}</p></header>",
        *(f"<p class='warning'>{escape(warning)}</p>" for warning in around.warnings),
        _tiles(found),
        section("Scores", _summary(found), _SUMMARY_NOTE.format(_and_runs(found))),
        section("Where", _map(found, tally, around.scene)),
        section("Predicted IoU of the polygons", _histogram(found), _histogram_note(found)),
        section("What is wrong", _problems(found)),
        section("Polygons to look at first", _worst(found, around.scene), _PLACES_NOTE),
        section("Likely missed objects", _missed(found, around.scene), _PLACES_NOTE),
        section("How far to trust it", _limits(found, task, around)),
        details("How this page was made", facts(around.provenance)),
    ]
    write_text(path, page(f"Assessment of {name}", "".join(parts)))


def _and_runs(found: Assessment) -> str:
    return f" and {found.runs} runs" if found.runs > 1 else ""


def _tiles(found: Assessment) -> str:
    tiles = [
        tile(title, f"{getattr(found.summary, key).value:.3f}")
        for key, title in _TITLES
        if not math.isnan(getattr(found.summary, key).value)
    ]
    tiles += [
        tile("Polygons", count(len(found.objects.pixels))),
        tile("Likely false", count(int(found.objects.likely_false.sum()))),
        tile("Likely missed", count(len(found.missed.polygons))),
    ]
    return f"<div class='tiles'>{''.join(tiles)}</div>"


def _summary(found: Assessment) -> str:
    rows = [_summary_row("All", found.summary), _counted_row(found.summary)]
    if len(found.by_class) > 1:
        rows += [_summary_row(item.name, summary) for item, summary in found.by_class]
    return table(("Class", *(title for _, title in _TITLES)), rows)


def _summary_row(name: str, summary: LayerSummary) -> str:
    cells = "".join(_estimate_cell(getattr(summary, key)) for key, _ in _TITLES)
    return f"<tr><th>{escape(name)}</th>{cells}</tr>"


def _counted_row(summary: LayerSummary) -> str:
    tp, fp, _, fn = np.array(summary.hard_pixels, dtype=np.float64)
    counted = scores(tp, fp, fn)
    cells = "".join(
        _estimate_cell(Estimate(float(getattr(counted, key)), math.nan, math.nan))
        for key, _ in _TITLES
    )
    return f"<tr><th>All, pixels of the map counted</th>{cells}</tr>"


def _estimate_cell(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return f"<td class='missing'>{MISSING}</td>"
    interval = ""
    if not math.isnan(estimate.low):
        interval = f" <span class='missing'>{estimate.low:.3f} to {estimate.high:.3f}</span>"
    return f"<td><span class='value'>{estimate.value:.3f}</span>{interval}</td>"


def _map(found: Assessment, tally: QualityTally, scene: RasterScene) -> str:
    small = overview_grid(scene.output)
    picture = scene.reader.read(small, Window(0, 0, small.width, small.height))
    classes = sample_classes(found.merged.quality, scene.output, small)
    pixels = np.zeros((3, *small.shape), np.uint8) if picture is None else picture.pixels
    colors = {
        item.class_id: item.color
        for item in QUALITY_LEGEND
        if item.class_id != QualityClass.TRUE_NEGATIVE.raster_value
    }
    address = overview_png(pixels, classes, colors)
    rows = [
        f"<tr><th>{_swatch(item.color)}{escape(item.name)}</th>{count_cell(item.pixels)}"
        f"<td class='number'>{item.share:.1%}</td>{count_cell(round(item.area))}</tr>"
        for item in tally.summaries()
    ]
    listed = table(("Quality", "Pixels", "Share", "Area in m²"), rows)
    return (
        f"<img src='{address}' alt='Map of the quality' style='max-width:100%;display:block;"
        f"margin-bottom:14px;border-radius:6px'>{listed}"
    )


def _swatch(color: str) -> str:
    return (
        f"<i style='display:inline-block;width:12px;height:12px;border-radius:3px;"
        f"margin-right:8px;background:{color}'></i>"
    )


def _histogram(found: Assessment) -> str:
    """Return the predicted IoU of judged polygons as bars, drawn inside of the page."""
    judged = found.objects.status == ObjectStatus.JUDGED
    counts, _ = np.histogram(found.objects.soft.iou[judged], _BINS, (0.0, 1.0))
    width, height, left, bottom = 640, 180, 44, 24
    step, most = width / _BINS, max(int(counts.max()), 1)
    parts = [
        f"<rect x='{left + place * step + 1:.1f}' y='{height - height * number / most:.1f}' "
        f"width='{step - 2:.1f}' height='{height * number / most:.1f}' rx='2' class='right'>"
        f"<title>{place / _BINS:.2f} to {(place + 1) / _BINS:.2f}: {number}</title></rect>"
        for place, number in enumerate(counts.tolist())
    ]
    parts += [
        f"<text x='{left + share * width:.0f}' y='{height + 18}' text-anchor='middle'>"
        f"{share:g}</text>"
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    parts.append(f"<text x='{left - 6}' y='12' text-anchor='end'>{count(most)}</text>")
    return (
        f"<div class='wide'><svg class='matrix' viewBox='0 0 {width + left + 20} "
        f"{height + bottom}' width='{width + left + 20}' height='{height + bottom}' role='img'>"
        f"{''.join(parts)}</svg></div>"
    )


def _histogram_note(found: Assessment) -> str:
    judged = int((found.objects.status == ObjectStatus.JUDGED).sum())
    return f"{judged} of {len(found.objects.pixels)} polygons could be judged."


def _problems(found: Assessment) -> str:
    words, counts = np.unique(problems(found.objects).astype(str), return_counts=True)
    number = dict(zip(words.tolist(), counts.tolist(), strict=True))
    rows = [
        f"<tr><th>{_swatch(color)}{escape(word)}</th>{count_cell(number[word])}</tr>"
        for word, color in PROBLEM_COLORS.items()
        if word in number
    ]
    return table(("Problem", "Polygons"), rows)


def _worst(found: Assessment, scene: RasterScene) -> str:
    objects, mask = found.objects, found.mask
    judged = np.flatnonzero(objects.status == ObjectStatus.JUDGED)
    worst = judged[np.argsort(objects.rank[judged])][:_WORST]
    if not len(worst):
        return "<p>No polygon could be judged.</p>"
    words, names = problems(objects), ["", *(item.name for item in mask.classes)]
    rows = [
        f"<tr><th>{objects.rank[index]}</th><td>{escape(names[mask.object_classes[index]])}</td>"
        f"<td>{escape(words[index])}</td>{bar_cell(float(objects.soft.iou[index]))}"
        f"{bar_cell(float(objects.confidence[index]))}{count_cell(round(mask.areas[index]))}"
        f"<td class='number'>{_place(scene, mask.centres[index])}</td></tr>"
        for index in worst.tolist()
    ]
    titles = ("Rank", "Class", "Problem", "IoU", "Confidence", "Area in m²", "Place")
    return table(titles, rows)


def _missed(found: Assessment, scene: RasterScene) -> str:
    missed = found.missed
    if not len(missed.polygons):
        return "<p>None was found.</p>"
    _, rank = missed_ranks(missed)
    first = np.argsort(rank)[:_WORST]
    names = ["", *(item.name for item in found.mask.classes)]
    points = shapely.get_coordinates(shapely.point_on_surface(missed.polygons[first]))
    areas = shapely.area(missed.polygons[first])
    rows = [
        f"<tr><th>{rank[index]}</th><td>{escape(names[missed.classes[index]])}</td>"
        f"{bar_cell(float(missed.scores[index]))}{count_cell(round(areas[line]))}"
        f"<td class='number'>{_place(scene, points[line])}</td></tr>"
        for line, index in enumerate(first.tolist())
    ]
    return table(("Rank", "Class", "Probability", "Pixels", "Place"), rows)


def _place(scene: RasterScene, point: NDArray[np.float64]) -> str:
    x, y = scene.output.map_point(float(point[0]), float(point[1]))
    digits = 6 if abs(x) <= 360 and abs(y) <= 90 else 1
    return f"{x:.{digits}f}, {y:.{digits}f}"


def _limits(found: Assessment, task: AssessTask, around: Surroundings) -> str:
    size = around.scene.base.ground_pixel_size()
    reads = "its own pixels" if size is None else f"{max(size):.3g} m per pixel"
    liked = around.card.pixel_size
    made_for = "" if liked is None else f", made for {liked.finest:g} to {liked.coarsest:g} m"
    variant = {
        AssessVariant.CONSTRAINED: "TP and FP inside of the mask, TN and FN outside",
        AssessVariant.RAW: "the network's own answer, which may contradict the mask",
    }[task.variant]
    width = found.options.minimum_width
    told = {
        "What it is": "The opinion of a network that sees image and mask. It was not compared "
        "with any truth here: check a sample of polygons before you rely on the numbers.",
        "Trained on": ", ".join(around.settings.objects) or "the card does not say",
        "Image read at": f"{reads}{made_for}",
        "Quality classes": variant,
        "Views of each tile": str(found.runs),
        "Too small to judge": f"objects narrower than {width:.3g} pixels"
        + (f" or below {task.minimum_area:g} m²" if task.minimum_area else ""),
        "Recall of a polygon": f"counts what seems missing within {found.options.buffer:.3g} "
        "pixels around it",
    }
    return facts(told)
