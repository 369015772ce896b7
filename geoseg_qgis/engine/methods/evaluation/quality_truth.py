"""The truth of a quality map: the mask that it judged, held against a reference of the objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from rasterio.windows import Window

from geoseg_qgis.engine.methods.assessment.quality_classes import QualityClass
from geoseg_qgis.engine.methods.assessment.raster_output import QUALITY_LEGEND
from geoseg_qgis.engine.raster.grid import Grid

from .class_maps import ClassMap, Indexes, RasterClasses
from .class_matching import NO_CLASS, ClassSide, Value

_OFTEN_IGNORED = 255
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
    """What a quality map should say, as a class map.

    Where the map says TP or FP its mask was; there an object of the reference is TP and anything
    else FP, elsewhere FN and TN.

    Attributes:
        judged: The quality map.
        reference: Objects: any class of it is one.
    """

    judged: RasterClasses
    reference: ClassMap
    values: list[Value] = field(default_factory=lambda: [_TP, _FP, _TN, _FN])

    @property
    def name(self) -> str:
        """What people call the reference."""
        return self.reference.name

    def read(self, grid: Grid, windows: Iterable[Window]) -> Iterator[Indexes]:
        """Yield the indexes of the true quality classes in each window."""
        kept = list(windows)
        maps = (self.judged.read(grid, kept), self.reference.read(grid, kept))
        for said, drawn in zip(*maps, strict=True):
            quality = np.array([0, *self.judged.values], dtype=np.int64)[said]
            is_object = np.array([False, *map(_is_object, self.reference.values)])[drawn]
            known = np.array([False, *map(_is_known, self.reference.values)])[drawn]
            in_mask = (quality == _TP) | (quality == _FP)
            truth = np.where(is_object, np.where(in_mask, _TP, _FN), np.where(in_mask, _FP, _TN))
            yield np.where(known & (quality > 0), truth, 0).astype(np.uint8)

    def side(self) -> ClassSide:
        """Return the four quality classes with their names."""
        names: dict[Value, tuple[str, ...]] = {
            item.class_id: (item.name,) for item in QUALITY_LEGEND
        }
        return ClassSide("reference", tuple(self.values), names)


def with_true_quality(result: ClassMap, reference: ClassMap) -> ClassMap:
    """Return the reference, turned into the truth of the result where that is a quality map."""
    if not isinstance(result, RasterClasses) or not _is_quality(result):
        return reference
    if isinstance(reference, RasterClasses) and _is_quality(reference):
        return reference
    return TrueQuality(RasterClasses(result.source, result.title), reference)


def _is_quality(layer: RasterClasses) -> bool:
    side = layer.side()
    return all(item.name in side.names.get(item.class_id, ()) for item in QUALITY_LEGEND)


def _is_object(value: Value) -> bool:
    return value not in (NO_CLASS, _OFTEN_IGNORED)


def _is_known(value: Value) -> bool:
    return value != _OFTEN_IGNORED
