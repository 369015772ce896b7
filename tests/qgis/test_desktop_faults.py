"""What a new user stumbled over, one test for each."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from dock_window import DockWindow
from qgis import utils
from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProject,
    QgsProperty,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QTextDocument

from geoseg_qgis.compat import hidden_from_models
from geoseg_qgis.layers.styling import LayerStyler, quality_renderer
from geoseg_qgis.processing.time_left import TimeNews
from geoseg_qgis.processing.values import Values


@pytest.fixture
def shown(qgis_app, qgis_new_project, monkeypatch) -> Iterator[DockWindow]:
    """A window that QGIS takes for its own."""
    window = DockWindow()
    monkeypatch.setattr(utils, "iface", window)
    yield window
    window.close()


def values_of(provider, name: str, **parameters: object) -> Values:
    algorithm = provider.algorithm(name).create()
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    return Values(algorithm, parameters, context)


def test_an_empty_cell_of_a_batch_is_no_output(provider) -> None:
    empty = QgsProcessingOutputLayerDefinition("", QgsProject.instance())
    computed = QgsProcessingOutputLayerDefinition("")
    computed.sink = QgsProperty.fromExpression("'a' || '.gpkg'")
    given = values_of(provider, "openvocabulary", POLYGONS=empty, OUTPUT="a.tif", SCORES=computed)
    assert not given.is_given("POLYGONS")
    assert given.is_given("OUTPUT")
    assert given.is_given("SCORES")
    assert given.destination("POLYGONS") == ""
    assert (
        provider.algorithm("openvocabulary")
        .create()
        .files(values_of(provider, "openvocabulary", POLYGONS=empty), None)
        == {}
    )


def test_set_up_and_models_stay_out_of_the_model_designer(provider) -> None:
    hidden = {
        algorithm.name()
        for algorithm in provider.algorithms()
        if algorithm.flags() & hidden_from_models()
    }
    assert hidden == {"models", "setup"}


def test_every_dialog_has_a_help_button(provider) -> None:
    for algorithm in provider.algorithms():
        assert algorithm.helpUrl().startswith("https://")


def test_help_takes_the_colours_of_the_theme(provider) -> None:
    # The style sheet of the dialogs of QGIS, which is made for a light theme.
    sheet = "h2 { color: #555555; } p { color: #666666; } b { color: #333333; }"
    text = provider.algorithm("assess").shortHelpString()
    document = QTextDocument()
    document.setDefaultStyleSheet(sheet)
    document.setHtml(text)
    colored = re.findall(r"[^-]color:#\w+", document.toHtml())
    assert colored == []
    assert "font-weight: 600" in text


def test_a_second_layer_of_a_name_gets_a_number(qgis_new_project) -> None:
    names = []
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    for _ in range(3):
        layer = QgsVectorLayer("Polygon?crs=EPSG:32632", "kampala_05 - classes", "memory")
        QgsProject.instance().addMapLayer(layer)
        styler = LayerStyler.create(None, {}, "", numbered=True)
        styler.postProcessLayer(layer, context, QgsProcessingFeedback())
        names.append(layer.name())
    assert names == ["kampala_05 - classes", "kampala_05 - classes 2", "kampala_05 - classes 3"]


def test_nothing_covers_what_is_judged(qgis_app) -> None:
    renderer = quality_renderer()
    layers = [
        part for rule in renderer.rootRule().children() for part in rule.symbol().symbolLayers()
    ]
    assert len(layers) == 2 * 7
    assert all(part.properties()["style"] == "no" for part in layers)


def test_a_web_map_is_read_where_the_window_shows_it(provider, shown: DockWindow) -> None:
    uri = "type=xyz&url=http://localhost:1/{z}/{x}/{y}.png&zmax=19&zmin=0"
    layer = QgsRasterLayer(uri, "tiles", "wms")
    QgsProject.instance().addMapLayer(layer)
    shown.canvas.setDestinationCrs(layer.crs())
    shown.canvas.setExtent(QgsRectangle(1000, 2000, 1100, 2100))
    algorithm = provider.algorithm("openvocabulary").create()
    values = Values(
        algorithm,
        {"INPUT": layer.id(), "CLASSES": "water", "OUTPUT": "TEMPORARY_OUTPUT"},
        values_of(provider, "openvocabulary").context,
    )
    algorithm.freeze(values)
    assert algorithm.is_visible_area
    assert algorithm.area.contains(QgsRectangle(1001, 2001, 1099, 2099))
    assert algorithm.area.width() < 1000
    fine, reason = algorithm.checkParameterValues(values.parameters, values.context)
    assert fine, reason


def test_long_runs_say_how_long_they_still_take() -> None:
    news = TimeNews(0.0)
    said = [news.update(float(second), second / 200) for second in range(1, 201)]
    told = [left for left in said if left is not None]
    assert told[0] == pytest.approx(196, abs=2)
    assert len(told) == 4
    assert all(later <= earlier / 2 for earlier, later in zip(told, told[1:]))
    short = TimeNews(0.0)
    assert [short.update(float(second), second / 10) for second in range(1, 11)] == [None] * 10


@pytest.mark.parametrize(
    ("scores", "expected"),
    [("kampala_05 - scores", "kampala_05"), ("kampala_05 - scores 2", "kampala_05"), ("a", "a")],
)
def test_reclassified_layers_are_named_after_the_imagery(
    provider, qgis_new_project, make_raster, scores: str, expected: str
) -> None:
    layer = QgsRasterLayer(str(make_raster(bands=2)), scores)
    QgsProject.instance().addMapLayer(layer)
    algorithm = provider.algorithm("reclassify").create()
    algorithm.freeze(values_of(provider, "reclassify", SCORES=layer.id()))
    assert algorithm.source_name == expected


def test_errors_name_parameters_as_dialogs_do(provider, raster_layer) -> None:
    QgsProject.instance().addMapLayer(raster_layer)
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    wrong = {}
    for algorithm in provider.algorithms():
        for definition in algorithm.parameterDefinitions():
            given = {"INPUT": raster_layer.id(), definition.name(): "no such thing"}
            fine, reason = algorithm.create().checkParameterValues(given, context)
            if not fine and re.search(rf"\b{definition.name()}\b", reason):
                wrong[algorithm.name(), definition.name()] = reason
    assert wrong == {}
