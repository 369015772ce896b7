"""Styles in GeoPackages, written without QGIS.

QGIS asks in a box whether a style may be replaced (`saveStyleToDatabase` before 3.24, whatever its
arguments), and a box from the thread of an algorithm ends or stops the program.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

STYLE_NAME = "GeoSeg"
_SECONDS = 5.0
# The columns are those of QGIS.
_TABLE = """CREATE TABLE IF NOT EXISTS layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256),
    f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256),
    styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT,
    owner TEXT(30), ui TEXT(30),
    update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')))"""
_CONTENTS = """INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier)
    VALUES ('layer_styles', 'attributes', 'layer_styles')"""
_FORGET = "DELETE FROM layer_styles WHERE f_table_name = ? AND lower(styleName) = lower(?)"
_DEFAULTS = "SELECT count(*) FROM layer_styles WHERE f_table_name = ? AND useAsDefault"
_INSERT = """INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name,
    f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, owner)
    SELECT '', '', table_name, column_name, ?, ?, '', ?, 'Written by GeoSeg', ''
    FROM gpkg_geometry_columns WHERE lower(table_name) = lower(?)"""


def store_style(path: Path, table: str, qml: str) -> bool:
    """Store the style of a table in a GeoPackage; any thread.

    It replaces an earlier style of this name and is the default one, unless the user has chosen
    another default for the table.

    Args:
        path: The GeoPackage.
        table: Its table.
        qml: The style.

    Returns:
        Whether it was stored; not when another program keeps the file locked.
    """
    try:
        with closing(sqlite3.connect(str(path), timeout=_SECONDS)) as connection, connection:
            connection.execute(_TABLE)
            connection.execute(_CONTENTS)
            connection.execute(_FORGET, (table, STYLE_NAME))
            is_default = connection.execute(_DEFAULTS, (table,)).fetchone()[0] == 0
            connection.execute(_INSERT, (STYLE_NAME, qml, int(is_default), table))
    except sqlite3.Error:
        return False
    return True
