"""Each bad value gives one sentence with the next step, before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest
from osgeo import gdal
from qgis.core import QgsApplication, QgsProcessingContext, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import QTranslator

from geoseg_qgis.processing.reclassify import class_names


def refusal(identifier: str, parameters: dict[str, Any]) -> str:
    """Return why the algorithm refuses ``parameters``; '' when it does not."""
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(identifier)
    fine, reason = algorithm.checkParameterValues(parameters, QgsProcessingContext())
    assert fine == (reason == "")
    return reason


@pytest.fixture
def good(provider, make_raster: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    """Values that work."""
    return {
        "INPUT": str(make_raster()),
        "CLASSES": "building; road",
        "OUTPUT": str(tmp_path / "classes.tif"),
    }


def test_good_values_are_taken(good) -> None:
    assert refusal("geoseg:openvocabulary", good) == ""


def test_scores_are_read_whatever_language_qgis_speaks(qgis_app, provider, make_raster) -> None:
    path = str(make_raster(bands=2, data_type=gdal.GDT_Float32))
    dataset = gdal.Open(path, gdal.GA_Update)
    for band, name in enumerate(("house 12", "road: paved"), start=1):
        dataset.GetRasterBand(band).SetDescription(name)
    del dataset
    layer = QgsRasterLayer(path, "scores")
    assert class_names(layer) == ("house 12", "road: paved")
    translator = QTranslator()
    if not translator.load("qgis_de", QgsApplication.i18nPath()):
        pytest.skip("QGIS has no German words here")
    qgis_app.installTranslator(translator)
    try:
        assert layer.bandName(1) == "Kanal 1: house 12"
        assert class_names(layer) == ("house 12", "road: paved")
    finally:
        qgis_app.removeTranslator(translator)


def test_two_results_need_two_files(good, tmp_path: Path) -> None:
    one = str(tmp_path / "one.tif")
    reason = refusal("geoseg:openvocabulary", {**good, "OUTPUT": one, "SCORES": one})
    assert reason.startswith("Scores: one.tif is already used as Class raster.")


def test_files_that_windows_holds_are_told_before_the_run(good, monkeypatch) -> None:
    path = Path(good["OUTPUT"])
    path.write_bytes(b"shown in QGIS")
    assert refusal("geoseg:openvocabulary", good) == ""

    def deny(_path: Path, _target: Path) -> None:
        raise PermissionError(13, "in use")

    monkeypatch.setattr(Path, "rename", deny)
    assert "is open in a program, or write-protected." in refusal("geoseg:openvocabulary", good)
    assert path.read_bytes() == b"shown in QGIS"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"CLASSES": " ; "}, "No classes were given"),
        ({"CLASSES": "road; ; river"}, "Class 2 has no name"),
        ({"CLASSES": "road; Road"}, "'Road' stands in class 1 and in class 2"),
        ({"CLASSES": "road =#12"}, "colour of class 1"),
        ({"RIGHT_ANGLES": "barn"}, "'barn', which is not a class here"),
        ({"BANDS": [1, 2]}, "2 bands were chosen"),
        ({"BANDS": [1, 2, 9]}, "no band 9"),
        ({"RESOLUTION": 0}, "Resolution must be greater than 0 and at most"),
        ({"EXTENT": "0,1,0,1 [EPSG:32632]"}, "The extent does not touch the layer"),
        ({"METHOD": "1"}, "Method cannot be '1'. Choose one of auto, gumix"),
        ({"THRESHOLD": 1.5}, "Threshold must lie between 0 and 1; it is 1.5."),
        (
            {"OUTPUT": None},
            "The run would write nothing. Choose at least one of these outputs: Class",
        ),
        (
            {"OUTPUT": "/nowhere/at/all/classes.tif"},
            "Class raster: the folder /nowhere/at/all cannot be",
        ),
        ({"POLYGONS": "/nowhere/polygons.gpkg"}, "Polygons: the folder /nowhere cannot be written"),
        ({"OUTPUT": "classes.png"}, "classes.png is not the name of a GeoTIFF"),
    ],
)
def test_bad_values_are_named(good, change: dict[str, Any], words: str) -> None:
    reason = refusal("geoseg:openvocabulary", {**good, **change})
    assert words in reason
    assert "Traceback" not in reason


def test_truncated_file_is_named(good, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tif"
    broken.write_bytes(Path(good["INPUT"]).read_bytes()[:100])
    assert refusal("geoseg:openvocabulary", {**good, "INPUT": str(broken)}) != ""


def test_regions_must_be_polygons(good, qgis_new_project) -> None:
    points = QgsVectorLayer("Point?crs=EPSG:32632", "wells", "memory")
    reason = refusal("geoseg:openvocabulary", {**good, "REGIONS": points})
    assert reason == (
        "The layer 'wells' holds no polygons. Choose a polygon layer or a raster of regions."
    )


def test_extent_in_another_crs_is_understood(good) -> None:
    # The image's upper left corner lies at 9 degrees east, 50.55193 degrees north.
    inside = "9.0,9.0001,50.5518,50.5519 [EPSG:4326]"
    outside = "19.0,19.0001,50.5518,50.5519 [EPSG:4326]"
    assert refusal("geoseg:openvocabulary", {**good, "EXTENT": inside}) == ""
    assert "does not touch" in refusal("geoseg:openvocabulary", {**good, "EXTENT": outside})


def test_scores_must_name_their_classes(good, tmp_path: Path) -> None:
    reason = refusal(
        "geoseg:reclassify", {"SCORES": good["INPUT"], "OUTPUT": str(tmp_path / "again.tif")}
    )
    assert "names no class for band 1" in reason


def test_thresholds_must_fit_the_classes(
    good, make_raster: Callable[..., Path], tmp_path: Path
) -> None:
    from osgeo import gdal

    path = make_raster("scores.tif", bands=2)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    for band, name in enumerate(("building", "road"), start=1):
        dataset.GetRasterBand(band).SetDescription(name)
    del dataset
    values = {"SCORES": str(path), "OUTPUT": str(tmp_path / "again.tif")}
    assert refusal("geoseg:reclassify", {**values, "THRESHOLDS": "building: 0.4; road: .6"}) == ""
    assert "'river', which is not a class" in refusal(
        "geoseg:reclassify", {**values, "THRESHOLDS": "river: 0.4"}
    )
    assert "is not a threshold" in refusal("geoseg:reclassify", {**values, "THRESHOLDS": "2"})


def test_missing_engine_is_said_in_one_sentence(provider, monkeypatch) -> None:
    monkeypatch.setenv("GEOSEG_PYTHON", "/nowhere/python")
    registry = QgsApplication.processingRegistry()
    ready, reason = registry.createAlgorithmById("geoseg:openvocabulary").canExecute()
    assert not ready
    assert "/nowhere/python" in reason
    assert registry.createAlgorithmById("geoseg:setup").canExecute() == (True, "")
