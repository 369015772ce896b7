"""Writers of GeoTIFFs that appear under their final name only when they are complete.

A writer fills a draft in the same folder. At the end of the ``with`` block it gets its final name,
together with its style. After an error or a cancel it is deleted, and the file before stays.

Example:
    >>> with ClassRasterWriter(path, grid, legend, {"method": "gumix"}) as writer:  # doctest: +SKIP
    ...     for window in windows:
    ...         writer.write(window, class_ids)
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from geoseg_qgis.engine.files import Draft, Sidecar, appended, unwritable
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.legend import LegendClass, format_classes, parse_classes
from geoseg_qgis.protocol.plain_text import plain_text

from .datasets import BELOW_ORIGIN
from .grid import Grid
from .style import color_table, is_own_style, metadata_xml, raster_style

SCORE_STEPS = 254
SCORE_NODATA = 255
CLASSES_TAG = "GEOSEG_CLASSES"
_BLOCK = 512
# Smaller rasters are drawn quickly without overviews.
_OVERVIEWS_FROM = 2048
_Writer = TypeVar("_Writer", bound="GeoTiffWriter")
_metadata_file = appended(".aux.xml")


def _style_file(path: Path) -> Path:
    return path.with_suffix(".qml")


def foreign_style(path: Path) -> Path | None:
    """Return the style beside a raster, or beside where it will be, unless GeoSeg wrote it."""
    style = _style_file(path)
    try:
        own = not style.is_file() or is_own_style(style.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        own = False
    return None if own else style


_SIDECARS: tuple[Sidecar, ...] = (_metadata_file, appended(".ovr"), appended(".msk"))


class GeoTiffWriter:
    """Base class of the writers.

    Args:
        path: Final name.
        grid: Pixels of the file.
        bands: Number of bands.
        dtype: numpy name of the type.
        nodata: Value of pixels without data.
        provenance: How the file was made; goes into its tags.
    """

    _overviews = Resampling.nearest
    _predictor = 1
    _sidecars = _SIDECARS

    def __init__(  # noqa: PLR0917
        self,
        path: str | Path,
        grid: Grid,
        bands: int,
        dtype: str,
        nodata: int,
        provenance: dict[str, str],
    ) -> None:
        self.path = Path(path)
        self.grid = grid
        self._bands = bands
        self._dtype = dtype
        self._nodata = nodata
        self._tags = {
            f"GEOSEG_{key.upper()}": plain_text(str(value)) for key, value in provenance.items()
        }
        self._draft = Draft(self.path, self._sidecars)
        self._dataset: Any = None

    def __enter__(self: _Writer) -> _Writer:
        """Open the draft.

        Raises:
            JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
        """
        if self.path.is_dir():
            raise unwritable(self.path, IsADirectoryError("it is a folder"))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                self._dataset = rasterio.open(self._draft.path, "w", **self._profile())
            self._dataset.update_tags(TIFFTAG_SOFTWARE="GeoSeg", **self._tags)
            self._describe(self._dataset)
        except (RasterioError, OSError, ValueError) as error:
            self._discard()
            raise unwritable(self.path, error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the draft its final name, or delete it after an error.

        Raises:
            JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL`` when it is not complete.
        """
        if kind is not None:
            self._discard()
            return
        try:
            self._finish()
        except (RasterioError, OSError) as error:
            raise unwritable(self.path, error) from error
        finally:
            self._discard()

    def _profile(self) -> dict[str, Any]:
        profile = {
            "driver": "GTiff",
            "width": self.grid.width,
            "height": self.grid.height,
            "count": self._bands,
            "dtype": self._dtype,
            "nodata": self._nodata,
            "tiled": True,
            "blockxsize": _BLOCK,
            "blockysize": _BLOCK,
            "compress": "deflate",
            "predictor": self._predictor,
            "interleave": "band",
            "BIGTIFF": "IF_SAFER",
            "NUM_THREADS": "ALL_CPUS",
        }
        if self.grid.crs_wkt:
            profile["crs"] = rasterio.crs.CRS.from_wkt(self.grid.crs_wkt)
        if self.grid.crs_wkt or self.grid.transform != BELOW_ORIGIN:
            profile["transform"] = self.grid.transform
        return profile

    def _describe(self, dataset: Any) -> None:
        """Set what must be in the file before the pixels: colours, names, scales."""

    def _style(self) -> str | None:
        """Return the QGIS style of the file."""
        return None

    def _metadata(self) -> str | None:
        """Return XML about the band, which GDAL reads from beside the file."""
        return None

    def _write(self, window: Window, values: NDArray[Any]) -> None:
        try:
            self._dataset.write(values, window=window)
        except (RasterioError, OSError) as error:
            raise unwritable(self.path, error) from error

    def _finish(self) -> None:
        self._dataset.close()
        self._dataset = None
        _check_complete(self._draft.path)
        self._build_overviews()
        metadata = self._metadata()
        if metadata is not None:
            beside = _metadata_file(self._draft.path)
            known = beside.read_text(encoding="utf-8") if beside.exists() else ""
            beside.write_text(_merge(known, metadata), encoding="utf-8")
        style = self._style()
        if style is not None and _style_file in self._sidecars:
            _style_file(self._draft.path).write_text(style, encoding="utf-8")
        self._draft.commit()

    def _build_overviews(self) -> None:
        largest = max(self.grid.shape)
        if largest <= _OVERVIEWS_FROM:
            return
        factors = [2**power for power in range(1, 16) if largest / 2**power > _BLOCK / 2]
        with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_OVR_BLOCKSIZE=_BLOCK):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(self._draft.path, "r+") as dataset:
                dataset.build_overviews(factors, self._overviews)
        for level in range(len(factors)):
            _check_complete(self._draft.path, level)

    def _discard(self) -> None:
        if self._dataset is not None:
            with suppress(RasterioError, OSError):
                self._dataset.close()
            self._dataset = None
        self._draft.discard()


class ClassRasterWriter(GeoTiffWriter):
    """Writes class ids as 8-bit values, 0 for none, with colours, names and a QGIS style.

    Args:
        path: Final name.
        grid: Pixels of the file.
        legend: The classes.
        provenance: How the file was made.
    """

    _overviews = Resampling.mode

    def __init__(
        self,
        path: str | Path,
        grid: Grid,
        legend: tuple[LegendClass, ...],
        provenance: dict[str, str],
    ) -> None:
        # A style of the user is neither replaced nor deleted.
        if foreign_style(Path(path)) is None:
            self._sidecars = (*_SIDECARS, _style_file)
        super().__init__(path, grid, 1, "uint8", 0, provenance)
        self._legend = legend
        # Class text has ids by order; any others are in the attribute table only.
        if [item.class_id for item in legend] == list(range(1, len(legend) + 1)):
            self._tags[CLASSES_TAG] = format_classes(legend)

    def write(self, window: Window, class_ids: NDArray[np.uint8]) -> None:
        """Write class ids of shape (h, w).

        Raises:
            JobError: ``DISK_FULL`` or ``OUTPUT_UNWRITABLE``.
        """
        self._write(window, class_ids[None])

    def _describe(self, dataset: Any) -> None:
        dataset.write_colormap(1, color_table(self._legend))
        dataset.set_band_description(1, "class")

    def _style(self) -> str | None:
        return raster_style(self._legend)

    def _metadata(self) -> str | None:
        return metadata_xml(self._legend)


class ScoresWriter(GeoTiffWriter):
    """Writes probabilities, one band for each class, as 8-bit steps of 1/254; 255 is nodata.

    Scale, class names, class text and colours are in the file, see `read_scores_legend`.

    Args:
        path: Final name.
        grid: Pixels of the file.
        legend: The classes, in the order of the bands.
        provenance: How the file was made.
    """

    _overviews = Resampling.average

    def __init__(
        self,
        path: str | Path,
        grid: Grid,
        legend: tuple[LegendClass, ...],
        provenance: dict[str, str],
    ) -> None:
        super().__init__(path, grid, len(legend), "uint8", SCORE_NODATA, provenance)
        self._legend = legend
        self._tags[CLASSES_TAG] = format_classes(legend)

    def write(self, window: Window, scores: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Write probabilities of shape (classes, h, w) in 0..1 where ``valid`` (h, w).

        Raises:
            JobError: ``DISK_FULL`` or ``OUTPUT_UNWRITABLE``.
        """
        steps = np.clip(np.rint(scores * SCORE_STEPS), 0, SCORE_STEPS)
        self._write(window, np.where(valid, steps, SCORE_NODATA).astype(np.uint8))

    def _describe(self, dataset: Any) -> None:
        dataset.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (self._bands - 1)
        dataset.scales = (1.0 / SCORE_STEPS,) * self._bands
        dataset.offsets = (0.0,) * self._bands
        for band, item in enumerate(self._legend, start=1):
            dataset.set_band_description(band, plain_text(item.name))
            dataset.update_tags(band, CLASS_ID=str(item.class_id), COLOR=item.color)


class RegionRasterWriter(GeoTiffWriter):
    """Writes numbers of regions as 32-bit integers, 0 for none.

    Args:
        path: Final name.
        grid: Pixels of the file.
        provenance: How the file was made.
    """

    _predictor = 2

    def __init__(self, path: str | Path, grid: Grid, provenance: dict[str, str]) -> None:
        super().__init__(path, grid, 1, "int32", 0, provenance)

    def write(self, window: Window, region_ids: NDArray[np.int32]) -> None:
        """Write region numbers of shape (h, w).

        Raises:
            JobError: ``DISK_FULL`` or ``OUTPUT_UNWRITABLE``.
        """
        self._write(window, region_ids.astype(np.int32, copy=False)[None])


def read_legend(path: str | Path) -> tuple[LegendClass, ...]:
    """Return the classes that a class raster or a scores raster was written with.

    Raises:
        JobError: ``SOURCE_UNREADABLE`` when the file cannot be opened; ``INVALID_JOB`` when it
            holds no classes.
    """
    try:
        with rasterio.open(path) as dataset:
            text = dataset.tags().get(CLASSES_TAG, "")
    except RasterioError as error:
        raise JobError(
            ErrorCode.SOURCE_UNREADABLE,
            f"The raster {path} cannot be opened: {error}",
            "Choose a raster that GeoSeg wrote.",
        ) from error
    if not text:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"The raster {path} does not say which classes it holds.",
            "Choose a scores raster that GeoSeg wrote.",
        )
    return parse_classes(text)


def read_scores_legend(path: str | Path) -> tuple[LegendClass, ...]:
    """Return the classes of a scores raster, in the order of its bands.

    Raises:
        JobError: As `read_legend`; ``INVALID_JOB`` also when bands and classes differ in number.
    """
    legend = read_legend(path)
    with rasterio.open(path) as dataset:
        count = dataset.count
    if count != len(legend):
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"The raster {path} has {count} bands for {len(legend)} classes.",
            "Choose a scores raster that GeoSeg wrote.",
        )
    return legend


def _check_complete(path: Path, level: int | None = None) -> None:
    """Read a raster or one of its overviews again, as GDAL only logs some errors.

    Raises:
        OSError: When it cannot be read as a whole.
    """
    options = {} if level is None else {"OVERVIEW_LEVEL": str(level)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.open(path, **options) as dataset:
                for band in range(1, dataset.count + 1):
                    for top in range(0, dataset.height, _BLOCK):
                        rows = min(_BLOCK, dataset.height - top)
                        dataset.read(band, window=Window(0, top, dataset.width, rows))
        except RasterioError as error:
            raise OSError("no space left: the file was cut short") from error


def _merge(known: str, band_xml: str) -> str:
    end = "</PAMDataset>"
    if end in known:
        return known.replace(end, f"{band_xml}\n{end}")
    return f"<PAMDataset>\n{band_xml}\n{end}\n"
