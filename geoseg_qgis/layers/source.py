"""Map layers frozen into source descriptions: what a job needs, after the layer may be gone.

Call these functions on the main thread. What they return may travel to any thread.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Tuple

from qgis.core import (
    Qgis,
    QgsContrastEnhancement,
    QgsCoordinateReferenceSystem,
    QgsProviderRegistry,
    QgsRasterDataProvider,
    QgsRasterLayer,
    QgsRasterRenderer,
    QgsRectangle,
)

from ..compat import is_null
from ..protocol.errors import ErrorCode, JobError
from ..protocol.source import RasterSource, Stretch, StretchKind

Limits = Tuple[float, float]

_ONLY_HERE = ("/vsimem/", "|option:", "|credential:", " authcfg=")
# Where QGIS could measure nothing, limits are the range of the data type.
_MEASURABLE = 1e30
# Pixels of the largest result.
_LARGEST = 40_000.0 * 40_000.0
_SERVICE_TEXTS = ("<GDAL_WMS", "<GDAL_WMTS")
_SERVICE_PREFIXES = ("WMS:", "WMTS:", "IIP:")
_HEAD = 512
_SAME_PIXELS = 2.0
_SAME_SHARE = 0.002


@dataclass(frozen=True)
class FrozenRaster:
    """A raster layer as it was when the run began.

    Attributes:
        source: What the engine reads; without ``uri`` when `needs_snapshot`.
        crs: The CRS of the layer; may be invalid.
        extent: Extent in that CRS.
        columns: Width in pixels; 0 where the server decides.
        rows: Height in pixels; 0 where the server decides.
        provider: A data provider of its own, for a snapshot.
        renderer: Clone of the renderer for providers of pictures; None copies data values.
        resolutions: Pixel sizes that a tile server offers, in map units.
        notes: Sentences about choices that were made for the user.
    """

    source: RasterSource
    crs: QgsCoordinateReferenceSystem
    extent: QgsRectangle
    columns: int
    rows: int
    provider: Optional[QgsRasterDataProvider] = None
    renderer: Optional[QgsRasterRenderer] = None
    resolutions: Tuple[float, ...] = ()
    notes: Tuple[str, ...] = ()

    @property
    def needs_snapshot(self) -> bool:
        """Whether no file backs the layer."""
        return not self.source.uri

    @property
    def is_vast(self) -> bool:
        """Whether a file stands for a map service of the whole world, too large for any run.

        A large raster of the user's own is none, and is processed as a whole.
        """
        large = float(self.columns) * self.rows > _LARGEST
        return large and _is_service(self.source.uri)

    def lies_at(self, bounds: Tuple[float, float, float, float]) -> bool:
        """Return whether bounds (xmin, ymin, xmax, ymax) are those of the layer, but for rounding.

        Warps of ground control points differ by about a pixel from version to version.
        """
        extent = self.extent
        wide = max(_SAME_PIXELS / max(self.columns, 1), _SAME_SHARE) * extent.width()
        high = max(_SAME_PIXELS / max(self.rows, 1), _SAME_SHARE) * extent.height()
        sides = (extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum())
        allowed = (wide, high, wide, high)
        return all(abs(a - b) <= most for a, b, most in zip(sides, bounds, allowed))

    def without_file(self) -> FrozenRaster:
        """Return the layer as one that no file backs, so that QGIS copies it."""
        return replace(self, source=replace(self.source, uri=""))

    @property
    def name(self) -> str:
        """What people call the layer."""
        return self.source.name


def freeze_raster(
    layer: QgsRasterLayer,
    bands: Sequence[int] = (),
    stretch: StretchKind = StretchKind.LAYER,
) -> FrozenRaster:
    """Return everything a run needs of ``layer``.

    Args:
        layer: A valid raster layer.
        bands: One-based bands used as red, green, blue; none takes those the layer shows.
        stretch: How values become 8-bit ones; ``LAYER`` falls back on percentiles with a note
            when the layer has no limits for these bands.

    Raises:
        JobError: ``SOURCE_UNREADABLE`` or ``INVALID_JOB`` for bands that do not exist.
    """
    provider = layer.dataProvider()
    if not layer.isValid() or provider is None:
        raise JobError(
            ErrorCode.SOURCE_UNREADABLE,
            f"The layer {layer.name()!r} cannot be read.",
            "Repair its data source or choose another layer.",
        )
    uri = _file_uri(layer)
    is_picture = not uri and _gives_pictures(provider)
    chosen = () if is_picture else _choose_bands(layer, bands)
    reading = _Reading(StretchKind.NONE)
    if not is_picture:
        reading = _choose_stretch(layer, chosen, stretch)
    hidden = (*_declared_nodata(provider, chosen), *_transparent_ranges(layer, chosen))
    source = RasterSource(
        uri=uri,
        name=layer.name(),
        crs_wkt=crs_text(layer.crs()),
        bands=chosen,
        nodata=tuple(low for low, high in hidden if low == high),
        nodata_ranges=tuple(limits for limits in hidden if limits[0] < limits[1]),
        nodata_colors=_transparent_colors(layer, chosen),
        stretch=Stretch(reading.kind, reading.limits),
    )
    return FrozenRaster(
        source=source,
        crs=layer.crs(),
        extent=layer.extent(),
        columns=layer.width(),
        rows=layer.height(),
        provider=_own_provider(layer),
        renderer=layer.renderer().clone() if is_picture and layer.renderer() else None,
        resolutions=tuple(sorted(provider.nativeResolutions())),
        notes=reading.notes,
    )


def freeze_classes(layer: QgsRasterLayer) -> FrozenRaster:
    """Freeze the first band of a class raster, with the names that its style gives to values.

    Raises:
        JobError: ``SOURCE_UNREADABLE``.
    """
    frozen = freeze_raster(layer, (1,), StretchKind.NONE)
    return replace(frozen, source=replace(frozen.source, class_names=class_labels(layer)))


def crs_text(crs: QgsCoordinateReferenceSystem) -> str:
    """Return the WKT that loses nothing, also of a CRS without an id; empty when invalid."""
    if not crs.isValid():
        return ""
    wkt: str = crs.toWkt(QgsCoordinateReferenceSystem.WktVariant.WKT_PREFERRED_GDAL)
    return wkt


def class_labels(layer: QgsRasterLayer) -> Dict[str, str]:
    """Return value to label of a layer that shows its values as classes; else nothing."""
    renderer = layer.renderer()
    if renderer is None or renderer.type() != "paletted":
        return {}
    return {
        str(int(item.value)): item.label
        for item in renderer.classes()
        if item.label and item.value == int(item.value) and item.label != str(int(item.value))
    }


def _file_uri(layer: QgsRasterLayer) -> str:
    """Return what GDAL opens in another process, or '' when only QGIS can read the layer as it is.

    Open options choose another grid, and only QGIS has the credentials.
    """
    uri: str = layer.source()
    if layer.providerType() != "gdal" or any(mark in uri for mark in _ONLY_HERE):
        return ""
    parts = QgsProviderRegistry.instance().decodeUri("gdal", layer.source())
    path = parts.get("path")
    if is_null(path) or not path or parts.get("vsiPrefix"):
        return uri
    if not Path(path).is_absolute() and Path(path).exists():
        return uri.replace(path, str(Path(path).resolve()), 1)
    return uri


def _is_service(uri: str) -> bool:
    """Return whether what GDAL opens describes a map service: its text, a prefix, or a file."""
    if uri.lstrip().startswith(_SERVICE_TEXTS) or uri.upper().startswith(_SERVICE_PREFIXES):
        return True
    try:
        with Path(uri).open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError):
        return False
    return any(text.encode() in head for text in _SERVICE_TEXTS)


def _own_provider(layer: QgsRasterLayer) -> QgsRasterDataProvider:
    """Return a provider that outlives ``layer``."""
    if layer.providerType() == "virtualraster":
        # Clones of this provider go on reading through objects of the layer.
        return QgsProviderRegistry.instance().createProvider(layer.providerType(), layer.source())
    return layer.dataProvider().clone()


def _gives_pictures(provider: QgsRasterDataProvider) -> bool:
    return provider.dataType(1) in (
        Qgis.DataType.ARGB32,
        Qgis.DataType.ARGB32_Premultiplied,
    )


def _choose_bands(layer: QgsRasterLayer, bands: Sequence[int]) -> Tuple[int, ...]:
    count = layer.bandCount()
    for band in bands:
        if not 1 <= band <= count:
            raise JobError(
                ErrorCode.INVALID_JOB,
                f"The layer {layer.name()!r} has no band {band}.",
                f"Choose from its {count} bands.",
            )
    if bands:
        return tuple(bands)
    renderer = layer.renderer()
    if renderer is None or renderer.type() == "paletted":
        return ()
    shown = [band for band in renderer.usesBands() if 1 <= band <= count]
    return tuple(shown) if len(shown) == 3 else tuple(shown[:1])


@dataclass(frozen=True)
class _Reading:
    kind: StretchKind
    limits: Tuple[Limits, ...] = ()
    notes: Tuple[str, ...] = ()


def _choose_stretch(layer: QgsRasterLayer, bands: Tuple[int, ...], kind: StretchKind) -> _Reading:
    if kind is not StretchKind.LAYER:
        return _Reading(kind)
    if not bands:
        return _Reading(StretchKind.NONE)
    known = _renderer_limits(layer)
    if any(band not in known for band in bands):
        note = (
            f"The layer {layer.name()!r} shows no contrast limits for these bands: "
            "their 2 % and 98 % quantiles are used."
        )
        return _Reading(StretchKind.PERCENTILES, (), (note,))
    return _Reading(kind, tuple(known[band] for band in bands))


def _renderer_limits(layer: QgsRasterLayer) -> Dict[int, Limits]:
    """Return the contrast limits of each band that the layer stretches or shows as it is."""
    renderer = layer.renderer()
    if renderer is None:
        return {}
    if renderer.type() == "multibandcolor":
        pairs = [
            (renderer.redBand(), renderer.redContrastEnhancement()),
            (renderer.greenBand(), renderer.greenContrastEnhancement()),
            (renderer.blueBand(), renderer.blueContrastEnhancement()),
        ]
    elif renderer.type() == "singlebandgray":
        pairs = [(renderer.usesBands()[0], renderer.contrastEnhancement())]
    else:
        pairs = []
    limits = {}
    for band, enhancement in pairs:
        found = _enhancement_limits(layer, band, enhancement)
        if found is not None:
            limits[band] = found
    return limits


def _enhancement_limits(
    layer: QgsRasterLayer, band: int, enhancement: Optional[QgsContrastEnhancement]
) -> Optional[Limits]:
    unstretched = QgsContrastEnhancement.ContrastEnhancementAlgorithm.NoEnhancement
    if enhancement is not None and enhancement.contrastEnhancementAlgorithm() != unstretched:
        low, high = enhancement.minimumValue(), enhancement.maximumValue()
        return (low, high) if -_MEASURABLE < low < high < _MEASURABLE else None
    if band > 0 and layer.dataProvider().dataType(band) == Qgis.DataType.Byte:
        return 0.0, 255.0
    return None


def _declared_nodata(provider: QgsRasterDataProvider, bands: Tuple[int, ...]) -> Tuple[Limits, ...]:
    """Return the ranges of values that the user declared as nodata."""
    spans = [span for band in bands or (1,) for span in provider.userNoDataValues(band)]
    return tuple(dict.fromkeys((span.min(), span.max()) for span in spans))


def _transparent_ranges(layer: QgsRasterLayer, bands: Tuple[int, ...]) -> Tuple[Limits, ...]:
    """Return the values of a single band that the layer shows fully transparent."""
    renderer = layer.renderer()
    transparency = renderer.rasterTransparency() if renderer is not None else None
    if transparency is None or len(bands) == 3:
        return ()
    pixels = transparency.transparentSingleValuePixelList()
    return tuple((item.min, item.max) for item in pixels if _is_invisible(item))


def _transparent_colors(
    layer: QgsRasterLayer, bands: Tuple[int, ...]
) -> Tuple[Tuple[float, float, float], ...]:
    """Return the colours of three bands that the layer shows fully transparent."""
    renderer = layer.renderer()
    transparency = renderer.rasterTransparency() if renderer is not None else None
    if transparency is None or len(bands) != 3:
        return ()
    pixels = transparency.transparentThreeValuePixelList()
    return tuple((item.red, item.green, item.blue) for item in pixels if _is_invisible(item))


def _is_invisible(pixel: Any) -> bool:
    # QGIS 3.38 has shares of opacity where older versions have percentages of transparency.
    opacity = getattr(pixel, "opacity", None)
    return bool(opacity == 0 if opacity is not None else pixel.percentTransparent >= 100)
