"""The promptable networks by method, and the grids that they read."""

from __future__ import annotations

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.methods.referring.unigeoseg import preset_segmenter
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.raster.grid import Grid, model_grid
from geoseg_qgis.engine.zoo.card import PixelSize

from .predictions import Predictor
from .prompt_tiles import GridPyramid
from .prompted_objects import Rectangle
from .sam2_predictor import Sam2Predictor, sam2_predictor
from .unigeoseg_predictor import UniGeoSegPredictor

PREDICTORS: dict[str, type[Predictor]] = {"sam2": Sam2Predictor, "unigeoseg": UniGeoSegPredictor}


def preset_predictor(method: str, models: LoadedPreset) -> Predictor:
    """Return the network of a method.

    Raises:
        JobError: The preset has none, or its weights are missing or damaged.
    """
    if method == "sam2":
        return sam2_predictor(models)
    return UniGeoSegPredictor(preset_segmenter(models))


def prompt_pixel_size(method: str, models: LoadedPreset) -> PixelSize | None:
    """Return the pixel sizes that the network of a method was made for, None for any."""
    return models.instruction_pixel_size if method == "unigeoseg" else models.card.pixel_size


def grid_pyramid(
    scene: RasterScene, made_for: PixelSize | None, predictor: Predictor
) -> GridPyramid:
    """Return the grids that a network reads around the prompts.

    Args:
        scene: The raster and the grid of the results.
        made_for: See `prompt_pixel_size`.
        predictor: The network.
    """
    output, source = scene.output, scene.reader.source_grid
    pixel = None
    if made_for is not None:
        pixel = made_for.finest if predictor.finest_pixels else made_for.preferred
    finest = model_grid(output, source, pixel)
    return GridPyramid(output, finest, predictor.tile, _bounds_on(output, source))


def _bounds_on(output: Grid, source: Grid) -> Rectangle:
    """Return left, top, right and bottom of the raster in output pixels."""
    across, left, down, top = source.axes_to(output)
    return left, top, left + source.width * across, top + source.height * down
