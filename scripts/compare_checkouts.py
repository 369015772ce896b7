"""Runs the same jobs in two checkouts and reports which results differ.

Every method runs on real images through the command line of each checkout. Rasters are compared
pixel by pixel, polygons vertex by vertex and field by field.

    python -m scripts.compare_checkouts run --checkout DIR --out DIR --data ../shared/data
    python -m scripts.compare_checkouts compare DIR DIR
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyogrio
import rasterio

IMAGES = {
    "kampala": ("oam_buildings/images/kampala_05.tif", "building, roof, house; road; tree; grass"),
    "nairobi": ("oam_buildings/images/nairobi_01.tif", "building, roof, house; road; tree; land"),
    "dubai": (
        "dubai_landcover/images/t1_p001.jpg",
        "building, roof; road; vegetation, tree; water",
    ),
    "korea": ("s2_korea_10m/images/s2kr_202309_00.tif", "building; road; field; forest; water"),
    "neon": ("neon_tree_boxes/images/SJER_053.tif", "tree; grass; land"),
    "paris": ("spacenet_linz_buildings/images/spacenet2_paris.jpg", "building, roof; road; tree"),
}
CLASSES_OF_ONE = "building, roof, house"
INSTRUCTIONS = {"all": "all buildings", "where": "the trees in the left half"}


def main() -> int:
    """Run the jobs of one checkout, or compare what two checkouts wrote."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--checkout", type=Path, required=True)
    run.add_argument("--out", type=Path, required=True)
    run.add_argument("--data", type=Path, required=True)
    run.add_argument("--images", nargs="*", default=list(IMAGES))
    run.add_argument("--jobs", default="", help="only jobs whose names start with this")
    compare = commands.add_parser("compare")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    options = parser.parse_args()
    if options.command == "run":
        for name in options.images:
            out = options.out.resolve()
            run_image(name, options.checkout.resolve(), out, options.data, options.jobs)
        return 0
    return compare_folders(options.before, options.after)


def run_image(name: str, checkout: Path, out: Path, data: Path, chosen: str) -> None:
    """Run the jobs whose names start with ``chosen`` on one image; write into ``out/name``."""
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    file, classes = IMAGES[name]
    image = (data / file).resolve()
    prompts = write_prompts(image, folder / "prompts.geojson")
    jobs = {
        **{f"classes-{method}": ["openvocabulary", "--method", method, "--classes", classes]
           for method in ("gumix", "mask_selection", "fast")},
        "alone-mask_selection": ["openvocabulary", "--method", "mask_selection",
                                 "--classes", CLASSES_OF_ONE],
        **{f"prompts-{method}": ["prompts", "--method", method, "--prompts", str(prompts)]
           for method in ("sam2", "unigeoseg")},
        **{f"refer-{key}": ["refer", "--instruction", text] for key, text in INSTRUCTIONS.items()},
        "assess": ["assess", "--mask", str(folder / "classes-fast.tif"), "--classes", "1"],
    }  # fmt: skip
    for job, arguments in jobs.items():
        if not job.startswith(chosen):
            continue
        outputs = ["--output", str(folder / f"{job}.tif"), "--polygons", f"{folder / job}.gpkg"]
        if arguments[0] != "prompts":
            outputs += ["--scores", str(folder / f"{job}-scores.tif")]
        command = [sys.executable, "-m", "geoseg_qgis.engine", *arguments, "--input", str(image)]
        done = subprocess.run(  # noqa: S603
            [*command, *outputs], cwd=checkout, check=False, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(checkout)},
        )  # fmt: skip
        note = "" if done.returncode == 0 else f": {done.stderr.strip()[-300:]}"
        sys.stdout.write(f"{name} {job} {done.returncode}{note}\n")
        sys.stdout.flush()


def write_prompts(image: Path, path: Path) -> Path:
    """Write 25 points, evenly spread over the image, in its CRS."""
    with rasterio.open(image) as dataset:
        shares = np.linspace(0.1, 0.9, 5)
        places = [
            dataset.transform @ (float(dataset.width * x), float(dataset.height * y))
            for y in shares
            for x in shares
        ]
        code = dataset.crs.to_epsg() if dataset.crs else None
    named = f'"crs":{{"type":"name","properties":{{"name":"urn:ogc:def:crs:EPSG::{code}"}}}},'
    features = ",".join(
        f'{{"type":"Feature","properties":{{"nr":{number}}},"geometry":'
        f'{{"type":"Point","coordinates":[{x!r},{y!r}]}}}}'
        for number, (x, y) in enumerate(places)
    )
    crs = named if code else ""
    path.write_text(f'{{"type":"FeatureCollection",{crs}"features":[{features}]}}')
    return path


def compare_folders(before: Path, after: Path) -> int:
    """Print a line for each file that differs; return 1 if any does."""
    files = sorted(
        path.relative_to(before) for path in before.rglob("*") if path.suffix in (".tif", ".gpkg")
    )
    different = 0
    for file in files:
        problem = "missing" if not (after / file).exists() else ""
        compare = rasters_differ if file.suffix == ".tif" else polygons_differ
        problem = problem or compare(before / file, after / file)
        if problem:
            different += 1
            sys.stdout.write(f"{file}: {problem}\n")
    sys.stdout.write(f"{len(files)} files, {different} differ\n")
    return 1 if different else 0


def rasters_differ(before: Path, after: Path) -> str:
    """Return how two rasters differ, or an empty text."""
    with rasterio.open(before) as one, rasterio.open(after) as other:
        if (one.shape, one.count, one.transform) != (other.shape, other.count, other.transform):
            return "another grid"
        changed = float(np.mean(one.read() != other.read()))
    return f"{changed:.4%} of the values" if changed else ""


def polygons_differ(before: Path, after: Path) -> str:
    """Return how two polygon layers differ, or an empty text."""
    return "; ".join(layer_differences(before, after))


def layer_differences(before: Path, after: Path) -> Iterator[str]:
    """Yield the differences in counts, geometries and fields."""
    one, other = (pyogrio.raw.read(path, layer=0) for path in (before, after))
    if len(one[2]) != len(other[2]):
        yield f"{len(one[2])} and {len(other[2])} polygons"
        return
    moved = sum(bytes(a) != bytes(b) for a, b in zip(one[2], other[2], strict=True))
    if moved:
        yield f"{moved} of {len(one[2])} outlines"
    names = list(one[0]["fields"]), list(other[0]["fields"])
    if names[0] != names[1]:
        yield f"fields {names[0]} and {names[1]}"
        return
    for name, a, b in zip(names[0], one[3], other[3], strict=True):
        if not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            yield f"field {name}"


if __name__ == "__main__":
    raise SystemExit(main())
