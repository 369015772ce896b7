"""Situations that users of comparable tools reported in public, each with its right outcome."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_runs import needs_engine
from osgeo import gdal, ogr, osr
from places import ROOT
from qgis.core import (
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)

pytestmark = [*needs_engine, pytest.mark.usefixtures("provider", "qgis_new_project")]

LEFT, TOP, PIXEL, SIDE = 458500.0, 5548000.0, 0.25, 300
CLASSES = "building, roof; road; tree; grass; land"
CLICKS = [(30.0 + 60 * column, 30.0 + 60 * row) for row in range(5) for column in range(5)]
"""Columns and rows of pixels."""


def write_raster(path: Path, *, crs: str = "EPSG:32633", placed: bool = True) -> Path:
    """Write blocks of even colours, three bands of bytes."""
    generator = np.random.default_rng(1)
    blocks = np.repeat(np.repeat(generator.integers(60, 200, (3, 15, 15)), 20, 1), 20, 2)
    values = np.clip(blocks + generator.normal(0, 8, blocks.shape), 1, 255).astype(np.uint8)
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), SIDE, SIDE, 3)
    if placed:
        dataset.SetGeoTransform((LEFT, PIXEL, 0.0, TOP, 0.0, -PIXEL))
    if crs:
        reference = osr.SpatialReference()
        reference.SetFromUserInput(crs)
        dataset.SetProjection(reference.ExportToWkt())
    for band in range(3):
        dataset.GetRasterBand(band + 1).WriteArray(values[band])
    dataset.FlushCache()
    return path


def write_clicks(path: Path, **fields: str) -> Path:
    """Write a point layer in the CRS of the raster, with text fields of the same value each."""
    features = [
        {
            "type": "Feature",
            "properties": {"nr": number, **fields},
            "geometry": {
                "type": "Point",
                "coordinates": [LEFT + column * PIXEL, TOP - row * PIXEL],
            },
        }
        for number, (column, row) in enumerate(CLICKS)
    ]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    return path


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "base.tif")


class Heard(QgsProcessingFeedback):
    """Remembers what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.sentences: list[str] = []

    def pushInfo(self, info: str) -> None:
        self.sentences.append(info)

    def pushWarning(self, warning: str) -> None:
        self.sentences.append(warning)


def run(kind: str, **parameters: Any) -> tuple[dict[str, Any], str]:
    """Run an algorithm as scripts do, and return its results and what it told."""
    import processing

    heard = Heard()
    given = {name: str(value) for name, value in parameters.items()}
    results: dict[str, Any] = processing.run(f"geoseg:{kind}", given, feedback=heard)
    return results, " ".join(heard.sentences)


def classify(raster: Path, **outputs: Any) -> tuple[dict[str, Any], str]:
    return run("openvocabulary", INPUT=raster, CLASSES=CLASSES, METHOD="fast", **outputs)


def holding(layer: QgsVectorLayer) -> int:
    """Return how many clicks lie in or on an outline."""
    shapes = [feature.geometry() for feature in layer.getFeatures()]
    points = [(LEFT + column * PIXEL, TOP - row * PIXEL) for column, row in CLICKS]
    return sum(any(shape.contains(_point(x, y)) for shape in shapes) for x, y in points)


def _point(x: float, y: float) -> Any:
    from qgis.core import QgsPointXY

    return QgsPointXY(x, y)


def test_a_result_is_saved_twice_into_the_same_table(tmp_path, raster) -> None:
    """QGIS below 3.24 asks in a box whether a style may be replaced, and never returns."""
    geopackage = tmp_path / "x.gpkg"
    gdal.VectorTranslate(str(geopackage), str(write_clicks(tmp_path / "p.geojson")), format="GPKG")
    table = f"ogr:dbname='{geopackage}' table=\"roofs\" (geom)"
    environment = {
        **os.environ,
        "QT_QPA_PLATFORM": "offscreen",
        "QGIS_PLUGINPATH": str(ROOT),
        "QGIS_CUSTOM_CONFIG_PATH": str(tmp_path / "profile"),
    }
    program = str(shutil.which("qgis_process.bin") or shutil.which("qgis_process"))
    subprocess.run([program, "plugins", "enable", "geoseg_qgis"], env=environment, check=True)
    command = [program, "run", "geoseg:openvocabulary", "--", f"INPUT={raster}", "METHOD=fast"]
    for _ in range(2):
        done = subprocess.run(
            [*command, f"CLASSES={CLASSES}", f"POLYGONS={table}"],
            env=environment, timeout=300, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(geopackage)) as database:
        styles = database.execute("SELECT f_table_name, useAsDefault FROM layer_styles").fetchall()
    assert styles == [("roofs", 1)]
    layer = QgsVectorLayer(f"{geopackage}|layername=roofs", "roofs", "ogr")
    assert layer.renderer().type() == "categorizedSymbol"


def test_clicks_without_a_crs_lie_in_that_of_the_raster(tmp_path, raster) -> None:
    clicks = write_clicks(tmp_path / "p.geojson")
    gdal.VectorTranslate(str(tmp_path / "noprj.shp"), str(clicks))
    (tmp_path / "noprj.prj").unlink()
    results, told = run(
        "prompts", INPUT=raster, PROMPTS=tmp_path / "noprj.shp", POLYGONS=tmp_path / "o.gpkg"
    )
    assert results["OBJECT_COUNT"] == 25
    assert "no CRS" in told


def test_clicks_lie_where_qgis_shows_them(tmp_path, raster) -> None:
    """The project's own operation is 1,000 km off; only QGIS knows it."""
    import processing
    from qgis.core import QgsCoordinateReferenceSystem

    clicks = str(write_clicks(tmp_path / "p.geojson"))
    here, there = (QgsCoordinateReferenceSystem(f"EPSG:{code}") for code in (5514, 32633))
    context = QgsProject.instance().transformContext()
    context.addCoordinateOperation(here, there, "+proj=affine +xoff=1000000 +yoff=5000000")
    QgsProject.instance().setTransformContext(context)
    moved = processing.run(
        "native:reprojectlayer",
        {"INPUT": clicks, "TARGET_CRS": here, "OUTPUT": str(tmp_path / "k.gpkg")},
    )["OUTPUT"]
    run("prompts", INPUT=raster, PROMPTS=moved, POLYGONS=tmp_path / "o.gpkg")
    assert holding(QgsVectorLayer(str(tmp_path / "o.gpkg"))) == 25


def test_what_rpc_alone_places_lies_where_qgis_shows_it(tmp_path) -> None:
    path = write_raster(tmp_path / "rpc.tif", crs="", placed=False)
    dataset = gdal.Open(str(path), gdal.GA_Update)

    def terms(*first: str) -> str:
        return " ".join([*first, *["0"] * (20 - len(first))])

    dataset.SetMetadata({
        "LINE_OFF": "150", "SAMP_OFF": "150", "LAT_OFF": "50.08", "LONG_OFF": "14.42",
        "HEIGHT_OFF": "250", "LINE_SCALE": "150", "SAMP_SCALE": "150", "LAT_SCALE": "0.0006",
        "LONG_SCALE": "0.0009", "HEIGHT_SCALE": "500",
        "LINE_NUM_COEFF": terms("0", "0", "-1"), "LINE_DEN_COEFF": terms("1"),
        "SAMP_NUM_COEFF": terms("0", "1"), "SAMP_DEN_COEFF": terms("1"),
    }, "RPC")  # fmt: skip
    del dataset
    _, told = classify(path, OUTPUT=tmp_path / "o.tif")
    shown, made = (QgsRasterLayer(str(file)) for file in (path, tmp_path / "o.tif"))
    assert shown.crs().authid() == made.crs().authid() == "EPSG:4326"
    assert made.extent().center().distance(shown.extent().center()) < 2e-5
    assert "elsewhere than QGIS" in told


def test_a_format_that_only_qgis_reads_is_copied(tmp_path, raster) -> None:
    page = tmp_path / "page.pdf"
    gdal.Translate(str(page), str(raster), format="PDF")
    _, told = classify(page, OUTPUT=tmp_path / "o.tif")
    assert "copies 'page' into a file first" in told
    assert QgsRasterLayer(str(tmp_path / "o.tif")).isValid()


@pytest.mark.parametrize(
    ("fields", "copied"),
    [({"type": "a", "TYPE": "b"}, {"type", "TYPE_1"}), ({"geom": "text"}, {"geom_1"})],
)
def test_awkward_names_of_fields(tmp_path, raster, fields, copied) -> None:
    clicks = write_clicks(tmp_path / "p.geojson", **fields)
    run("prompts", INPUT=raster, PROMPTS=clicks, POLYGONS=tmp_path / "o.gpkg")
    layer = QgsVectorLayer(str(tmp_path / "o.gpkg"))
    assert copied <= {field.name() for field in layer.fields()}
    assert layer.featureCount() == 25


@pytest.mark.parametrize("name", ["o.dxf", "o.gpx", "o.nonsense"])
def test_a_format_that_takes_no_polygons_is_refused_before_the_work(tmp_path, raster, name) -> None:
    with pytest.raises(QgsProcessingException, match="Polygons cannot be written to"):
        classify(raster, POLYGONS=tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_name_that_begins_like_a_provider_is_a_name(tmp_path, raster, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    classify(raster, POLYGONS="gpkg_roofs.gpkg")
    assert QgsVectorLayer(str(tmp_path / "gpkg_roofs.gpkg")).featureCount() > 0


def test_a_locked_geopackage_is_refused_before_the_work(tmp_path, raster) -> None:
    path = tmp_path / "x.gpkg"
    gdal.VectorTranslate(str(path), str(write_clicks(tmp_path / "p.geojson")), format="GPKG")
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(QgsProcessingException, match="locked"):
            classify(raster, POLYGONS=f"ogr:dbname='{path}' table=\"roofs\" (geom)")
        database.execute("ROLLBACK")


def test_other_layers_of_a_geopackage_are_kept(tmp_path, raster) -> None:
    path = tmp_path / "o.gpkg"
    clicks = str(write_clicks(tmp_path / "p.geojson"))
    gdal.VectorTranslate(str(path), clicks, format="GPKG", layerName="clicks")
    _, told = classify(raster, POLYGONS=path)
    assert QgsVectorLayer(f"{path}|layername=clicks").featureCount() == 25
    assert QgsVectorLayer(f"{path}|layername=o").featureCount() > 0
    assert "other layers (clicks), which are kept" in told


def test_yesterdays_outlines_stay_until_todays_are_whole(tmp_path, raster, monkeypatch) -> None:
    path = tmp_path / "o.gpkg"
    classify(raster, POLYGONS=path)
    before = QgsVectorLayer(str(path)).featureCount()
    from geoseg_qgis.processing import sinks

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sinks, "check_complete", full)
    with pytest.raises(QgsProcessingException, match=r"No space left.*kept in .*o_kept\.gpkg"):
        classify(raster, POLYGONS=path)
    assert QgsVectorLayer(str(path)).featureCount() == before
    assert QgsVectorLayer(str(tmp_path / "o_kept.gpkg")).featureCount() == before
    assert not list(tmp_path.glob(".geoseg*"))


@pytest.mark.parametrize("suffix", [".shp", ".geojson", ".fgb"])
def test_styles_of_raster_and_polygons_do_not_collide(tmp_path, raster, suffix) -> None:
    classify(raster, OUTPUT=tmp_path / "c.tif", POLYGONS=tmp_path / f"c{suffix}")
    layer = QgsRasterLayer(str(tmp_path / "c.tif"))
    assert [item.label for item in layer.renderer().classes()][:2] == ["building", "road"]
    assert QgsVectorLayer(str(tmp_path / f"c{suffix}")).isValid()


def test_the_style_of_the_imagery_is_kept(tmp_path, raster) -> None:
    photo = tmp_path / "photo.jpg"
    gdal.Translate(str(photo), str(raster), format="JPEG")
    layer = QgsRasterLayer(str(photo))
    layer.saveDefaultStyle()
    style = (tmp_path / "photo.qml").read_bytes()
    _, told = classify(photo, OUTPUT=tmp_path / "photo.tif")
    assert (tmp_path / "photo.qml").read_bytes() == style
    assert "photo.qml is a style of your own and is kept" in told


def test_triangles_prompt_like_polygons(tmp_path, raster) -> None:
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(32633)
    dataset = ogr.GetDriverByName("GPKG").CreateDataSource(str(tmp_path / "t.gpkg"))
    layer = dataset.CreateLayer("t", reference, ogr.wkbTriangle)
    feature = ogr.Feature(layer.GetLayerDefn())
    x, y = LEFT + 20, TOP - 20
    feature.SetGeometry(
        ogr.CreateGeometryFromWkt(f"TRIANGLE (({x} {y}, {x + 15} {y}, {x} {y - 15}, {x} {y}))")
    )
    layer.CreateFeature(feature)
    del feature, layer, dataset
    results, _ = run(
        "prompts", INPUT=raster, PROMPTS=tmp_path / "t.gpkg", POLYGONS=tmp_path / "o.gpkg"
    )
    assert results["OBJECT_COUNT"] == 1


def test_commas_where_semicolons_were_meant_are_questioned(tmp_path, raster) -> None:
    _, told = run(
        "openvocabulary", INPUT=raster, CLASSES="building, road, tree", METHOD="fast",
        OUTPUT=tmp_path / "o.tif",
    )  # fmt: skip
    assert "Separate classes with semicolons: building; road; tree." in told
