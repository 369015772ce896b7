"""GeoPackages of polygons with a style that QGIS loads."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyogrio.raw
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

from geoseg_qgis.engine.files import appended, draft
from geoseg_qgis.engine.raster.style import polygon_style
from geoseg_qgis.protocol.legend import LegendClass
from geoseg_qgis.protocol.plain_text import plain_text

from .attributes import free_names

_STYLES_TABLE = """CREATE TABLE IF NOT EXISTS layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256),
    f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256),
    styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT,
    owner TEXT(30), ui TEXT(30),
    update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')))"""
# The GDAL of QGIS 3.22 reads this version without a warning.
_VERSION = "1.3"
_WRITING_ERRORS = (DataSourceError, DataLayerError, FeatureError, sqlite3.Error)
# SQLite would apply a log that an earlier file of this name has left to the new one.
_SIDECARS = tuple(appended(suffix) for suffix in ("-journal", "-wal", "-shm"))


def write_geopackage(
    path: Path,
    layer: str,
    polygons: NDArray[np.object_],
    *,
    fields: dict[str, NDArray[Any]],
    crs_wkt: str,
    legend: tuple[LegendClass, ...],
    metadata: dict[str, str],
    style_field: str = "class",
    empty: Mapping[str, NDArray[np.bool_]] = MappingProxyType({}),
) -> None:
    """Write polygons, styled by class; the file appears when it is complete.

    Args:
        path: Final name.
        layer: Name of the layer.
        polygons: (n,) polygons or multipolygons in map coordinates; none gives an empty layer.
            Heights are kept, and None is a feature without a geometry.
        fields: Name to (n,) values.
        crs_wkt: CRS; empty for none.
        legend: Values and colours of the field of the style; empty for no style.
        metadata: Metadata of the layer.
        style_field: Field of the style.
        empty: Name of a field to (n,) where it is NULL. NaN is NULL as well.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
    """
    id_column, geometry_column = free_names(("fid", "geom"), fields)
    with draft(path, *_WRITING_ERRORS, sidecars=_SIDECARS) as unfinished:
        with warnings.catch_warnings():
            # A raster without a CRS has polygons without one.
            warnings.filterwarnings("ignore", message="'crs' was not provided")
            pyogrio.raw.write(
                str(unfinished),
                geometry=shapely.to_wkb(polygons),
                field_data=list(fields.values()),
                fields=list(fields),
                field_mask=[empty.get(name) for name in fields],
                geometry_type=f"MultiPolygon{' Z' if shapely.has_z(polygons).any() else ''}",
                promote_to_multi=True,
                crs=crs_wkt or None,
                driver="GPKG",
                dataset_options={"VERSION": _VERSION},
                layer_options={"FID": id_column, "GEOMETRY_NAME": geometry_column},
                layer=layer,
                layer_metadata={key: plain_text(str(value)) for key, value in metadata.items()},
            )
        if legend:
            _store_style(unfinished, layer, polygon_style(legend, style_field), geometry_column)


def _store_style(path: Path, layer: str, style: str, geometry_column: str) -> None:
    connection = sqlite3.connect(path)
    try:
        with connection:
            connection.execute(_STYLES_TABLE)
            connection.execute(
                "INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier) "
                "VALUES ('layer_styles', 'attributes', 'layer_styles')"
            )
            connection.execute(
                "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, "
                "f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, "
                "owner) VALUES ('', '', ?, ?, 'GeoSeg', ?, '', 1, 'Classes of GeoSeg', '')",
                (layer, geometry_column, style),
            )
    finally:
        connection.close()
