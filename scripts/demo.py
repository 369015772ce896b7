"""Runs the demo (``make demo``): maps one orthophoto with the real ``qgis_process``.

Writes a class raster, polygons and a preview, and prints where they are.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from geoseg_qgis.protocol.legend import parse_classes
from scripts.preview import write_preview
from training.scenes import write_scene

ROOT = Path(__file__).resolve().parent.parent
SCENE = 7
CLASSES = "building, roof, house; road; tree, forest; water"


def main() -> int:
    """Run the demo and return the exit status of ``qgis_process``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, help="an orthophoto (default: a generated scene)")
    parser.add_argument("--classes", default=CLASSES)
    parser.add_argument("--folder", type=Path, default=ROOT / "demo")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    image = arguments.image or write_scene(folder / "scene.tif", seed=SCENE)
    outputs = {"OUTPUT": folder / "classes.tif", "POLYGONS": folder / "polygons.gpkg"}
    # Enabling a plugin twice is an error in QGIS, so every run gets a new profile.
    with tempfile.TemporaryDirectory() as profile:
        status = run_algorithm(image, arguments.classes, outputs, Path(profile))
    if status == 0:
        preview = folder / "preview.png"
        write_preview(image, outputs["OUTPUT"], parse_classes(arguments.classes), preview)
        print_summary(image, outputs, preview)
    return status


def run_algorithm(image: Path, classes: str, outputs: dict[str, Path], profile: Path) -> int:
    """Run ``geoseg:openvocabulary`` and return its exit status."""
    program = find_qgis_process()
    environment = {
        **os.environ,
        "QT_QPA_PLATFORM": "offscreen",
        "QGIS_PLUGINPATH": str(ROOT),
        "QGIS_CUSTOM_CONFIG_PATH": str(profile),
        "GEOSEG_PYTHON": sys.executable,
    }
    subprocess.run(  # noqa: S603
        [program, "plugins", "enable", "geoseg_qgis"],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    command = [program, "run", "geoseg:openvocabulary", "--", f"INPUT={image}"]
    command += [f"CLASSES={classes}", *(f"{name}={path}" for name, path in outputs.items())]
    return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603


def find_qgis_process() -> str:
    """Return the program; the wrapper of QGIS 3.22 in Debian passes a flag that does not exist."""
    for name in ("qgis_process.bin", "qgis_process"):
        program = shutil.which(name)
        if program:
            return program
    raise SystemExit("qgis_process was not found. Install QGIS: apt install qgis python3-qgis.")


def print_summary(image: Path, outputs: dict[str, Path], preview: Path) -> None:
    """Print where the results are."""
    lines = [
        f"Image     {image}",
        f"Classes   {outputs['OUTPUT']}",
        f"Polygons  {outputs['POLYGONS']}",
        f"Preview   {preview}",
    ]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
