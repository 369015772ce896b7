"""Names of the values of a class raster.

They come from GeoSeg's own class text, else from the attribute table or the category names that
GDAL and others write to ``.aux.xml`` beside the file.
"""

from __future__ import annotations

import html
import re
from contextlib import closing
from pathlib import Path

from geoseg_qgis.protocol.errors import JobError
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.source import RasterSource

from .datasets import open_dataset
from .write import CLASSES_TAG

Names = dict[int | str, tuple[str, ...]]

_BAND = re.compile(r'<PAMRasterBand band="1">(.*?)</PAMRasterBand>', re.DOTALL)
_CATEGORY = re.compile(r"<Category\s*/>|<Category>(.*?)</Category>", re.DOTALL)
_FIELD = re.compile(
    r"<FieldDefn[^>]*>\s*<Name>(.*?)</Name>.*?<Usage[^>]*>(\d+)</Usage>\s*</FieldDefn>", re.DOTALL
)
_ROW = re.compile(r"<Row[^>]*>(.*?)</Row>", re.DOTALL)
_CELL = re.compile(r"<F\s*/>|<F>(.*?)</F>", re.DOTALL)
# Usages in GDAL's raster attribute tables (GFU_MinMax, GFU_Min, GFU_Name), and usual titles of
# columns without one.
_VALUE_USAGES, _NAME_USAGES = ("5", "3"), ("2",)
_VALUE_TITLES = ("value",)
_NAME_TITLES = ("name", "class", "class_name", "classname", "label", "category")


def read_class_names(uri: str) -> Names:
    """Return the names of each value of the first band, synonyms included; often none.

    Args:
        uri: What GDAL opens.

    Raises:
        JobError: ``SOURCE_UNREADABLE``.
    """
    with closing(open_dataset(RasterSource(uri))) as opened:
        text = opened.file.tags().get(CLASSES_TAG, "")
    try:
        return {item.class_id: item.synonyms for item in parse_classes(text)} if text else _pam(uri)
    except JobError:
        return {}


def _pam(uri: str) -> Names:
    beside = Path(f"{uri}.aux.xml")
    if not beside.is_file():
        return {}
    found = _BAND.search(beside.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        return {}
    named = _attribute_table(found.group(1)) or _categories(found.group(1))
    return {value: (name,) for value, name in named.items() if name and name != str(value)}


def _categories(xml: str) -> dict[int, str]:
    return {
        value: html.unescape(match.group(1) or "").strip()
        for value, match in enumerate(_CATEGORY.finditer(xml))
    }


def _attribute_table(xml: str) -> dict[int, str]:
    fields = [(title.lower(), usage) for title, usage in _FIELD.findall(xml)]
    value = _column(fields, _VALUE_USAGES, _VALUE_TITLES)
    name = _column(fields, _NAME_USAGES, _NAME_TITLES)
    if value is None or name is None:
        return {}
    names = {}
    for row in _ROW.findall(xml):
        cells = [html.unescape(match.group(1) or "").strip() for match in _CELL.finditer(row)]
        if len(cells) > max(value, name) and re.fullmatch(r"-?\d+(\.0*)?", cells[value]):
            names[int(float(cells[value]))] = cells[name]
    return names


def _column(
    fields: list[tuple[str, str]], usages: tuple[str, ...], titles: tuple[str, ...]
) -> int | None:
    for index, (_, usage) in enumerate(fields):
        if usage in usages:
            return index
    for index, (title, _) in enumerate(fields):
        if title in titles:
            return index
    return None
