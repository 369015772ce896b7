"""The features of a prompt layer, on the pixels of a raster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyogrio.raw
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError
from pyproj import Transformer

from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.source import VectorSource

from .attributes import Attributes, attributes_of
from .crs import placed_shapes, to_pixels, transformer_between
from .paths import readable

# Pieces of a line that is transformed to another CRS.
_SEGMENTS = 64
# A rectangle of the map fills its envelope but for rounding. In another CRS it is turned a little.
_RECTANGLE_IN_MAP = 0.999
_RECTANGLE_IN_PIXELS = 0.97
_NEGATIVE_WORDS = frozenset({"false", "f", "no", "n", "negative", "background", "-"})
_POSITIVE_WORDS = frozenset({"true", "t", "yes", "y", "positive", "foreground", "+", ""})


@dataclass(frozen=True)
class PromptLayer:
    """Features of a layer, all arrays of one entry a feature.

    Attributes:
        shapes: Geometries in pixel coordinates, x to the right and y down, pixels being areas;
            empty where a feature has none.
        boxes: Whether a shape is a rectangle along the axes of the raster or of the map.
        positive: Whether a feature is a positive prompt; False for a negative one.
        objects: Number of the object of each feature, from 0 in the order of the features.
        attributes: All fields.
        notes: Sentences about what was assumed.
    """

    shapes: NDArray[np.object_]
    boxes: NDArray[np.bool_]
    positive: NDArray[np.bool_]
    objects: NDArray[np.int64]
    attributes: Attributes
    notes: tuple[str, ...]


def read_prompts(
    source: VectorSource, grid: Grid, label_field: str = "", group_field: str = ""
) -> PromptLayer:
    """Read a prompt layer onto a grid, in any CRS and with any kinds of geometry.

    Curves become lines of many short pieces. Lines and outlines of another CRS are cut into pieces
    before they are transformed, so that they stay where the map shows them.

    Args:
        source: File and layer; its CRS goes before that of the file.
        grid: Pixels to read on.
        label_field: Field of positive (1) and negative (0) prompts; NULL counts as positive.
        group_field: Field whose equal values make one object; NULL is an object of its own.

    Raises:
        JobError: ``SOURCE_UNREADABLE`` when the layer cannot be read, has no such field or a CRS
            that cannot be transformed to that of the raster; ``INVALID_JOB`` when it is empty or
            has labels that are neither positive nor negative.
    """
    try:
        meta, _, geometry, columns = pyogrio.raw.read(
            readable(source.path), layer=source.layer or None
        )
    except (DataSourceError, DataLayerError, FeatureError, FieldError) as error:
        raise JobError(
            ErrorCode.SOURCE_UNREADABLE,
            f"The prompt layer {source.path} cannot be read.",
            "Check the file, or export the layer to a GeoPackage.",
            str(error),
        ) from error
    if geometry is None or len(geometry) == 0:
        raise JobError(
            ErrorCode.INVALID_JOB,
            "The layer of prompts is empty.",
            "Draw a point on each object that you want outlined.",
        )
    attributes = attributes_of(source, meta, columns)
    labels = _column(attributes, label_field, len(geometry))
    groups = _column(attributes, group_field, len(geometry))
    shapes = _readable_shapes(geometry)
    on_raster = placed_shapes(source, meta["fields"], columns)
    own = source.crs_wkt or ("" if on_raster is not None else meta["crs"] or "")
    crs, notes = _crs(own, grid.crs_wkt)
    if on_raster is None:
        placed = _to_pixels(shapes, transformer_between(crs, grid.crs_wkt, "prompts"), grid)
    else:
        placed = _to_pixels(_usable(on_raster), None, grid)
    boxes = _fills_envelope(shapes, _RECTANGLE_IN_MAP) & ~shapely.is_empty(placed)
    return PromptLayer(
        placed,
        boxes | _fills_envelope(placed, _RECTANGLE_IN_PIXELS),
        np.array([_is_positive(label, label_field) for label in labels], dtype=np.bool_),
        _number_objects(groups),
        attributes,
        notes,
    )


def _column(attributes: Attributes, name: str, count: int) -> list[Any]:
    """Return the values of a field; without a name, all of them NULL."""
    if not name:
        return [None] * count
    try:
        return attributes.column(name)
    except KeyError as error:
        raise JobError(
            ErrorCode.SOURCE_UNREADABLE,
            f"The prompt layer has no field called {name!r}.",
            "Choose one of its fields.",
        ) from error


def _readable_shapes(geometry: NDArray[Any]) -> NDArray[np.object_]:
    """Return repaired geometries, empty where there are none.

    Outlines without an area become lines, lines without a length become points.
    """
    return _usable(np.asarray(shapely.from_wkb(geometry, on_invalid="ignore"), dtype=object))


def _usable(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    shapes[shapely.is_missing(shapes)] = shapely.Point()
    return np.asarray(shapely.make_valid(shapely.force_2d(shapes)), dtype=object)


def _is_positive(label: Any, field: str) -> bool:
    if label is None:
        return True
    if isinstance(label, (bool, int, float)):
        return label > 0
    word = str(label).strip().casefold()
    if word in _NEGATIVE_WORDS | _POSITIVE_WORDS:
        return word in _POSITIVE_WORDS
    try:
        return float(word) > 0
    except ValueError as error:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"The field {field} holds {str(label)!r}, which is neither positive nor negative.",
            "Write 1 for points on the object and 0 for points that are not on it.",
        ) from error


def _number_objects(groups: list[Any]) -> NDArray[np.int64]:
    known: dict[Any, int] = {}
    numbers = np.zeros(len(groups), dtype=np.int64)
    count = 0
    for place, group in enumerate(groups):
        if group is None:
            numbers[place], count = count, count + 1
            continue
        if group not in known:
            known[group], count = count, count + 1
        numbers[place] = known[group]
    return numbers


def _fills_envelope(shapes: NDArray[np.object_], share: float) -> NDArray[np.bool_]:
    """Mark single polygons that fill at least this share of their envelope."""
    single = (shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON) | (
        (shapely.get_type_id(shapes) == shapely.GeometryType.MULTIPOLYGON)
        & (shapely.get_num_geometries(shapes) == 1)
    )
    envelopes = shapely.area(shapely.envelope(shapes))
    return np.asarray(single & (envelopes > 0) & (shapely.area(shapes) >= share * envelopes))


def _crs(own: str, target: str) -> tuple[str, tuple[str, ...]]:
    """Return the CRS to transform from, empty for no transformation, and what was assumed."""
    if not own and target:
        return "", (
            "The layer of prompts has no CRS and is taken to be in that of the raster: check that "
            "the outlines lie where you expect them.",
        )
    if own and not target:
        return "", (
            "The raster has no CRS, so the coordinates of the prompts are taken as they are: "
            "check that the outlines lie where you expect them.",
        )
    return own, ()


def _to_pixels(
    shapes: NDArray[np.object_], transformer: Transformer | None, grid: Grid
) -> NDArray[np.object_]:
    if transformer is not None:
        lengths = shapely.length(shapes)
        long = lengths > 0
        shapes = shapes.copy()
        shapes[long] = shapely.segmentize(shapes[long], lengths[long] / _SEGMENTS)
    placed = to_pixels(shapes, transformer, grid)
    areal = shapely.get_dimensions(placed) == 2
    placed[areal] = shapely.make_valid(placed[areal])
    return placed
