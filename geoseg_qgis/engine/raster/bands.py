"""Which bands of a file are read as red, green and blue, and which of their pixels are valid."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.source import RasterSource

# A lattice of 5 x 5 small windows decides whether an alpha band is a mask: enough to see it, cheap
# on any file.
_ALPHA_WINDOWS = 5
_ALPHA_SIDE = 64
# Some software writes the lowest float32 with few digits, for example -3.4e38. No imagery has
# values of that size.
_OUT_OF_RANGE = 1e37
# Relative rounding error of a number that was stored as float32.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class BandPlan:
    """How three display bands are read from a file.

    Attributes:
        shown: One-based band numbers of red, green and blue.
        numbers: The same without repetition.
        dtype: Data type of the file.
        palette: Colours of shape (entries, 4) for a paletted band.
        alpha: Band that is 0 where there is no data; None without.
        masks: Bands whose mask the file stores.
        nodata: Nodata value of each band in ``numbers``, None without.
        declared: Ranges of values that the user declared as nodata, in scaled units.
        colors: Values of the shown bands that the user declared as transparent, in scaled units.
        scale: Factor and offset of each band in ``numbers``.
    """

    shown: tuple[int, int, int]
    numbers: tuple[int, ...]
    dtype: str
    palette: NDArray[np.uint8] | None
    alpha: int | None
    masks: tuple[int, ...]
    nodata: tuple[float | None, ...]
    declared: tuple[tuple[float, float], ...]
    colors: tuple[tuple[float, float, float], ...]
    scale: tuple[tuple[float, float], ...]

    @property
    def is_byte(self) -> bool:
        """Whether values can be displayed unchanged, as 0..255."""
        plain = all(pair == (1.0, 0.0) for pair in self.scale)
        return self.palette is not None or (self.dtype == "uint8" and plain)

    def read(self, dataset: Any, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return values (3, h, w) as float32 and their validity (h, w), without resampling."""
        raw = dataset.read(list(self.numbers), window=window, out_dtype=self.dtype)
        valid = self._stored_masks(dataset, window, raw.shape[1:])
        valid &= ~self._is_nodata(raw)
        if self.palette is not None:
            return self._colors(raw[0], valid)
        values = np.abs(raw) if np.iscomplexobj(raw) else raw
        values = values.astype(np.float32, copy=False)
        for index, (factor, offset) in enumerate(self.scale):
            if (factor, offset) != (1.0, 0.0):
                values[index] = values[index] * factor + offset
        valid &= np.isfinite(values).all(axis=0)
        for low, high in self.declared:
            inside = (values >= np.float32(low)) & (values <= np.float32(high))
            valid &= ~self._combine(inside)
        shown = values[[self.numbers.index(band) for band in self.shown]]
        for color in self.colors:
            valid &= (shown != np.array(color, np.float32)[:, None, None]).any(axis=0)
        return shown, valid

    def _stored_masks(
        self, dataset: Any, window: Window, shape: tuple[int, int]
    ) -> NDArray[np.bool_]:
        valid = np.ones(shape, dtype=np.bool_)
        if self.alpha is not None:
            valid &= dataset.read(self.alpha, window=window) != 0
        for band in self.masks:
            valid &= dataset.read_masks(band, window=window) != 0
        return valid

    def _is_nodata(self, raw: NDArray[Any]) -> NDArray[np.bool_]:
        matches = np.zeros(raw.shape, dtype=np.bool_)
        for plane, match, value in zip(raw, matches, self.nodata):
            if value is not None and _representable(value, raw.dtype):
                match[:] = _equals(plane, value)
        return self._combine(matches)

    def _combine(self, matches: NDArray[np.bool_]) -> NDArray[np.bool_]:
        # 0 in one band of a dark 8-bit pixel is a colour; wider types mark each band.
        combine = np.logical_and if self.dtype == "uint8" else np.logical_or
        return np.asarray(combine.reduce(matches, axis=0), dtype=np.bool_)

    def _colors(
        self, indices: NDArray[Any], valid: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        palette = np.zeros((0, 4), np.uint8) if self.palette is None else self.palette
        for low, high in self.declared:
            valid &= (indices < low) | (indices > high)
        known = np.minimum(indices, len(palette) - 1)
        colors = palette[known]
        valid &= (indices < len(palette)) & (colors[..., 3] != 0)
        return np.ascontiguousarray(colors[..., :3].transpose(2, 0, 1), dtype=np.float32), valid


def _equals(plane: NDArray[Any], value: float) -> NDArray[np.bool_]:
    """Return which pixels have a nodata value, up to rounding of either of them."""
    if not np.issubdtype(plane.dtype, np.floating):
        return np.asarray(plane == np.asarray(value).astype(plane.dtype))
    if abs(value) >= _OUT_OF_RANGE:
        return np.asarray(plane * np.sign(value) >= _OUT_OF_RANGE)
    return np.asarray(np.isclose(plane, value, rtol=_ROUNDING, atol=0.0))


def _representable(value: float, dtype: np.dtype[Any]) -> bool:
    if np.isnan(value):
        return False
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return float(value).is_integer() and limits.min <= value <= limits.max
    return True


def plan_bands(dataset: Any, source: RasterSource) -> BandPlan:
    """Return how the bands of a dataset are read for a source.

    The bands are those of the source; else those that the file declares as red, green and blue;
    else the first three, or the first one where there are fewer. A band that is declared as alpha
    but has mostly intermediate values, such as near infrared in four-band orthophotos, is no mask.

    Raises:
        JobError: ``INVALID_JOB`` for band numbers that the file does not have.
    """
    alpha = source.alpha_band or _alpha_band(dataset)
    _check_numbers(dataset, source, alpha)
    shown = _shown_bands(dataset, source.bands, alpha)
    numbers = tuple(dict.fromkeys(shown))
    palette = _palette(dataset, numbers[0]) if len(numbers) == 1 else None
    return BandPlan(
        shown=shown,
        numbers=numbers,
        dtype=str(np.result_type(*(dataset.dtypes[band - 1] for band in numbers))),
        palette=palette,
        alpha=alpha,
        masks=_stored_mask_bands(dataset, numbers),
        nodata=tuple(dataset.nodatavals[band - 1] for band in numbers),
        declared=(*((value, value) for value in source.nodata), *source.nodata_ranges),
        colors=source.nodata_colors,
        scale=tuple((dataset.scales[band - 1], dataset.offsets[band - 1]) for band in numbers),
    )


def _check_numbers(dataset: Any, source: RasterSource, alpha: int | None) -> None:
    asked = [*source.bands, *([] if alpha is None else [alpha])]
    missing = [band for band in asked if not 1 <= band <= dataset.count]
    if missing:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"The raster has {dataset.count} bands and no band {missing[0]}.",
            f"Choose bands from 1 to {dataset.count}.",
        )
    if len(source.bands) not in (0, 1, 3):
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"{len(source.bands)} bands were chosen.",
            "Choose one band, or three for red, green and blue.",
        )


def _shown_bands(dataset: Any, asked: tuple[int, ...], alpha: int | None) -> tuple[int, int, int]:
    if len(asked) == 3:
        return asked[0], asked[1], asked[2]
    if len(asked) == 1:
        return asked[0], asked[0], asked[0]
    meanings = list(dataset.colorinterp)
    colors = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if all(color in meanings for color in colors):
        red, green, blue = (meanings.index(color) + 1 for color in colors)
        return red, green, blue
    plain = [band for band in range(1, dataset.count + 1) if band != alpha] or [1]
    if len(plain) < 3:
        return plain[0], plain[0], plain[0]
    return plain[0], plain[1], plain[2]


def _alpha_band(dataset: Any) -> int | None:
    flagged = [
        band
        for band, meaning in enumerate(dataset.colorinterp, start=1)
        if meaning == ColorInterp.alpha
    ]
    if not flagged or dataset.count == 1:
        return None
    return flagged[0] if _is_mask_like(dataset, flagged[0]) else None


def _is_mask_like(dataset: Any, band: int) -> bool:
    side = _ALPHA_SIDE
    pieces = []
    for row in np.linspace(0, max(dataset.height - side, 0), _ALPHA_WINDOWS).astype(int):
        for column in np.linspace(0, max(dataset.width - side, 0), _ALPHA_WINDOWS).astype(int):
            height = min(side, dataset.height - int(row))
            width = min(side, dataset.width - int(column))
            window = Window(int(column), int(row), width, height)
            # Part of a mosaic may be missing; the other windows are enough.
            with suppress(RasterioError):
                pieces.append(dataset.read(band, window=window).ravel())
    values = np.concatenate(pieces or [np.zeros(0)])
    shown = values[values != 0]
    return shown.size == 0 or float((shown == shown.max()).mean()) > 0.5


def _stored_mask_bands(dataset: Any, numbers: tuple[int, ...]) -> tuple[int, ...]:
    flags = [dataset.mask_flag_enums[band - 1] for band in numbers]
    by_band = [
        band
        for band, own in zip(numbers, flags)
        if not {MaskFlags.all_valid, MaskFlags.nodata, MaskFlags.alpha} & set(own)
    ]
    if by_band and MaskFlags.per_dataset in flags[numbers.index(by_band[0])]:
        return (by_band[0],)
    return tuple(by_band)


def _palette(dataset: Any, band: int) -> NDArray[np.uint8] | None:
    if dataset.colorinterp[band - 1] != ColorInterp.palette:
        return None
    try:
        entries = dataset.colormap(band)
    except ValueError:
        return None
    palette = np.zeros((max(entries) + 1, 4), dtype=np.uint8)
    palette[list(entries)] = list(entries.values())
    return palette
