"""Takes the pictures of the documentation in a real QGIS window on a virtual display.

Run it with ``make screenshots`` or ``python -m scripts.screenshots [--image FILE]``. It needs Xvfb
and QGIS. QGIS runs this same file again, and there `Tour` opens the windows and saves the pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

# QGIS executes this file without setting __file__.
ROOT = Path(os.environ.get("GEOSEG_ROOT") or Path(__file__).resolve().parent.parent)
CLASSES = "building, roof, house; road; tree, forest; water"
SIZE = (1400, 900)
SEED = 7
CLOSE = 800
MOST_BOXES = 60
LIMIT = 600
SETTINGS = """[PythonPlugins]
geoseg_qgis=true

[qgis]
checkVersion=false
showTips=false

[locale]
overrideFlag=true
userLocale=en_US
"""


def main() -> int:
    """Start a display and QGIS, and return QGIS's exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, help="an orthophoto (default: a generated scene)")
    parser.add_argument("--classes", default=CLASSES)
    parser.add_argument("--method", default="gumix")
    parser.add_argument("--only-dock", action="store_true", help="take the pictures of the dock")
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "images")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="geoseg-") as scratch:
        image = arguments.image or _generated_scene(Path(scratch))
        layers = {} if arguments.image else _layers_of_scene(Path(scratch))
        profile = Path(scratch) / "profiles" / "default" / "QGIS" / "QGIS3.ini"
        profile.parent.mkdir(parents=True)
        profile.write_text(SETTINGS, encoding="utf-8")
        environment = {
            **os.environ,
            "GEOSEG_ROOT": str(ROOT),
            "GEOSEG_IMAGE": str(image.resolve()),
            "GEOSEG_CLASSES": arguments.classes,
            "GEOSEG_METHOD": arguments.method,
            "GEOSEG_FOLDER": str(folder),
            "GEOSEG_ONLY_DOCK": "1" if arguments.only_dock else "",
            **{f"GEOSEG_{name}": str(path) for name, path in layers.items()},
            "QGIS_PLUGINPATH": str(ROOT),
            "QT_QPA_PLATFORM": "xcb",
        }
        return _run_qgis(environment, Path(scratch))


def _generated_scene(folder: Path) -> Path:
    from training.scenes import write_scene  # noqa: PLC0415

    scene: Path = write_scene(folder / "orthophoto.tif", seed=SEED)
    return scene


def _layers_of_scene(folder: Path) -> dict[str, Path]:
    """Write boxes round buildings, and footprints that are partly wrong, as GeoJSON."""
    import numpy as np  # noqa: PLC0415
    import rasterio.features  # noqa: PLC0415
    from rasterio.transform import Affine  # noqa: PLC0415

    from training.scenes import generate_scene  # noqa: PLC0415

    scene = generate_scene(SEED, 1024, 0.3, "riverside")
    with rasterio.open(folder / "orthophoto.tif") as image:
        transform, code = image.transform, image.crs.to_epsg()
    buildings = [instance for instance in scene.objects if instance.class_name == "building"]
    buildings.sort(key=lambda instance: -instance.area)
    boxes, footprints = [], []
    for rank, building in enumerate(buildings):
        left, top, right, bottom = building.bounds
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        if rank < MOST_BOXES:
            boxes.append({"type": "Polygon", "coordinates": [[transform @ xy for xy in corners]]})
        if rank % 6 == 4:
            continue
        # Every sixth footprint is missing, every sixth one lies beside its building.
        moved = transform @ Affine.translation(26, 22) if rank % 6 == 2 else transform
        mask = scene.instances == building.instance
        shapes = rasterio.features.shapes(mask.astype(np.uint8), mask, transform=moved)
        footprints += [geometry for geometry, _ in shapes]
    return {
        "BOXES": _write_geojson(folder / "boxes.geojson", boxes, code),
        "FOOTPRINTS": _write_geojson(folder / "footprints.geojson", footprints, code),
    }


def _write_geojson(path: Path, geometries: list[dict[str, Any]], code: int) -> Path:
    crs = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{code}"}}
    features = [
        {"type": "Feature", "properties": {"number": number}, "geometry": geometry}
        for number, geometry in enumerate(geometries, 1)
    ]
    content = {"type": "FeatureCollection", "crs": crs, "features": features}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _run_qgis(environment: dict[str, str], scratch: Path) -> int:
    display = f":{90 + os.getpid() % 900}"
    screen = f"{SIZE[0]}x{SIZE[1]}x24"
    programs = {name: shutil.which(name) for name in ("Xvfb", "qgis.bin", "qgis")}
    qgis = programs["qgis.bin"] or programs["qgis"]
    if qgis is None or programs["Xvfb"] is None:
        raise SystemExit("QGIS or Xvfb was not found. Install them: apt install qgis xvfb.")
    server = subprocess.Popen(  # noqa: S603
        [programs["Xvfb"], display, "-screen", "0", screen, "-nolisten", "tcp"],
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(1.0)
        command = [qgis, "--nologo", "--noversioncheck", "--profiles-path", str(scratch)]
        command += ["--code", __file__]
        # QGIS finds its Python through PATH, where another one may come first.
        path = os.pathsep.join((str(Path(qgis).parent), environment["PATH"]))
        environment = {**environment, "DISPLAY": display, "PATH": path}
        done = subprocess.run(command, env=environment, check=False, timeout=LIMIT)  # noqa: S603
        return done.returncode
    finally:
        server.terminate()
        server.wait()


class Tour:
    """Opens the windows one after the other; a step yields while the event loop has to run.

    Args:
        iface: The running QGIS window.
    """

    def __init__(self, iface: Any) -> None:
        from qgis.PyQt.QtCore import QTimer  # noqa: PLC0415  only inside QGIS

        self.iface = iface
        self.folder = Path(os.environ["GEOSEG_FOLDER"])
        self.steps = self.walk()
        self.timer = QTimer()
        self.timer.timeout.connect(self.go_on)
        self.timer.start(500)
        self.wait: Callable[[], bool] = lambda: True
        self.status = 0

    def go_on(self) -> None:
        """Take the next step once its condition holds."""
        try:
            if self.wait():
                self.wait = next(self.steps)
        except StopIteration:
            self.leave()
        except Exception:  # noqa: BLE001  else the window hangs without a message
            sys.stderr.write(traceback.format_exc())
            self.status = 1
            self.leave()

    def leave(self) -> None:
        """Quit QGIS without asking about unsaved work."""
        self.timer.stop()
        sys.stderr.flush()
        os._exit(self.status)

    def walk(self) -> Iterator[Callable[[], bool]]:
        """Yield what to wait for between the steps."""
        from qgis.core import QgsProject, QgsRasterLayer  # noqa: PLC0415  only inside QGIS

        window = self.iface.mainWindow()
        window.resize(*SIZE)
        yield after(2.0)
        layer = QgsRasterLayer(os.environ["GEOSEG_IMAGE"], "orthophoto")
        QgsProject.instance().addMapLayer(layer)
        self.iface.setActiveLayer(layer)
        self.iface.zoomToActiveLayer()
        yield after(2.0)
        yield from self.picture_dock()
        if os.environ["GEOSEG_ONLY_DOCK"]:
            return
        yield from self.picture_options()
        yield from self.run(
            "openvocabulary",
            {
                "INPUT": layer.id(),
                "CLASSES": os.environ["GEOSEG_CLASSES"],
                "METHOD": os.environ["GEOSEG_METHOD"],
            },
            "result",
        )
        if "GEOSEG_BOXES" not in os.environ:
            return
        boxes, footprints = (
            self.add_polygons(os.environ[f"GEOSEG_{name}"], name.lower())
            for name in ("BOXES", "FOOTPRINTS")
        )
        self.iface.mapCanvas().zoomScale(CLOSE)
        yield from self.run("prompts", {"INPUT": layer.id(), "PROMPTS": boxes.id()}, "prompts")
        yield from self.run(
            "refer", {"INPUT": layer.id(), "INSTRUCTION": "all the buildings"}, "refer"
        )
        yield from self.run(
            "assess",
            # A report would open a viewer over half of the window.
            {"INPUT": layer.id(), "MASK_POLYGONS": footprints.id(), "REPORT": None},
            "assess",
        )

    def picture_dock(self) -> Iterator[Callable[[], bool]]:
        """Find, run and review with the dock, and take a picture of each page."""
        from qgis.PyQt.QtCore import Qt  # noqa: PLC0415  only inside QGIS
        from qgis.PyQt.QtTest import QTest  # noqa: PLC0415
        from qgis.PyQt.QtWidgets import QAction, QDockWidget  # noqa: PLC0415

        window = self.iface.mainWindow()
        window.findChild(QAction, "GeoSegFind").trigger()
        dock = window.findChild(QDockWidget, "GeoSegDock")
        dock.resize(400, dock.height())
        window.resizeDocks([dock], [400], Qt.Orientation.Horizontal)
        find, runner = dock.find, dock.jobs.runner
        yield lambda: bool(dock.state.models)
        self.iface.mapCanvas().zoomScale(CLOSE)
        yield after(2.0)
        QTest.keyClicks(find.text, os.environ["GEOSEG_CLASSES"])
        QTest.keyClick(find.text, Qt.Key.Key_Return)
        yield lambda: not find.preview.running
        for slider in find.rows.sliders[1:]:
            slider.setValue(25)
        yield after(1.0)
        self.save(window, "find")
        dock.area.setCurrentIndex(0)
        QTest.mouseClick(find.run_button, Qt.MouseButton.LeftButton)
        yield lambda: any(job.fraction > 0.3 or job.state.ended for job in runner.jobs)
        self.save(window, "jobs")
        yield lambda: len(runner.jobs) > 1 and not runner.jobs.running
        yield after(2.0)
        window.findChild(QAction, "GeoSegReview").trigger()
        polygons = [layer for layer in self.layers() if layer.type() == 0 and layer.featureCount()]
        dock.review.polygons.setLayer(polygons[-1])
        dock.review.assess()
        yield lambda: bool(runner.jobs.running)
        yield lambda: not runner.jobs.running
        yield after(1.0)
        window.activateWindow()
        self.iface.mapCanvas().setFocus()
        yield after(0.5)
        for key in (Qt.Key.Key_N, Qt.Key.Key_K, Qt.Key.Key_X, Qt.Key.Key_N):
            QTest.keyClick(self.iface.mapCanvas(), key)
            yield after(0.7)
        self.save(window, "review")
        yield after(2.0)

    @staticmethod
    def layers() -> list[Any]:
        """Return the layers of the project."""
        from qgis.core import QgsProject  # noqa: PLC0415  only inside QGIS

        return list(QgsProject.instance().mapLayers().values())

    def add_polygons(self, path: str, title: str) -> Any:
        """Add a hidden polygon layer and return it."""
        from qgis.core import QgsProject, QgsVectorLayer  # noqa: PLC0415  only inside QGIS

        layer = QgsVectorLayer(path, title, "ogr")
        QgsProject.instance().addMapLayer(layer, False)
        tree = QgsProject.instance().layerTreeRoot()
        tree.insertLayer(-1, layer).setItemVisibilityChecked(False)
        return layer

    def run(
        self, name: str, parameters: dict[str, Any], picture: str
    ) -> Iterator[Callable[[], bool]]:
        """Run an algorithm in its dialog and take a picture of the window with its results."""
        import processing  # noqa: PLC0415  only inside QGIS
        from qgis.core import QgsProject  # noqa: PLC0415

        for group in QgsProject.instance().layerTreeRoot().findGroups():
            group.setItemVisibilityChecked(False)
            group.setExpanded(False)
        dialog = processing.createAlgorithmDialog(f"geoseg:{name}", parameters)
        dialog.resize(1000, 760)
        dialog.show()
        yield after(1.5)
        if picture == "result":
            self.save(dialog, "dialog")
        ended: list[bool] = []
        dialog.algorithmFinished.connect(lambda fine, _results: ended.append(fine))
        dialog.runButton().click()
        yield lambda: bool(ended)
        yield after(1.0)
        if not ended[0]:
            self.save(dialog, "failure")
            raise RuntimeError(f"geoseg:{name} failed; see failure.png.")
        dialog.close()
        yield after(6.0)
        self.save(self.iface.mainWindow(), picture)

    def picture_options(self) -> Iterator[Callable[[], bool]]:
        """Take a picture of GeoSeg's options; the dialog is modal, so a timer closes it."""
        from qgis.PyQt.QtCore import QTimer  # noqa: PLC0415  only inside QGIS
        from qgis.PyQt.QtWidgets import QApplication  # noqa: PLC0415

        def picture_and_close() -> None:
            dialog = QApplication.activeModalWidget()
            self.save(dialog, "options")
            dialog.reject()

        QTimer.singleShot(2500, picture_and_close)
        self.timer.stop()
        self.iface.showOptionsDialog(None, "GeoSeg")
        self.timer.start(500)
        yield after(0.5)

    def save(self, widget: Any, name: str) -> None:
        """Write a picture of ``widget``."""
        from qgis.PyQt.QtCore import Qt  # noqa: PLC0415  only inside QGIS

        picture = widget.grab()
        smooth = Qt.TransformationMode.SmoothTransformation
        small = picture.scaledToWidth(min(picture.width(), 1000), smooth)
        small.save(str(self.folder / f"{name}.png"))


def after(seconds: float) -> Callable[[], bool]:
    """Return a condition that holds after ``seconds``."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


if "qgis.utils" in sys.modules:
    from qgis.utils import iface as window_interface

    # QGIS runs this file inside a function: only globals outlive it.
    globals()["tour"] = Tour(window_interface)
elif __name__ == "__main__":
    raise SystemExit(main())
