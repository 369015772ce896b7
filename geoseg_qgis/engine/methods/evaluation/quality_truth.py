"""The true quality of a mask: its quality map, compared with a reference of the objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from rasterio.windows import Window

from geoseg_qgis.engine.methods.assessment.quality_classes import QualityClass
from geoseg_qgis.engine.methods.assessment.raster_output import QUALITY_LEGEND
from geoseg_qgis.engine.raster.grid import Grid

from .class_maps import ClassMap, Indexes, RasterClasses
from .layer_classes import IGNORED, NO_CLASS, LayerClasses, Value

_TP, _FP, _TN, _FN = (
    kind.raster_value
    for kind in (
        QualityClass.TRUE_POSITIVE,
        QualityClass.FALSE_POSITIVE,
        QualityClass.TRUE_NEGATIVE,
        QualityClass.FALSE_NEGATIVE,
    )
)


@dataclass
class TrueQuality:
    """What a quality map should show, as a class map.

    The mask was where the map shows TP or FP. There an object of the reference is TP and anything
    else FP; elsewhere an object is FN and anything else TN.

    Attributes:
        quality_map: The quality map.
        reference: The objects, which any of its classes is.
    """

    quality_map: RasterClasses
    reference: ClassMap
    values: list[Value] = field(default_factory=lambda: [_TP, _FP, _TN, _FN])

    @property
    def name(self) -> str:
        """Name of the reference to show."""
        return self.reference.name

    def read(self, grid: Grid, windows: Iterable[Window]) -> Iterator[Indexes]:
        """Yield the indexes of the true quality classes in each window."""
        kept = list(windows)
        maps = (self.quality_map.read(grid, kept), self.reference.read(grid, kept))
        for shown, drawn in zip(*maps, strict=True):
            quality = np.array([0, *self.quality_map.values], dtype=np.int64)[shown]
            is_object = np.array([False, *map(_is_object, self.reference.values)])[drawn]
            known = np.array([False, *map(_is_known, self.reference.values)])[drawn]
            in_mask = (quality == _TP) | (quality == _FP)
            truth = np.where(is_object, np.where(in_mask, _TP, _FN), np.where(in_mask, _FP, _TN))
            yield np.where(known & (quality > 0), truth, 0).astype(np.uint8)

    def layer_classes(self) -> LayerClasses:
        """Return the four quality classes with their names."""
        names: dict[Value, tuple[str, ...]] = {
            item.class_id: (item.name,) for item in QUALITY_LEGEND
        }
        return LayerClasses("reference", tuple(self.values), names)


def with_true_quality(result: ClassMap, reference: ClassMap) -> ClassMap:
    """Return the reference, or the true quality where the result is a quality map."""
    if not isinstance(result, RasterClasses) or not _is_quality(result):
        return reference
    if isinstance(reference, RasterClasses) and _is_quality(reference):
        return reference
    return TrueQuality(RasterClasses(result.source, result.title), reference)


def _is_quality(layer: RasterClasses) -> bool:
    names = layer.layer_classes().names
    return all(item.name in names.get(item.class_id, ()) for item in QUALITY_LEGEND)


def _is_object(value: Value) -> bool:
    return value not in (NO_CLASS, IGNORED)


def _is_known(value: Value) -> bool:
    return value != IGNORED
