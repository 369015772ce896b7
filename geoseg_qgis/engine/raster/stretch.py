"""The linear stretch from band values to the 8-bit values that networks were trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.source import Stretch, StretchKind

from .grid import Grid
from .source import Raster

# As QGIS stretches by default.
LOWER_PERCENTILE = 2.0
UPPER_PERCENTILE = 98.0
_UNCHANGED = ((0.0, 255.0),) * 3


@dataclass(frozen=True)
class LinearStretch:
    """Band values to 0..255, the same for the whole run.

    Attributes:
        limits: ``(minimum, maximum)`` of red, green and blue, which become 0 and 255.
    """

    limits: tuple[tuple[float, float], ...] = _UNCHANGED

    @property
    def unchanged(self) -> bool:
        """Whether values stay as they are."""
        return self.limits == _UNCHANGED

    def apply(self, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return 8-bit values of shape (3, h, w), 0 where invalid.

        Args:
            values: Band values of shape (3, h, w).
            valid: Validity of shape (h, w).
        """
        low = np.array([limit[0] for limit in self.limits], dtype=np.float32)[:, None, None]
        high = np.array([limit[1] for limit in self.limits], dtype=np.float32)[:, None, None]
        scaled = (values - low) * (np.float32(255.0) / (high - low))
        clipped = np.clip(np.rint(scaled), 0.0, 255.0)
        return np.where(valid, clipped, 0.0).astype(np.uint8)


def measure_stretch(raster: Raster, grid: Grid, stretch: Stretch) -> LinearStretch:
    """Return the stretch of a run.

    By default 8-bit imagery and palettes stay unchanged, because networks were trained on such
    values, and every other type is stretched between its 2 % and 98 % percentiles. Percentiles and
    extremes are those of up to two million pixels spread over ``grid``, for each band. A constant
    band becomes a constant grey.

    Args:
        raster: Open raster.
        grid: Part that is processed.
        stretch: Stretch of the job.

    Raises:
        JobError: ``INVALID_JOB`` when limits are missing or values are not 8-bit without a
            stretch; ``SOURCE_UNREADABLE`` when nothing can be read.
    """
    if stretch.kind is StretchKind.LAYER and not raster.is_palette:
        return LinearStretch(_layer_limits(stretch.limits))
    if stretch.kind is StretchKind.NONE and not raster.is_byte:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"The raster {raster.name} holds {raster.dtype} values, which need a stretch.",
            "Choose a stretch by percentiles or by the layer's own contrast.",
        )
    if raster.is_palette or (raster.is_byte and stretch.kind is not StretchKind.MINMAX):
        return LinearStretch()
    patch = raster.sample(grid)
    shares = (LOWER_PERCENTILE, UPPER_PERCENTILE)
    if stretch.kind is StretchKind.MINMAX:
        shares = (0.0, 100.0)
    limits = []
    for band in patch.values:
        known = band[patch.valid]
        low, high = np.percentile(known, shares) if known.size else (0.0, 1.0)
        limits.append(_widen(float(low), float(high)))
    return LinearStretch(tuple(limits))


def _layer_limits(limits: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    if len(limits) not in (1, 3):
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"The layer's contrast has limits for {len(limits)} bands.",
            "Give limits for one or three bands, or choose a stretch by percentiles.",
        )
    widened = tuple(_widen(float(low), float(high)) for low, high in limits)
    return widened * 3 if len(widened) == 1 else widened


def _widen(low: float, high: float) -> tuple[float, float]:
    if not (np.isfinite(low) and np.isfinite(high)):
        return 0.0, 1.0
    smallest = max(abs(low), abs(high), 1.0) * 1e-6
    if high - low >= smallest:
        return low, high
    middle = (low + high) / 2.0
    return middle - smallest, middle + smallest
