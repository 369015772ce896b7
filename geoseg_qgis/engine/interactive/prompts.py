"""Prompts of a request as the object that predictors take, on the pixels of a raster."""

from __future__ import annotations

import numpy as np
import shapely

from geoseg_qgis.engine.methods.prompted.prompted_objects import (
    ObjectPrompt,
    Rectangle,
    gather_objects,
)
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.vector.attributes import Attributes
from geoseg_qgis.engine.vector.crs import to_pixels
from geoseg_qgis.engine.vector.prompt_layer import PromptLayer
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.outline import Prompt, PromptKind


def object_of(
    prompts: tuple[Prompt, ...],
    grid: Grid,
    reachable: Rectangle,
    line_points: int,
    inner_points: int,
) -> ObjectPrompt:
    """Return one object in pixels of a grid, by the rules of a layer of prompts.

    Args:
        prompts: In the CRS of the grid.
        grid: Pixels of the result.
        reachable: Left, top, right, bottom of the raster in those pixels.
        line_points: See `gather_objects`.
        inner_points: See `gather_objects`.

    Raises:
        JobError: ``EXTENT_OUTSIDE`` when nothing positive lies on the raster.
    """
    shapes = to_pixels(np.array([_shape(prompt) for prompt in prompts], dtype=object), None, grid)
    areal = shapely.get_dimensions(shapes) == 2
    shapes[areal] = shapely.make_valid(shapes[areal])
    layer = PromptLayer(
        shapes,
        np.array([prompt.kind is PromptKind.BOX for prompt in prompts], dtype=np.bool_),
        np.array([prompt.on_object for prompt in prompts], dtype=np.bool_),
        np.zeros(len(prompts), dtype=np.int64),
        Attributes(),
        (),
    )
    objects = gather_objects(layer, reachable, line_points, inner_points).objects
    if not objects:
        raise JobError(
            ErrorCode.EXTENT_OUTSIDE,
            "No prompt on the object lies on the image.",
            "Click inside the image.",
        )
    return objects[0]


def _shape(prompt: Prompt) -> shapely.Geometry:
    if prompt.kind is PromptKind.POINT:
        return shapely.Point(prompt.corners[0])
    return shapely.Polygon(prompt.corners)
