"""Whole runs on the real QGIS with the real engine process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
from engine_runs import needs_engine, write_raster
from osgeo import gdal
from places import ROOT, SHARED
from qgis.core import (
    QgsApplication,
    QgsCategorizedSymbolRenderer,
    QgsFeature,
    QgsGeometry,
    QgsPointXY,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterRasterLayer,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QCoreApplication
from qgis_layers import make_virtual_layer, tile_extent, tile_size
from waiting import wait_until

from geoseg_qgis.engine_client import shared_client
from geoseg_qgis.processing.settings import Settings

pytestmark = needs_engine

CLASSES = "building =#d1495b; water =#3060c0; tree, forest =#2f7d32"
IDENTIFIER = "geoseg:openvocabulary"


@pytest.fixture
def make_scene(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a scene: red roofs and a blue lake on green."""

    def make(name: str = "scene.tif", size: int = 160, seed: int = 1) -> Path:
        generator = np.random.default_rng(seed)
        picture = np.empty((3, size, size), np.uint8)
        picture[:] = np.array([60, 110, 50])[:, None, None]
        picture[:, size // 2 :, size // 2 :] = np.array([40, 80, 150])[:, None, None]
        for _ in range(6):
            row, column = generator.integers(0, size // 2 - 24, 2)
            picture[:, row : row + 18, column : column + 22] = np.array([190, 90, 70])[
                :, None, None
            ]
        noise = generator.integers(-12, 12, picture.shape)
        picture = np.clip(picture.astype(int) + noise, 0, 255).astype(np.uint8)
        path = tmp_path / name
        write_raster(path, picture, 0.5)
        return path

    return make


@pytest.fixture
def values(make_scene: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    """A quick run with a class raster and polygons."""
    return {
        "INPUT": str(make_scene()),
        "CLASSES": CLASSES,
        "METHOD": "fast",
        "OUTPUT": str(tmp_path / "classes.tif"),
        "POLYGONS": str(tmp_path / "polygons.gpkg"),
    }


def run(identifier: str, parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Run an algorithm as scripts do."""
    import processing

    results: dict[str, Any] = processing.run(identifier, parameters, **more)
    return results


def turn_until(condition: Callable[[], bool], seconds: float) -> None:
    """Process Qt's events until ``condition`` holds."""
    assert wait_until(condition, seconds, QCoreApplication.processEvents)


class Background:
    """One run in the background, as the dock and the toolbox do it."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(IDENTIFIER)
        self.context = QgsProcessingContext()
        self.context.setProject(QgsProject.instance())
        self.feedback = QgsProcessingFeedback()
        self.outcome: list[tuple[bool, dict[str, Any]]] = []
        self.task = QgsProcessingAlgRunnerTask(algorithm, parameters, self.context, self.feedback)
        self.task.executed.connect(lambda fine, results: self.outcome.append((fine, results)))
        QgsApplication.taskManager().addTask(self.task)

    def wait(self, seconds: float = 120.0) -> bool:
        """Wait for the end and return whether it went well."""
        turn_until(lambda: bool(self.outcome), seconds)
        return self.outcome[0][0]


def test_script_run(provider, qgis_new_project, values) -> None:
    results = run(IDENTIFIER, values)
    assert set(results) == {
        "OUTPUT", "POLYGONS", "CLASSES_FOUND", "POLYGON_COUNT", "CLASSIFIED_AREA", "CLASS_AREAS",
    }  # fmt: skip
    source, classes = gdal.Open(values["INPUT"]), gdal.Open(results["OUTPUT"])
    assert classes.GetGeoTransform() == source.GetGeoTransform()
    assert (classes.RasterXSize, classes.RasterYSize) == (160, 160)
    assert QgsRasterLayer(results["OUTPUT"]).crs().authid() == "EPSG:32632"
    labels = classes.ReadAsArray()
    found = set(np.unique(labels)) - {0}
    assert found <= {1, 2, 3}
    assert results["CLASSES_FOUND"] == len(found)
    areas = json.loads(results["CLASS_AREAS"])
    assert list(areas) == ["building", "water", "tree"]
    for number, area in enumerate(areas.values(), start=1):
        assert area == pytest.approx((labels == number).sum() * 0.25, rel=1e-3)
    assert results["CLASSIFIED_AREA"] == pytest.approx(sum(areas.values()), rel=1e-6)
    polygons = QgsVectorLayer(results["POLYGONS"], "polygons", "ogr")
    assert polygons.featureCount() == results["POLYGON_COUNT"] > 0
    assert polygons.fields().names() == [
        "fid", "class", "class_id", "score", "area_m2", "perimeter_m", "method", "model",
    ]  # fmt: skip
    assert {feature["class"] for feature in polygons.getFeatures()} <= set(areas)
    assert {feature["method"] for feature in polygons.getFeatures()} == {"fast"}
    assert {feature["model"] for feature in polygons.getFeatures()} == {"offline-small"}


def assert_polygons_lie_on_pixels(results: dict[str, Any], count: int = 60) -> None:
    """Compare the class at random pixel centres with the polygon there."""
    dataset = gdal.Open(results["OUTPUT"])
    labels = dataset.ReadAsArray()
    transform = dataset.GetGeoTransform(can_return_null=True) or (0, 1, 0, 0, 0, -1)
    polygons = list(QgsVectorLayer(results["POLYGONS"], "polygons", "ogr").getFeatures())
    generator = np.random.default_rng(0)
    for _ in range(count):
        row, column = (int(generator.integers(0, size)) for size in labels.shape)
        x, y = gdal.ApplyGeoTransform(transform, column + 0.5, row + 0.5)
        point = QgsGeometry.fromPointXY(QgsPointXY(x, y))
        here = [feature["class_id"] for feature in polygons if feature.geometry().contains(point)]
        assert here == ([labels[row, column]] if labels[row, column] else [])


def test_polygons_cover_their_pixels(provider, qgis_new_project, values) -> None:
    assert_polygons_lie_on_pixels(run(IDENTIFIER, {**values, "SIMPLIFY": 0}))


def test_rivals_leave_the_rest_unclassified_and_can_be_switched_off(
    provider, qgis_new_project, values
) -> None:
    asked = {**values, "CLASSES": "building; road"}
    with_rivals = gdal.Open(run(IDENTIFIER, asked)["OUTPUT"]).ReadAsArray()
    without = gdal.Open(run(IDENTIFIER, {**asked, "RIVALS": False})["OUTPUT"]).ReadAsArray()
    assert (with_rivals == 0).mean() > 0.5
    assert without.min() == 1


def test_results_load_styled(provider, qgis_new_project, values) -> None:
    results = run(IDENTIFIER, values)
    raster = QgsRasterLayer(results["OUTPUT"], "classes")
    assert raster.renderer().type() == "paletted"
    assert [(entry.label, entry.color.name()) for entry in raster.renderer().classes()] == [
        ("building", "#d1495b"),
        ("water", "#3060c0"),
        ("tree", "#2f7d32"),
    ]
    polygons = QgsVectorLayer(f"{results['POLYGONS']}|layername=polygons", "polygons", "ogr")
    assert isinstance(polygons.renderer(), QgsCategorizedSymbolRenderer)
    assert [category.label() for category in polygons.renderer().categories()] == [
        "building",
        "water",
        "tree",
    ]
    polygons.loadDefaultMetadata()
    assert "fast" in polygons.metadata().abstract()


def test_scores_can_be_classified_again(provider, qgis_new_project, values, tmp_path) -> None:
    first = run(IDENTIFIER, {**values, "SCORES": str(tmp_path / "scores.tif")})
    scores = gdal.Open(first["SCORES"]).ReadAsArray()
    assert scores.shape[1:] == (160, 160)
    low = run(
        "geoseg:reclassify",
        {"SCORES": first["SCORES"], "THRESHOLDS": "0", "OUTPUT": str(tmp_path / "low.tif")},
    )
    again = gdal.Open(low["OUTPUT"]).ReadAsArray()
    assert (again == gdal.Open(first["OUTPUT"]).ReadAsArray()).mean() > 0.99
    high = run(
        "geoseg:reclassify",
        {
            "SCORES": first["SCORES"],
            "THRESHOLDS": "building: 1; water: 1; tree: 1",
            "OUTPUT": str(tmp_path / "high.tif"),
            "POLYGONS": str(tmp_path / "high.gpkg"),
        },
    )
    assert high["CLASSIFIED_AREA"] < low["CLASSIFIED_AREA"]


def test_extent_and_resolution(provider, qgis_new_project, values) -> None:
    results = run(
        IDENTIFIER,
        {**values, "EXTENT": "500010,500050,5599940,5599980 [EPSG:32632]", "RESOLUTION": 1.0},
    )
    dataset = gdal.Open(results["OUTPUT"])
    assert dataset.GetGeoTransform() == (500010.0, 1.0, 0.0, 5599980.0, 0.0, -1.0)
    assert (dataset.RasterXSize, dataset.RasterYSize) == (40, 40)


def test_regions_are_classified_as_wholes(provider, qgis_new_project, values) -> None:
    parcels = QgsVectorLayer("Polygon?crs=EPSG:32632", "parcels", "memory")
    for west in (500000, 500040):
        feature = QgsFeature()
        feature.setGeometry(
            QgsGeometry.fromWkt(
                f"POLYGON(({west} 5599920, {west + 40} 5599920, {west + 40} 5600000,"
                f" {west} 5600000, {west} 5599920))"
            )
        )
        parcels.dataProvider().addFeature(feature)
    results = run(IDENTIFIER, {**values, "METHOD": "mask_selection", "REGIONS": parcels})
    labels = gdal.Open(results["OUTPUT"]).ReadAsArray()
    assert len(np.unique(labels[:, :80])) == 1
    assert len(np.unique(labels[:, 80:])) == 1


def test_virtual_raster(provider, qgis_new_project, values) -> None:
    layer = make_virtual_layer(QgsRasterLayer(values["INPUT"], "image"))
    results = run(IDENTIFIER, {**values, "INPUT": layer})
    assert gdal.Open(results["OUTPUT"]).GetGeoTransform() == (500000, 0.5, 0, 5600000, 0, -0.5)


def test_web_map(provider, qgis_new_project, values, tile_server) -> None:
    tile_server.refuse = lambda _zoom, column, _row: column == 2101
    layer = QgsRasterLayer(tile_server.source(12), "tiles", "wms")
    extent = tile_extent(12, 2100, 1300, 2)
    text = f"{extent.xMinimum()},{extent.xMaximum()},{extent.yMinimum()},{extent.yMaximum()}"
    feedback = QgsProcessingFeedback()
    results = run(
        IDENTIFIER,
        {**values, "INPUT": layer, "EXTENT": f"{text} [EPSG:3857]"},
        feedback=feedback,
    )
    dataset = gdal.Open(results["OUTPUT"])
    assert (dataset.RasterXSize, dataset.RasterYSize) == (512, 512)
    assert dataset.GetGeoTransform()[1] == pytest.approx(tile_size(12) / 256)
    assert (dataset.ReadAsArray()[:, 260:] == 0).all()
    assert "sent nothing for 50.0% of 'tiles'" in feedback.textLog()


@pytest.mark.parametrize(
    "name",
    [
        "derived__feet_crs.tif",
        "derived__no_crs.tif",
        "derived__rotated30.tif",
        "rasterio__RGBA.uint16.tif",
        "rasterio__world.rgb.tif",
        "rio-color__rgb16.tif",
        "rio-tiler__pix4d_alpha_nodata.tif",
        "solaris__sar_hh.tif",
    ],
)
def test_odd_geotiffs_overlay(provider, qgis_new_project, values, odd_geotiffs, name) -> None:
    assert_overlay(values, odd_geotiffs / name)


@pytest.mark.parametrize(
    "name",
    [
        "oam_buildings/images/kampala_01.tif",
        "s2_korea_10m/images/s2kr_202309_00.tif",
        "qgis_swellendam/images/*.tif",
        "spacenet_linz_buildings/images/spacenet4_atlanta_pan16.tif",
        "mass_roads/images/*",
        "dubai_landcover/images/t1_p001.jpg",
    ],
)
def test_labelled_images_overlay(provider, qgis_new_project, values, name) -> None:
    found = sorted((SHARED / "data").glob(name))
    if not found:
        pytest.skip("the shared images are not on this machine")
    assert_overlay(values, found[0])


def assert_overlay(values: dict[str, Any], path: Path) -> None:
    """Run on a file and compare grid, CRS and pixels of the results with it."""
    results = run(IDENTIFIER, {**values, "INPUT": str(path), "SIMPLIFY": 0})
    source, classes = gdal.Open(str(path)), gdal.Open(results["OUTPUT"])
    assert classes.GetGeoTransform() == pytest.approx(source.GetGeoTransform(), rel=1e-12)
    assert (classes.RasterXSize, classes.RasterYSize) == (source.RasterXSize, source.RasterYSize)
    before, after = QgsRasterLayer(str(path)), QgsRasterLayer(results["OUTPUT"])
    assert after.crs() == before.crs()
    assert after.extent() == before.extent()
    polygons = QgsVectorLayer(results["POLYGONS"], "polygons", "ogr")
    assert polygons.crs() == before.crs() or not before.crs().isValid()
    # QGIS shows rotated rasters through a warped copy, up to a pixel smaller than the original.
    tolerance = 1.0 if source.GetGeoTransform()[2] else 1e-3
    room = before.extent().buffered(tolerance * before.rasterUnitsPerPixelX())
    assert room.contains(polygons.extent())
    assert_polygons_lie_on_pixels(results, 20)


def test_temporary_outputs_reach_the_project(provider, qgis_new_project, values) -> None:
    results = run(
        IDENTIFIER, {**values, "OUTPUT": "TEMPORARY_OUTPUT", "POLYGONS": "TEMPORARY_OUTPUT"}
    )
    assert Path(results["OUTPUT"]).is_file()
    assert results["POLYGONS"].featureCount() == results["POLYGON_COUNT"]


def test_nothing_intermediate_is_left(provider, qgis_new_project, values, tmp_path) -> None:
    from qgis.core import QgsProcessingUtils

    run(IDENTIFIER, values)
    assert list(Path(QgsProcessingUtils.tempFolder()).glob("geoseg-*")) == []
    kinds = {path.name for path in tmp_path.iterdir()}
    made = {"classes.tif", "classes.tif.aux.xml", "classes.qml"}
    made |= {"polygons.gpkg", "polygons.gpkg-wal", "polygons.gpkg-shm"}
    assert kinds <= {"scene.tif", "scene.tif.aux.xml"} | made


def test_batch_of_two(provider, qgis_new_project, qgis_iface, make_scene, tmp_path) -> None:
    from processing.gui.AlgorithmExecutor import execute

    algorithm = QgsApplication.processingRegistry().algorithmById(IDENTIFIER)
    shapes = []
    for number, size in enumerate((128, 96)):
        parameters = {
            "INPUT": str(make_scene(f"scene{number}.tif", size, number)),
            "CLASSES": CLASSES,
            "METHOD": "fast",
            "OUTPUT": str(tmp_path / f"classes{number}.tif"),
        }
        fine, results = execute(
            algorithm.create(), parameters, QgsProcessingContext(), QgsProcessingFeedback()
        )
        assert fine
        shapes.append(gdal.Open(results["OUTPUT"]).ReadAsArray().shape)
    assert shapes == [(128, 128), (96, 96)]


def test_model_designer(provider, qgis_new_project, values) -> None:
    model = QgsProcessingModelAlgorithm("Buildings", "tests")
    model.addModelParameter(
        QgsProcessingParameterRasterLayer("image"), QgsProcessingModelParameter("image")
    )
    source = QgsProcessingModelChildParameterSource
    segment = QgsProcessingModelChildAlgorithm(IDENTIFIER)
    segment.setChildId("segment")
    # The designer stores every value of its dialog, defaults too.
    for parameter in provider.algorithm("openvocabulary").parameterDefinitions():
        if not parameter.isDestination():
            default = source.fromStaticValue(parameter.defaultValue())
            segment.addParameterSources(parameter.name(), [default])
    for name, given in (
        ("INPUT", source.fromModelParameter("image")),
        ("CLASSES", source.fromStaticValue(CLASSES)),
        ("METHOD", source.fromStaticValue("fast")),
    ):
        segment.addParameterSources(name, [given])
    model.addChildAlgorithm(segment)
    centroids = QgsProcessingModelChildAlgorithm("native:centroids")
    centroids.setChildId("centroids")
    centroids.addParameterSources("INPUT", [source.fromChildOutput("segment", "POLYGONS")])
    centroids.addParameterSources("ALL_PARTS", [source.fromStaticValue(False)])
    output = QgsProcessingModelOutput("points")
    output.setChildId("centroids")
    output.setChildOutputName("OUTPUT")
    centroids.setModelOutputs({"points": output})
    roofs = QgsProcessingModelOutput("my roofs")
    roofs.setChildId("segment")
    roofs.setChildOutputName("POLYGONS")
    segment = model.childAlgorithm("segment")
    segment.setModelOutputs({"my roofs": roofs})
    model.setChildAlgorithm(segment)
    model.addChildAlgorithm(centroids)
    assert model.validate() == (True, [])
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    feedback = QgsProcessingFeedback()
    kept = QgsProcessingOutputLayerDefinition("memory:", QgsProject.instance())
    results, fine = model.run(
        {"image": values["INPUT"], "centroids:points": "memory:", "segment:my roofs": kept},
        context,
        feedback,
    )
    assert fine, feedback.textLog()
    # The name that the model gives, not that of the algorithm.
    details = context.layerToLoadOnCompletionDetails(results["segment:my roofs"])
    assert details.name == "my roofs"
    points = context.takeResultLayer(results["centroids:points"])
    assert isinstance(
        model.parameterDefinition("centroids:points"), QgsProcessingParameterFeatureSink
    )
    assert points.featureCount() > 0
    assert "perimeter_m" in points.fields().names()


def qgis_process(tmp_path: Path) -> tuple[str, dict[str, str]]:
    """Return the program and its environment, with a profile of its own."""
    program = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
    if program is None:
        pytest.skip("qgis_process is not installed")
    environment = {
        **os.environ,
        "PATH": os.pathsep.join((str(Path(program).parent), os.environ["PATH"])),
        "QT_QPA_PLATFORM": "offscreen",
        "QGIS_PLUGINPATH": str(ROOT),
        "QGIS_CUSTOM_CONFIG_PATH": str(tmp_path / "profile"),
    }
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        environment.pop(name, None)
    subprocess.run(
        [program, "plugins", "enable", "geoseg_qgis"],
        env=environment,
        check=True,
        capture_output=True,
    )
    return program, environment


def arguments(parameters: dict[str, Any]) -> list[str]:
    """Return parameters as qgis_process takes them."""
    return [f"{name}={value}" for name, value in parameters.items()]


def test_qgis_process(values, tmp_path) -> None:
    program, environment = qgis_process(tmp_path)
    done = subprocess.run(
        [program, "--json", "run", IDENTIFIER, "--", *arguments(values)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert results["OUTPUT"] == values["OUTPUT"]
    assert results["POLYGONS"] == values["POLYGONS"]
    assert results["POLYGON_COUNT"] > 0
    assert gdal.Open(results["OUTPUT"]).GetGeoTransform() == (500000, 0.5, 0, 5600000, 0, -0.5)


def test_qgis_process_says_what_is_wrong(values, tmp_path) -> None:
    program, environment = qgis_process(tmp_path)
    done = subprocess.run(
        [program, "run", IDENTIFIER, "--", *arguments({**values, "MODEL": "no-such-model"})],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "There is no model called 'no-such-model'." in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path(values["OUTPUT"]).exists()


def children(pid: int) -> list[int]:
    """Return the processes that ``pid`` started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(entry.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs the proc file system")
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM])
def test_no_engine_outlives_qgis(make_scene, tmp_path, blow) -> None:
    program, environment = qgis_process(tmp_path)
    parameters = {
        "INPUT": make_scene("large.tif", 1500),
        "CLASSES": CLASSES,
        "OUTPUT": tmp_path / "large_classes.tif",
    }
    process = subprocess.Popen(
        [program, "run", IDENTIFIER, "--", *arguments(parameters)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert wait_until(lambda: len(children(process.pid)) == 1)
    (engine,) = children(process.pid)
    time.sleep(2.0)
    process.send_signal(blow)
    process.wait(60)
    assert wait_until(lambda: not Path(f"/proc/{engine}").exists())
    assert not parameters["OUTPUT"].exists()


@pytest.fixture
def long_values(make_scene: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    """A run that takes long enough to be disturbed."""
    return {
        "INPUT": str(make_scene("large.tif", 1500)),
        "CLASSES": CLASSES,
        "METHOD": "gumix",
        "OUTPUT": str(tmp_path / "large_classes.tif"),
    }


def test_cancel_acts_and_leaves_the_engine_usable(
    provider, qgis_new_project, long_values, values
) -> None:
    background = Background(long_values)
    turn_until(lambda: background.feedback.progress() > 0, 90)
    background.task.cancel()
    assert not background.wait()
    assert background.feedback.progress() < 100
    assert "The run was cancelled." in background.feedback.textLog()
    assert not Path(long_values["OUTPUT"]).exists()
    assert run(IDENTIFIER, values)["POLYGON_COUNT"] > 0


def test_killed_engine_is_said_and_replaced(
    provider, qgis_new_project, long_values, values
) -> None:
    background = Background(long_values)
    turn_until(lambda: background.feedback.progress() > 0, 90)
    pid = shared_client(Settings.read().interpreter).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert not background.wait()
    assert "engine" in background.feedback.textLog()
    assert "Traceback" not in background.feedback.textLog()
    assert not Path(long_values["OUTPUT"]).exists()
    assert run(IDENTIFIER, values)["POLYGON_COUNT"] > 0
    assert shared_client(Settings.read().interpreter).pid != pid


def test_two_runs_at_once(provider, qgis_new_project, make_scene, tmp_path) -> None:
    runs = [
        Background(
            {
                "INPUT": str(make_scene(f"scene{number}.tif", 400, number)),
                "CLASSES": CLASSES,
                "METHOD": "fast",
                "OUTPUT": str(tmp_path / f"classes{number}.tif"),
            }
        )
        for number in range(2)
    ]
    assert [background.wait() for background in runs] == [True, True]
    for number in range(2):
        assert gdal.Open(str(tmp_path / f"classes{number}.tif")).RasterXSize == 400


def test_existing_files_survive_a_failure(provider, qgis_new_project, values) -> None:
    before = run(IDENTIFIER, values)
    raster = Path(before["OUTPUT"]).read_bytes()
    polygons = Path(before["POLYGONS"]).read_bytes()
    with pytest.raises(QgsProcessingException, match="no model called 'nothing'"):
        run(IDENTIFIER, {**values, "MODEL": "nothing"})
    assert Path(before["OUTPUT"]).read_bytes() == raster
    assert Path(before["POLYGONS"]).read_bytes() == polygons
