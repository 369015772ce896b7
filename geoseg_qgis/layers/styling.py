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
_QUALITY_OPACITY = 215
# Five steps from vermilion to blue that stay apart for colour-blind eyes (ColorBrewer RdYlBu).
_QUALITY_COLORS = ("#d7191c", "#fdae61", "#ffffbf", "#abd9e9", "#2c7bb6")
_OWN_STYLE = "geoseg/style"
"""Property of a layer that marks a style file as one of GeoSeg."""
_FILES_WITH_SIDECAR = {".shp", ".geojson", ".json", ".fgb"}

Style = Callable[[], QgsFeatureRenderer]


def polygon_renderer(legend: Sequence[LegendClass]) -> QgsCategorizedSymbolRenderer:
    """Return a renderer by the field ``class``: outlines in the class colour, fills half clear."""
    categories = [QgsRendererCategory(item.name, _fill(item.color), item.name) for item in legend]
    return QgsCategorizedSymbolRenderer("class", categories)


def outline_renderer(color: str) -> QgsSingleSymbolRenderer:
    """Return a renderer that draws every polygon in ``color`` (``#rrggbb``), half clear."""
    return QgsSingleSymbolRenderer(_fill(color))


def quality_renderer(field: str = "iou") -> QgsRuleBasedRenderer:
    """Return a renderer by an IoU in five steps; polygons without one are hatched."""
    root = QgsRuleBasedRenderer.Rule(None)
    steps = len(_QUALITY_COLORS)
    for rank, color in enumerate(_QUALITY_COLORS):
        low, high = rank / steps, (rank + 1) / steps
        below = f'"{field}" < {high:g}' if rank < steps - 1 else f'"{field}" <= 1'
        rule = QgsRuleBasedRenderer.Rule(_quality_fill(color))
        rule.setFilterExpression(f'"{field}" >= {low:g} AND {below}')
        rule.setLabel(f"IoU {low:.1f} to {high:.1f}")
        root.appendChild(rule)
    hatched = QgsFillSymbol.createSimple(
        {"style": "b_diagonal", "color": "110,110,110,200", "outline_color": "90,90,90,255"}
    )
    rule = QgsRuleBasedRenderer.Rule(hatched)
    rule.setFilterExpression(f'"{field}" IS NULL')
    rule.setLabel("not judged")
    root.appendChild(rule)
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


def _quality_fill(color: str) -> QgsFillSymbol:
    """Return a fill that keeps its hue on roofs of any colour, with a dark outline."""
    red, green, blue = _channels(color)
    return QgsFillSymbol.createSimple(
        {
            "color": f"{red},{green},{blue},{_QUALITY_OPACITY}",
            "outline_color": "30,30,30,255",
            "outline_width": "0.4",
        }
    )


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
    ) -> None:
        super().__init__()
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
    ) -> LayerStyler:
        """Return a styler that lives until it has run.

        Args:
            style: Makes the renderer of a vector layer; None keeps that of the file.
            provenance: How the layer was made.
            group: Layer tree group to move the layer to; '' leaves it where it is.
            hidden: Whether the layer starts unchecked.
        """
        cls._kept[:] = [styler for styler in cls._kept if not styler._done]
        styler = cls(style, provenance, group, hidden)
        cls._kept.append(styler)
        return styler

    def postProcessLayer(
        self,
        layer: QgsMapLayer,
        context: QgsProcessingContext,
        _feedback: QgsProcessingFeedback,
    ) -> None:
        """Style ``layer``."""
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


def _rank(group: QgsLayerTreeGroup, layer: QgsMapLayer) -> int:
    """Return where ``layer`` goes in ``group``: polygons above, rasters below."""
    return 0 if isinstance(layer, QgsVectorLayer) else len(group.children())
