"""A preview of the visible area: its runs, its rate, and its scores on the map."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

from qgis.core import QgsDistanceArea, QgsPointXY, QgsProject, QgsRasterLayer, QgsRectangle
from qgis.PyQt.QtCore import QObject, pyqtSignal

from ...translation import tr
from ..context import SELECTED_POLYGON, VISIBLE_AREA, DockContext
from ..jobs.runner import TEMPORARY, JobRunner
from ..overlay import ImageOverlay
from .meaning import Kind, Meaning
from .score_images import ScoreImages
from .vocabulary import ModelCard

LONGEST_SIDE = 1024
"""Pixels of the model along the longer side of a preview."""
INSTRUCTION_CELL = 4
"""Pixels along a cell of the masks that UniGeoSeg predicts: a quarter of the image's resolution."""
_MOST_PIXELS = 2000
_LOADED = 0.02


@dataclass(frozen=True)
class PreviewArea:
    """Where a preview is run.

    Attributes:
        rectangle: In the CRS of the imagery.
        is_part: Whether it is less than what was asked for.
        metres: Width and height on the ground.
    """

    rectangle: QgsRectangle
    is_part: bool
    metres: Tuple[float, float]


def preview_area(context: DockContext, card: ModelCard) -> Optional[PreviewArea]:
    """Return the middle of the visible or selected area, small enough for a few seconds."""
    image = context.image()
    kind = SELECTED_POLYGON if context.area_kind() == SELECTED_POLYGON else VISIBLE_AREA
    wanted = context.rectangle(kind)
    if image is None or wanted is None:
        return None
    metres = _metres(image, wanted)
    pixel = card.pixel_size or 0.0
    if image.width() > 0:
        whole = _metres(image, image.extent())
        pixel = max(pixel, whole[0] / image.width())
    longest = LONGEST_SIDE * pixel if pixel else max(metres)
    factors = [min(1.0, longest / side) if side else 1.0 for side in metres]
    centre = wanted.center()
    width, height = wanted.width() * factors[0], wanted.height() * factors[1]
    part = QgsRectangle.fromCenterAndSize(centre, width, height)
    size = (metres[0] * factors[0], metres[1] * factors[1])
    return PreviewArea(part, min(factors) < 1.0, size)


def smallest_area(context: DockContext, card: ModelCard, kind: Kind) -> Optional[float]:
    """Return the square metres of one cell of the network, below which a polygon is noise.

    Args:
        context: Has the imagery.
        card: The model.
        kind: What is looked for: the masks of instructions have cells of `INSTRUCTION_CELL` pixels.
    """
    image = context.image()
    cell = card.cell if kind is Kind.CLASSES else INSTRUCTION_CELL
    if image is None or cell is None or card.pixel_size is None:
        return None
    pixel = card.pixel_size
    if image.width() > 0:
        pixel = max(pixel, _metres(image, image.extent())[0] / image.width())
    return round((cell * pixel) ** 2, 2)


def _metres(image: QgsRasterLayer, rectangle: QgsRectangle) -> Tuple[float, float]:
    """Return width and height of a rectangle on the ground, in map units without a CRS."""
    measure = QgsDistanceArea()
    measure.setSourceCrs(image.crs(), QgsProject.instance().transformContext())
    measure.setEllipsoid(image.crs().ellipsoidAcronym() or "WGS84")
    centre = rectangle.center()
    across = measure.measureLine(
        QgsPointXY(rectangle.xMinimum(), centre.y()), QgsPointXY(rectangle.xMaximum(), centre.y())
    )
    along = measure.measureLine(
        QgsPointXY(centre.x(), rectangle.yMinimum()), QgsPointXY(centre.x(), rectangle.yMaximum())
    )
    return float(across), float(along)


class Preview(QObject):
    """Runs previews one at a time and shows their scores; a new one replaces an older one.

    Args:
        context: Imagery, model and area.
        runner: Runs the algorithms.
        parent: Owner of the object.

    Attributes:
        progressed: Sent with the finished fraction in 0..1.
        ended: Sent with an empty text, or with why there is no preview.
    """

    progressed = pyqtSignal(float)
    ended = pyqtSignal(str)

    def __init__(
        self, context: DockContext, runner: JobRunner, parent: Optional[QObject] = None
    ) -> None:
        super().__init__(parent)
        self._context = context
        self._runner = runner
        self._overlay = ImageOverlay(context.iface.mapCanvas())
        self._run: Optional[int] = None
        self._serial = 0
        self._area: Optional[PreviewArea] = None
        self._loaded_at: Optional[float] = None
        self._scores: Optional[ScoreImages] = None
        self._count = 0
        self._problem = ""
        self.seconds: Optional[float] = None

    @property
    def area(self) -> Optional[PreviewArea]:
        """Where the last preview was run."""
        return self._area

    @property
    def running(self) -> bool:
        """Whether a preview is being made."""
        return self._run is not None

    @property
    def has_scores(self) -> bool:
        """Whether there is something that thresholds act on."""
        return self._scores is not None

    @property
    def scores(self) -> Optional[ScoreImages]:
        """The scores of the last preview, None when nothing is shown."""
        return self._scores

    @property
    def overlay(self) -> ImageOverlay:
        """The picture on the map."""
        return self._overlay

    def start(
        self, algorithm: str, parameters: Dict[str, Any], meaning: Meaning, area: PreviewArea
    ) -> None:
        """Run a preview.

        Args:
            algorithm: Id of the algorithm.
            parameters: Those of the run on the whole area, without outputs.
            meaning: What is looked for.
            area: See `preview_area`.
        """
        self.cancel()
        self.clear()
        is_list = meaning.kind is Kind.CLASSES
        values = {**parameters, "EXTENT": self._context.extent_text(area.rectangle)}
        values["SCORES"] = TEMPORARY
        if is_list:
            values["OUTPUT"] = TEMPORARY
        resolution = self._resolution(area)
        if resolution is not None:
            values["RESOLUTION"] = resolution
        problem = self._runner.check(algorithm, values)
        if problem:
            self.ended.emit(problem)
            return
        self._area, self._loaded_at, self.seconds, self._problem = area, None, None, ""
        self._count = len(meaning.classes) if is_list else 1
        self._serial += 1
        serial = self._serial
        self._run = self._runner.start(
            algorithm,
            values,
            ended=lambda fine, results: self._scored(serial, fine, results),
            listed=False,
        )
        self._follow()

    def cancel(self) -> None:
        """Stop the preview that is being made; its results are dropped."""
        self._serial += 1
        if self._run is not None:
            self._runner.cancel(self._run)
            self._run = None

    def clear(self) -> None:
        """Show nothing on the map."""
        self._scores = None
        self._overlay.clear()

    def show(self, colors: List[str], thresholds: List[float]) -> None:
        """Show the classes that reach their thresholds, from the scores that are kept."""
        scores = self._scores
        if scores is not None and len(colors) == len(scores.scores):
            picture = scores.picture(colors, thresholds)
            self._overlay.show_image(picture, scores.extent, scores.crs)

    def estimate(self, kind: str) -> Optional[float]:
        """Return the seconds that a run on an area takes at the rate of the last preview."""
        image = self._context.image()
        if self.seconds is None or self._area is None or image is None:
            return None
        wanted = self._context.rectangle(kind)
        if wanted is None and image.width() == 0:
            return None
        wanted = wanted or image.extent()
        done = self._area.rectangle
        ratio = (wanted.width() * wanted.height()) / (done.width() * done.height())
        return float(self.seconds * ratio)

    def close(self) -> None:
        """Stop and take everything off the map."""
        self.cancel()
        self._scores = None
        self._overlay.remove()

    def _follow(self) -> None:
        feedback = self._runner.feedback(self._run) if self._run is not None else None
        if feedback is not None:
            feedback.progressChanged.connect(self._progress)
            feedback.said.connect(self._said)

    def _progress(self, percent: float) -> None:
        fraction = percent / 100.0
        if fraction >= _LOADED and self._loaded_at is None:
            self._loaded_at = time.monotonic()
        self.progressed.emit(fraction)

    def _said(self, level: str, text: str) -> None:
        if level == "error":
            self._problem = text

    def _scored(self, serial: int, fine: bool, results: Dict[str, Any]) -> None:
        if serial != self._serial:
            return
        if not fine:
            self._end(self._problem or tr("There is no preview: the run was cancelled."))
            return
        if self._loaded_at is not None:
            self.seconds = time.monotonic() - self._loaded_at
        if "OUTPUT" not in results:
            self._show_scores(results["SCORES"])
            return
        # The most probable classes, which a reclassification begins with.
        self._run = self._runner.start(
            "geoseg:reclassify",
            {"SCORES": results["SCORES"], "THRESHOLDS": "0", "OUTPUT": TEMPORARY},
            ended=lambda fine, winners: self._classified(serial, fine, results, winners),
            listed=False,
        )

    def _classified(
        self, serial: int, fine: bool, results: Dict[str, Any], winners: Dict[str, Any]
    ) -> None:
        if serial != self._serial:
            return
        if fine:
            self._show_scores(results["SCORES"], results["OUTPUT"], winners["OUTPUT"])
        else:
            self._end(self._problem or tr("There is no preview: the run was cancelled."))

    def _show_scores(self, *files: str) -> None:
        scores, *labels = files
        self._scores = ScoreImages.read(scores, self._count, *labels)
        unreadable = tr("The scores of the preview cannot be read. Try again.")
        self._end("" if self._scores is not None else unreadable)

    def _end(self, problem: str) -> None:
        self._run = None
        self.ended.emit(problem)

    def _resolution(self, area: PreviewArea) -> Optional[float]:
        """Return a pixel size for more pixels than a screen has, None for that of the image."""
        image = self._context.image()
        longest = max(area.rectangle.width(), area.rectangle.height())
        if image is None or image.width() == 0:
            return None
        pixel = image.rasterUnitsPerPixelX()
        return longest / _MOST_PIXELS if longest / pixel > _MOST_PIXELS else None
