"""Layers and extents for tests on the real QGIS."""

from __future__ import annotations

from qgis.core import QgsRasterDataProvider, QgsRasterLayer, QgsRectangle

# Half of the width of Web Mercator in metres.
WORLD = 20037508.342789244


def make_virtual_layer(layer: QgsRasterLayer) -> QgsRasterLayer:
    """Return a layer that computes ``2 * band 2`` of ``layer``."""
    parameters = QgsRasterDataProvider.VirtualRasterParameters()
    parameters.crs = layer.crs()
    parameters.extent = layer.extent()
    parameters.width = layer.width()
    parameters.height = layer.height()
    parameters.formula = '"image@2" * 2'
    entry = QgsRasterDataProvider.VirtualRasterInputLayers()
    entry.name = "image"
    entry.provider = "gdal"
    entry.uri = layer.source()
    parameters.rInputLayers = [entry]
    uri = QgsRasterDataProvider.encodeVirtualRasterProviderUri(parameters)
    return QgsRasterLayer(uri, "double", "virtualraster")


def tile_size(zoom: int) -> float:
    """Return the width of a web map tile in metres."""
    return 2 * WORLD / 2**zoom


def tile_extent(zoom: int, column: int, row: int, count: int = 1) -> QgsRectangle:
    """Return the extent of ``count`` x ``count`` web map tiles."""
    size = tile_size(zoom)
    left, top = -WORLD + column * size, WORLD - row * size
    return QgsRectangle(left, top - count * size, left + count * size, top)
