"""Colour tables, names and QGIS styles of class rasters and polygons."""

from __future__ import annotations

from html import escape

from geoseg_qgis.protocol.legend import LegendClass
from geoseg_qgis.protocol.plain_text import plain_text

UNCLASSIFIED = "unclassified"
# QGIS writes more into the first tags of a style, so these lines mark the ones written here.
_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>"
_RASTER_HEADER = (_DOCTYPE, '<qgis version="3.22.0">', " <pipe>")


def rgb(color: str) -> tuple[int, int, int]:
    """Return red, green and blue of ``#rrggbb``."""
    value = int(color.lstrip("#"), 16)
    return value >> 16, (value >> 8) & 255, value & 255


def color_table(legend: tuple[LegendClass, ...]) -> dict[int, tuple[int, int, int, int]]:
    """Return the colour table of a class raster: transparent where there is no class."""
    table = {0: (0, 0, 0, 0)}
    table.update({item.class_id: (*rgb(item.color), 255) for item in legend})
    return table


def metadata_xml(legend: tuple[LegendClass, ...]) -> str:
    """Return category names and attribute table of a class band, as the XML that GDAL reads."""
    by_id = {item.class_id: item for item in legend}
    names = [
        f"    <Category>{_text(by_id[value].name if value in by_id else UNCLASSIFIED)}</Category>"
        for value in range(max(by_id) + 1)
    ]
    columns = [("VALUE", 0, 5), ("NAME", 2, 2), ("R", 0, 6), ("G", 0, 7), ("B", 0, 8)]
    fields = [
        f'    <FieldDefn index="{index}"><Name>{name}</Name><Type>{kind}</Type>'
        f"<Usage>{usage}</Usage></FieldDefn>"
        for index, (name, kind, usage) in enumerate(columns)
    ]
    rows = []
    for index, item in enumerate(legend):
        cells = [str(item.class_id), item.name, *(str(part) for part in rgb(item.color))]
        joined = "".join(f"<F>{_text(cell)}</F>" for cell in cells)
        rows.append(f'    <Row index="{index}">{joined}</Row>')
    return "\n".join(
        [
            '  <PAMRasterBand band="1">',
            "   <CategoryNames>",
            *names,
            "   </CategoryNames>",
            '   <GDALRasterAttributeTable tableType="thematic">',
            *fields,
            *rows,
            "   </GDALRasterAttributeTable>",
            "  </PAMRasterBand>",
        ]
    )


def raster_style(legend: tuple[LegendClass, ...]) -> str:
    """Return a QGIS style (QML) for a class raster that shows exactly these classes."""
    entries = [
        f'      <paletteEntry value="{item.class_id}" color="{item.color}" '
        f'label={_attribute(item.name)} alpha="255"/>'
        for item in legend
    ]
    return "\n".join(
        [
            *_RASTER_HEADER,
            '  <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1">',
            "    <rasterTransparency/>",
            "    <colorPalette>",
            *entries,
            "    </colorPalette>",
            "  </rasterrenderer>",
            " </pipe>",
            "</qgis>",
            "",
        ]
    )


def is_own_style(text: str) -> bool:
    """Return whether a raster style was written by `raster_style` and never saved by QGIS."""
    return tuple(text.splitlines()[: len(_RASTER_HEADER)]) == _RASTER_HEADER


def polygon_style(legend: tuple[LegendClass, ...], field: str) -> str:
    """Return a QGIS style (QML) for polygons, with one category for each class.

    Args:
        legend: The classes.
        field: Attribute that holds the name of the class.
    """
    categories = [
        f"      <category symbol={_attribute(str(index))} value={_attribute(item.name)} "
        f'label={_attribute(item.name)} render="true" type="string"/>'
        for index, item in enumerate(legend)
    ]
    symbols = [line for index, item in enumerate(legend) for line in _symbol(index, item)]
    return "\n".join(
        [
            _DOCTYPE,
            '<qgis version="3.22.0" styleCategories="Symbology">',
            f'  <renderer-v2 type="categorizedSymbol" attr={_attribute(field)} '
            'enableorderby="0" forceraster="0" symbollevels="0">',
            "    <categories>",
            *categories,
            "    </categories>",
            "    <symbols>",
            *symbols,
            "    </symbols>",
            "  </renderer-v2>",
            "  <layerGeometryType>2</layerGeometryType>",
            "</qgis>",
            "",
        ]
    )


def _symbol(index: int, item: LegendClass) -> list[str]:
    red, green, blue = rgb(item.color)
    edge = f"{red // 2},{green // 2},{blue // 2},255"
    properties = {
        "color": f"{red},{green},{blue},140",
        "outline_color": edge,
        "outline_style": "solid",
        "outline_width": "0.26",
        "outline_width_unit": "MM",
        "style": "solid",
    }
    options = [
        f'            <Option name="{name}" value="{value}" type="QString"/>'
        for name, value in properties.items()
    ]
    return [
        f'      <symbol type="fill" name="{index}" alpha="1" clip_to_extent="1" force_rhr="0">',
        '        <layer class="SimpleFill" enabled="1" locked="0" pass="0">',
        '          <Option type="Map">',
        *options,
        "          </Option>",
        "        </layer>",
        "      </symbol>",
    ]


def _text(value: str) -> str:
    value = plain_text(value)
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _attribute(value: str) -> str:
    """Return a value as the quoted text of an XML attribute."""
    return f'"{escape(plain_text(value), quote=True)}"'
