"""Result files into styled layers: legend, group and metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, ClassVar, Dict, List, Mapping, Optional, Sequence

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsFeatureRenderer,
    QgsFillSymbol,
    QgsLayerMetadata,
    QgsLayerTreeGroup,
    QgsMapLayer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProject,
    QgsRendererCategory,
    QgsRuleBasedRenderer,
    QgsSingleSymbolRenderer,
    QgsVectorLayer,
)
from qgis.PyQt.QtXml import QDomDocument

from ..protocol.legend import LegendClass
from .style_table import store_style

_FILL_OPACITY = 140
# Five steps from vermilion to blue that stay apart for colour-blind eyes (ColorBrewer RdYlBu).
_QUALITY_COLORS = ("#d7191c", "#fdae61", "#ffffbf", "#abd9e9", "#2c7bb6")
_OWN_STYLE = "geoseg/style"
"""Property of a layer that marks a style file as one of GeoSeg."""
_FILES_WITH_SIDECAR = {".shp", ".geojson", ".json", ".fgb"}

# The field of a review may be missing, in which case its name alone would be an error.
_DROPPED = "coalesce(attribute($currentfeature, 'review'), '') IN ('deleted', 'redone')"
RESULT = "geoseg/result"
"""Property of a layer that is a result of GeoSeg."""

Style = Callable[[], QgsFeatureRenderer]


def polygon_renderer(legend: Sequence[LegendClass]) -> QgsCategorizedSymbolRenderer:
    """Return a renderer by the field ``class``: outlines in the class colour, fills half clear."""
    categories = [QgsRendererCategory(item.name, _fill(item.color), item.name) for item in legend]
    return QgsCategorizedSymbolRenderer("class", categories)


def outline_renderer(color: str) -> QgsSingleSymbolRenderer:
    """Return a renderer that draws every polygon in ``color`` (``#rrggbb``), half clear."""
    return QgsSingleSymbolRenderer(_fill(color))


def quality_renderer(field: str = "iou") -> QgsRuleBasedRenderer:
    """Return a renderer by an IoU in five steps: outlines only, as the imagery is to be judged.

    Polygons that a review has dropped are thin and dashed, those without an IoU grey.
    """
    root = QgsRuleBasedRenderer.Rule(None)
    dropped = QgsRuleBasedRenderer.Rule(_quality_outline("#9a9a9a", width="0.3", style="dash"))
    dropped.setFilterExpression(_DROPPED)
    dropped.setLabel("dropped")
    steps = len(_QUALITY_COLORS)
    for rank, color in enumerate(_QUALITY_COLORS):
        low, high = rank / steps, (rank + 1) / steps
        below = f'"{field}" < {high:g}' if rank < steps - 1 else f'"{field}" <= 1'
        rule = QgsRuleBasedRenderer.Rule(_quality_outline(color))
        rule.setFilterExpression(f'"{field}" >= {low:g} AND {below} AND NOT {_DROPPED}')
        rule.setLabel(f"IoU {low:.1f} to {high:.1f}")
        root.appendChild(rule)
    rule = QgsRuleBasedRenderer.Rule(_quality_outline("#7d7d7d"))
    rule.setFilterExpression(f'"{field}" IS NULL AND NOT {_DROPPED}')
    rule.setLabel("not judged")
    root.appendChild(rule)
    root.appendChild(dropped)
    return QgsRuleBasedRenderer(root)


def _fill(color: str) -> QgsFillSymbol:
    """Return a half clear fill with an outline of the same colour."""
    red, green, blue = _channels(color)
    return QgsFillSymbol.createSimple(
        {
            "color": f"{red},{green},{blue},{_FILL_OPACITY}",
            "outline_color": f"{red},{green},{blue},255",
            "outline_width": "0.3",
        }
    )


def _quality_outline(color: str, width: str = "0.6", style: str = "solid") -> QgsFillSymbol:
    """Return an outline that is seen on roofs of any colour: a dark line below a coloured one."""
    red, green, blue = _channels(color)
    symbol = QgsFillSymbol.createSimple(
        {
            "style": "no",
            "outline_color": f"{red},{green},{blue},255",
            "outline_width": width,
            "outline_style": style,
        }
    )
    casing = QgsFillSymbol.createSimple(
        {
            "style": "no",
            "outline_color": "20,20,20,170",
            "outline_width": str(float(width) + 0.5),
            "outline_style": style,
        }
    )
    symbol.insertSymbolLayer(0, casing.symbolLayer(0).clone())
    return symbol


def _channels(color: str) -> List[int]:
    return [int(color[start : start + 2], 16) for start in (1, 3, 5)]


def layer_metadata(title: str, provenance: Mapping[str, str]) -> QgsLayerMetadata:
    """Return metadata with the provenance of a layer."""
    metadata = QgsLayerMetadata()
    metadata.setTitle(title)
    metadata.setType("dataset")
    lines = [f"{name}: {value}" for name, value in provenance.items()]
    metadata.setAbstract("\n".join(lines))
    for line in lines:
        metadata.addHistoryItem(line)
    metadata.setKeywords({"gmd:topicCategory": ["imageryBaseMapsEarthCover"]})
    return metadata


def finish_polygon_file(
    destination: str, renderer: QgsFeatureRenderer, provenance: Mapping[str, str]
) -> None:
    """Put style and metadata into the polygon file, so that it loads styled anywhere; any thread.

    Nothing here may ask the user. Databases and layers in memory are left alone, and so is a style
    file that somebody else wrote.
    """
    path, _, table = destination.partition("|layername=")
    file = Path(path.split("|", maxsplit=1)[0])
    if not file.is_file():
        return
    in_geopackage = file.suffix.lower() == ".gpkg"
    table = table or file.stem
    # Metadata go into a GeoPackage only by the name of their table.
    uri = f"{file}|layername={table}" if in_geopackage else destination
    layer = QgsVectorLayer(uri, table, "ogr")
    if not layer.isValid():
        return
    layer.setRenderer(renderer)
    layer.setMetadata(layer_metadata(table, provenance))
    if in_geopackage:
        store_style(file, table, _qml(layer))
        layer.saveDefaultMetadata()
    elif file.suffix.lower() in _FILES_WITH_SIDECAR:
        layer.setCustomProperty(_OWN_STYLE, True)
        if _may_write_style(file.with_suffix(".qml")):
            layer.saveDefaultStyle()
        layer.saveDefaultMetadata()


def _qml(layer: QgsVectorLayer) -> str:
    document = QDomDocument()
    layer.exportNamedStyle(document)
    return str(document.toString())


def _may_write_style(style: Path) -> bool:
    """Return whether there is no style of this name yet, or one of an earlier result."""
    try:
        return not style.exists() or _OWN_STYLE in style.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


class LayerStyler(QgsProcessingLayerPostProcessorInterface):
    """Styles a result once QGIS has loaded it; runs on the main thread, never headless.

    Rasters have their style in their files. Use `create`: QGIS keeps no reference, and a styler
    that was garbage-collected is silently not called.
    """

    _kept: ClassVar[List[LayerStyler]] = []

    def __init__(
        self,
        style: Optional[Style],
        provenance: Mapping[str, str],
        group: str,
        hidden: bool,
        numbered: bool,
    ) -> None:
        super().__init__()
        self._numbered = numbered
        self.group = group
        self._style = style
        self._provenance: Dict[str, str] = dict(provenance)
        self._hidden = hidden
        self._done = False

    @classmethod
    def create(
        cls,
        style: Optional[Style],
        provenance: Mapping[str, str],
        group: str,
        hidden: bool = False,
        *,
        numbered: bool = False,
    ) -> LayerStyler:
        """Return a styler that lives until it has run.

        Args:
            style: Makes the renderer of a vector layer; None keeps that of the file.
            provenance: How the layer was made.
            group: Layer tree group to move the layer to; '' leaves it where it is.
            hidden: Whether the layer starts unchecked.
            numbered: Whether a layer gets a number when the project has one of its name.
        """
        cls._kept[:] = [styler for styler in cls._kept if not styler._done]
        styler = cls(style, provenance, group, hidden, numbered)
        cls._kept.append(styler)
        return styler

    def postProcessLayer(
        self,
        layer: QgsMapLayer,
        context: QgsProcessingContext,
        _feedback: QgsProcessingFeedback,
    ) -> None:
        """Style ``layer``."""
        layer.setCustomProperty(RESULT, True)
        if self._numbered:
            layer.setName(_free_name(layer, context.project() or QgsProject.instance()))
        if isinstance(layer, QgsVectorLayer) and self._style is not None:
            layer.setRenderer(self._style())
        layer.setMetadata(layer_metadata(layer.name(), self._provenance))
        layer.triggerRepaint()
        self._place(layer, context.project() or QgsProject.instance())
        self._done = True

    def _place(self, layer: QgsMapLayer, project: QgsProject) -> None:
        root = project.layerTreeRoot()
        node = root.findLayer(layer.id())
        if node is None:
            return
        if self.group:
            group = root.findGroup(self.group) or root.insertGroup(0, self.group)
            moved = node.clone()
            group.insertChildNode(_rank(group, layer), moved)
            group.setExpanded(True)
            node.parent().removeChildNode(node)
            node = moved
        if self._hidden:
            node.setItemVisibilityChecked(False)
        if not isinstance(layer, QgsVectorLayer):
            node.setExpanded(False)


def _free_name(layer: QgsMapLayer, project: QgsProject) -> str:
    """Return the name of ``layer``, with a number behind it when another layer has that name."""
    name = layer.name()
    taken = {other.name() for other in project.mapLayers().values() if other.id() != layer.id()}
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} {number}"
    return str(free)


def _rank(group: QgsLayerTreeGroup, layer: QgsMapLayer) -> int:
    """Return where ``layer`` goes in ``group``: polygons above, rasters below."""
    return 0 if isinstance(layer, QgsVectorLayer) else len(group.children())
