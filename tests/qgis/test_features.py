"""Features reach the engine whole: geometry of any kind, attributes under their own names."""

from __future__ import annotations

from pathlib import Path

import pytest
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsFeedback,
    QgsField,
    QgsGeometry,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QDate, QVariant

from geoseg_qgis.layers.features import write_features
from geoseg_qgis.layers.placement import PLACED, Placement, without_triangles
from geoseg_qgis.layers.surroundings import surroundings
from geoseg_qgis.protocol.errors import CancelledError, JobError

CONTEXT = QgsCoordinateTransformContext()


def placed(layer: QgsVectorLayer) -> Placement:
    return Placement(layer.crs(), layer.crs(), CONTEXT)


def make_layer(kind: str, wkts: list[str], fields: list[QgsField], rows: list[list[object]]):
    layer = QgsVectorLayer(f"{kind}?crs=EPSG:32632", "sketch", "memory")
    layer.dataProvider().addAttributes(fields)
    layer.updateFields()
    for wkt, row in zip(wkts, rows):
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromWkt(wkt))
        feature.setAttributes(row)
        layer.dataProvider().addFeature(feature)
    return layer


def written(layer: QgsVectorLayer, folder: Path) -> QgsVectorLayer:
    keys = layer.primaryKeyAttributes()
    source = write_features(layer, keys, folder / "features.gpkg", placed(layer), QgsFeedback())
    copy = QgsVectorLayer(f"{source.path}|layername={source.layer}", "copy", "ogr")
    assert copy.isValid()
    return copy


def attributes(layer: QgsVectorLayer) -> list[dict[str, object]]:
    names = [field.name() for field in layer.fields() if field.name() not in ("geoseg_row", PLACED)]
    return [{name: feature[name] for name in names} for feature in layer.getFeatures()]


def test_attributes_keep_names_types_and_values(qgis_app, tmp_path) -> None:
    fields = [
        QgsField("Straße", QVariant.String),
        QgsField("count", QVariant.Int),
        QgsField("height", QVariant.Double),
        QgsField("seen", QVariant.Date),
        QgsField("fid", QVariant.LongLong),
        QgsField("geom", QVariant.String),
    ]
    row = ["Gänseweg 1", 3, 2.5, QDate(2024, 5, 17), 2**40, "none"]
    layer = make_layer("Point", ["POINT(1 2)"], fields, [row])
    found = attributes(written(layer, tmp_path))
    assert found == [
        {
            "source_id": 1,
            "Straße": "Gänseweg 1",
            "count": 3,
            "height": 2.5,
            "seen": QDate(2024, 5, 17),
            "fid": 2**40,
            "geom": "none",
        }
    ]


def test_primary_key_stays_as_source_id(qgis_app, tmp_path) -> None:
    layer = make_layer(
        "Point", ["POINT(1 2)", "POINT(3 4)"], [QgsField("name", QVariant.String)], [["a"], ["b"]]
    )
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    path = tmp_path / "stored.gpkg"
    QgsVectorFileWriter.writeAsVectorFormatV3(layer, str(path), CONTEXT, options)
    stored = QgsVectorLayer(str(path), "stored", "ogr")
    assert [field.name() for field in stored.fields()] == ["fid", "name"]
    assert attributes(written(stored, tmp_path)) == [
        {"source_id": 1, "name": "a"},
        {"source_id": 2, "name": "b"},
    ]


def test_lists_become_texts(qgis_app, tmp_path) -> None:
    fields = [QgsField("tags", QVariant.List, subType=QVariant.String)]
    layer = make_layer("Point", ["POINT(1 2)"], fields, [[["pool", "garden"]]])
    assert attributes(written(layer, tmp_path))[0]["tags"] == '["pool","garden"]'


@pytest.mark.parametrize(
    ("kind", "wkt"),
    [
        ("MultiPoint", "MultiPoint ((1 2),(3 4))"),
        ("LineString", "LineString (0 0, 5 5)"),
        ("CurvePolygon", "CurvePolygon (CircularString (0 0, 4 0, 4 4, 0 4, 0 0))"),
        ("MultiPolygon", "MultiPolygon (((0 0, 1 0, 1 1, 0 0)),((5 5, 6 5, 6 6, 5 5)))"),
    ],
)
def test_geometry_of_any_kind_is_kept(qgis_app, tmp_path, kind, wkt) -> None:
    copy = written(make_layer(kind, [wkt], [], [[]]), tmp_path)
    geometry = next(copy.getFeatures()).geometry()
    assert geometry.asWkt().lower().replace(" ", "") == wkt.lower().replace(" ", "")
    assert QgsWkbTypes.displayString(copy.wkbType()) == kind
    assert copy.crs().authid() == "EPSG:32632"


def test_table_without_geometry_is_refused(qgis_app, tmp_path) -> None:
    layer = QgsVectorLayer("None?field=name:string", "table", "memory")
    with pytest.raises(JobError, match="no geometries"):
        written(layer, tmp_path)


def test_cancel_leaves_no_source(qgis_app, tmp_path) -> None:
    layer = make_layer("Point", ["POINT(1 2)"], [], [[]])
    feedback = QgsFeedback()
    feedback.cancel()
    with pytest.raises(CancelledError):
        write_features(layer, (), tmp_path / "features.gpkg", placed(layer), feedback)


def test_unsaved_features_follow_those_that_were_saved(qgis_app, tmp_path) -> None:
    """Clicks are asked in the order in which they were made."""
    layer = make_layer("Point", ["POINT(1 1)", "POINT(2 1)"], [], [[], []])
    assert layer.startEditing()
    for x in (3, 4):
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromWkt(f"POINT({x} 1)"))
        assert layer.addFeature(feature)
    shown = [feature.geometry().asPoint().x() for feature in layer.getFeatures()]
    assert shown != [1, 2, 3, 4]
    copies = written(layer, tmp_path).getFeatures()
    assert [feature.geometry().asPoint().x() for feature in copies] == [1, 2, 3, 4]
    layer.rollBack()


def test_surroundings_reach_100_metres_in_any_unit(qgis_app) -> None:
    degrees, metres = (QgsCoordinateReferenceSystem(f"EPSG:{code}") for code in (4326, 32632))
    feet = QgsCoordinateReferenceSystem("EPSG:2263")
    point = QgsRectangle(9.0, 50.0, 9.0, 50.0)
    area = surroundings(point, degrees, metres, CONTEXT)
    assert area.width() == pytest.approx(200.0)
    assert area.center().x() == pytest.approx(500000.0)
    back = surroundings(QgsRectangle(5e5, 5.5e6, 5e5 + 1000, 5.5e6), metres, metres, CONTEXT)
    assert back.width() == pytest.approx(1500.0)
    york = QgsRectangle(-73.98, 40.75, -73.98, 40.75)
    assert surroundings(york, degrees, feet, CONTEXT).height() == pytest.approx(656.167, abs=0.01)


def test_triangles_become_polygons(qgis_app, tmp_path) -> None:
    layer = make_layer("Polygon", [], [], [])
    layer.dataProvider().addFeatures([])
    triangle = QgsFeature()
    triangle.setGeometry(QgsGeometry.fromWkt("Triangle ((0 0, 4 0, 0 4, 0 0))"))
    assert without_triangles(triangle.geometry()).asWkt() == "Polygon ((0 0, 4 0, 0 4, 0 0))"


def test_places_are_those_of_the_projects_own_operations(qgis_app) -> None:
    here, there = (QgsCoordinateReferenceSystem(f"EPSG:{code}") for code in (5514, 32633))
    context = QgsCoordinateTransformContext()
    # A shift of 1,000 km that no PROJ would choose by itself.
    operation = "+proj=affine +xoff=1000000 +yoff=2000000"
    context.addCoordinateOperation(here, there, operation)
    wkb = Placement(here, there, context).wkb(QgsGeometry.fromWkt("Point (5 7)"))
    place = QgsGeometry()
    place.fromWkb(wkb)
    assert place.asWkt() == "Point (1000005 2000007)"


def test_names_that_differ_in_case_alone_get_a_number(qgis_app, tmp_path) -> None:
    fields = [QgsField("type", QVariant.String), QgsField("TYPE", QVariant.String)]
    layer = make_layer("Point", ["Point (1 2)"], fields, [["a", "b"]])
    (row,) = attributes(written(layer, tmp_path))
    assert (row["type"], row["TYPE_1"]) == ("a", "b")
