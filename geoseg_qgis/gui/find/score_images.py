"""Scores of a preview as pictures: thresholds act on them at once, without the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

from qgis.core import Qgis, QgsCoordinateReferenceSystem, QgsRasterLayer, QgsRectangle
from qgis.PyQt.QtGui import QColor, QImage, QPainter, qRgba

SCORE_STEPS = 254
"""Probability 1 in the bytes of a scores raster; 255 is no data."""
_FILL_OPACITY = 150
_LEVELS = 256
_HALF_STEP = 0.5


@dataclass(frozen=True)
class ScoreImages:
    """The scores of the named classes on one raster.

    Attributes:
        scores: One 8-bit picture for each class.
        labels: 8-bit picture of the labels of the run, 0 for none; None when the scores are those
            of one instruction.
        winners: 8-bit picture of the most probable class of each pixel, as `geoseg:reclassify`
            gives it; None like ``labels``.
        extent: Extent of the pictures.
        crs: CRS of the extent.
    """

    scores: Sequence[QImage]
    labels: Optional[QImage]
    winners: Optional[QImage]
    extent: QgsRectangle
    crs: QgsCoordinateReferenceSystem

    @classmethod
    def read(
        cls, scores: str, count: int, labels: str = "", winners: str = ""
    ) -> Optional[ScoreImages]:
        """Read the rasters of a preview; None when one of them cannot be read.

        Args:
            scores: File with one band of bytes for each class.
            count: Number of named classes.
            labels: File of `labels`, empty for none.
            winners: File of `winners`, empty for none.
        """
        layer = QgsRasterLayer(scores, "scores", "gdal")
        bands = [_read_band(layer, band) for band in range(1, count + 1)]
        others = [
            _read_band(QgsRasterLayer(path, "labels", "gdal"), 1)
            for path in (labels, winners)
            if path
        ]
        if not layer.isValid() or any(image is None for image in (*bands, *others)):
            return None
        found = [image for image in bands if image is not None]
        first, second = others if len(others) == 2 else (None, None)
        return cls(found, first, second, layer.extent(), layer.crs())

    def picture(self, colors: Sequence[str], thresholds: Sequence[float]) -> QImage:
        """Return the classes that reach their thresholds, half clear, on a clear ground.

        With thresholds of 0 alone these are the labels of the run, else those of `reclassify`.

        Args:
            colors: Colour of each class, ``#rrggbb``.
            thresholds: Threshold of each class, 0..1.
        """
        first = self.scores[0]
        result = QImage(first.size(), QImage.Format.Format_ARGB32_Premultiplied)
        result.fill(0)
        chosen = self.winners if any(thresholds) else self.labels
        painter = QPainter(result)
        for number, (scores, color, threshold) in enumerate(
            zip(self.scores, colors, thresholds), start=1
        ):
            painter.drawImage(0, 0, _above(scores, color, threshold, chosen, number))
        painter.end()
        return result


def _above(
    scores: QImage, color: str, threshold: float, chosen: Optional[QImage], number: int
) -> QImage:
    """Return where the class ``number`` is chosen and reaches its threshold."""
    ink = QColor(color)
    paint = qRgba(ink.red(), ink.green(), ink.blue(), _FILL_OPACITY)
    # Halves go to the even number, as NumPy rounds in the engine.
    lowest = round(threshold * SCORE_STEPS)
    table = [paint if lowest <= level <= SCORE_STEPS else 0 for level in range(_LEVELS)]
    picture = QImage(scores)
    picture.setColorTable(table)
    picture = picture.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)
    if chosen is not None:
        mask = QImage(chosen)
        opaque = qRgba(0, 0, 0, 255)
        mask.setColorTable([opaque if level == number else 0 for level in range(_LEVELS)])
        painter = QPainter(picture)
        painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_DestinationIn)
        painter.drawImage(0, 0, mask)
        painter.end()
    return picture


def _read_band(layer: QgsRasterLayer, band: int) -> Optional[QImage]:
    """Return a band of bytes as an indexed picture, None when there is none."""
    if not layer.isValid() or band > layer.bandCount():
        return None
    provider = layer.dataProvider()
    width, height = layer.width(), layer.height()
    block = provider.block(band, layer.extent(), width, height)
    if not block.isValid():
        return None
    scale = provider.bandScale(band)
    if scale != 1.0:
        # QGIS applies the scale of the file; half a step makes up for the cut of the decimals.
        block.applyScaleOffset(1.0 / scale, _HALF_STEP)
    if not block.convert(Qgis.DataType.Byte):
        return None
    # The picture shares the bytes, so they are copied before they go.
    content = bytes(block.data())
    return QImage(content, width, height, width, QImage.Format.Format_Indexed8).copy()
