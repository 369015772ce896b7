"""A picture for people: the image, the classes over it, and the legend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rasterio.windows import Window

from geoseg_qgis.engine.files import draft
from geoseg_qgis.engine.raster.datasets import open_dataset, unreadable
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.source import open_raster
from geoseg_qgis.engine.raster.stretch import measure_stretch
from geoseg_qgis.engine.raster.style import rgb
from geoseg_qgis.protocol.legend import LegendClass
from geoseg_qgis.protocol.source import RasterSource

_OPACITY = 0.55
_MARGIN = 12
_LINE = 24


def write_preview(
    image: RasterSource | str | Path,
    class_raster: str | Path,
    legend: tuple[LegendClass, ...],
    path: str | Path,
    size: int = 700,
) -> None:
    """Write a PNG with the image, the classes over the image, and the names of the classes.

    Args:
        image: The raster that was classified.
        class_raster: Its class ids, on any part of its pixels and at any resolution.
        legend: The classes.
        path: PNG to write.
        size: Pixels of the longer side of each of the two pictures.

    Raises:
        JobError: ``SOURCE_UNREADABLE`` or ``OUTPUT_UNWRITABLE``.
    """
    source = image if isinstance(image, RasterSource) else RasterSource(str(image))
    grid, classes = _read_classes(class_raster, size)
    with open_raster(source) as raster:
        stretch = measure_stretch(raster, grid, source.stretch)
        patch = raster.read(grid, Window(0, 0, grid.width, grid.height))
        pixels = stretch.apply(patch.values, patch.valid).transpose(1, 2, 0)
    picture = _compose(np.ascontiguousarray(pixels), classes, legend)
    with draft(Path(path)) as unfinished:
        picture.save(unfinished, format="PNG")


def _read_classes(path: str | Path, size: int) -> tuple[Grid, NDArray[np.uint8]]:
    opened = open_dataset(RasterSource(str(path)))
    try:
        full = opened.grid("")
        shrink = size / max(full.shape)
        width, height = max(1, round(full.width * shrink)), max(1, round(full.height * shrink))
        classes: NDArray[np.uint8] = opened.dataset.read(1, out_shape=(height, width))
    except OSError as error:
        raise unreadable(str(path), error) from error
    finally:
        opened.close()
    return full.rescaled(width, height), classes


def _compose(
    pixels: NDArray[np.uint8], classes: NDArray[np.uint8], legend: tuple[LegendClass, ...]
) -> Image.Image:
    height, width = classes.shape
    colors = np.zeros((256, 3), dtype=np.float32)
    for item in legend:
        colors[item.class_id] = rgb(item.color)
    blended = pixels * (1.0 - _OPACITY) + colors[classes] * _OPACITY
    overlay = np.where((classes > 0)[..., None], blended, pixels).astype(np.uint8)
    font = ImageFont.load_default(16)
    present = [item for item in legend if (classes == item.class_id).any()]
    entries = [(item.color, item.name) for item in present] or [("#ffffff", "nothing found")]
    places, legend_height = _arrange(entries, font, 2 * width + _MARGIN)
    canvas = Image.new(
        "RGB", (2 * width + 3 * _MARGIN, height + legend_height + 2 * _MARGIN), "white"
    )
    canvas.paste(Image.fromarray(pixels), (_MARGIN, _MARGIN))
    canvas.paste(Image.fromarray(overlay), (width + 2 * _MARGIN, _MARGIN))
    draw = ImageDraw.Draw(canvas)
    for (color, name), (left, top) in zip(entries, places):
        x, y = left + _MARGIN, height + 2 * _MARGIN + top
        draw.rectangle((x, y, x + 15, y + 15), fill=color, outline="#404040")
        draw.text((x + 22, y - 2), name, fill="black", font=font)
    return canvas


def _arrange(
    entries: list[tuple[str, str]], font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> tuple[list[tuple[int, int]], int]:
    """Return where each entry stands, in lines from left to right, and the height of all."""
    places, left, top = [], 0, 0
    for _, name in entries:
        needed = 22 + round(font.getlength(name)) + 24
        if left and left + needed > width:
            left, top = 0, top + _LINE
        places.append((left, top))
        left += needed
    return places, top + _LINE
