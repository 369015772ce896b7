"""Learning from a few labels on real images, with labels simulated from the ground truth.

Each image is cut into four upright strips. Labels are points in the first and the third, chosen at
random with a fixed seed; random pixels of the second and the fourth are scored. No built-in network
was trained on these images::

    python -m benchmarks.learning --data ../shared/data
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from sklearn.ensemble import RandomForestClassifier

from geoseg_qgis.engine.jobs.registry import run_job
from geoseg_qgis.engine.jobs.scene import prepare_scene
from geoseg_qgis.engine.methods.learning.cross_validation import cross_validate
from geoseg_qgis.engine.methods.learning.features import FeatureExtractor, FeatureRecipe
from geoseg_qgis.engine.methods.learning.heads import fit_head
from geoseg_qgis.engine.methods.learning.labels import Labels
from geoseg_qgis.engine.methods.learning.samples import sample_features
from geoseg_qgis.engine.models.model_cache import load_models
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.source import RasterSource
from geoseg_qgis.protocol.tasks.learn import LearnTask
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask

PLACES = (5, 20, 100)
SCORED_PIXELS = 4000
STRIPS = 4
Matrix = NDArray[np.int64]


@dataclass(frozen=True)
class ImageSet:
    """Images with labels.

    Attributes:
        title: Name in the table.
        folder: Folder of the data.
        images: File names.
        values: Values of the labels that are classes.
        classes: Class text of the same classes, for the open vocabulary.
        bands: Red, green and blue.
    """

    title: str
    folder: str
    images: tuple[str, ...]
    values: tuple[int, ...]
    classes: str
    bands: tuple[int, ...] = ()


SETS = (
    ImageSet(
        "Dubai, 5 classes",
        "dubai_landcover",
        ("t1_p009.jpg", "t1_p003.jpg"),
        (1, 2, 3, 4, 5),
        "building, roof, house; bare land, soil, sand; road, street; vegetation, tree, grass; "
        "water",
    ),
    ImageSet(
        "Korea, Sentinel-2, 5 classes",
        "s2_korea_10m",
        ("s2kr_202309_18.tif", "s2kr_202412_18.tif"),
        (10, 30, 50, 70, 100),
        "building; road; field, farmland; forest, tree; background",
        (3, 2, 1),
    ),
    ImageSet(
        "OpenAerialMap, buildings",
        "oam_buildings",
        ("kampala_05.tif", "nairobi_04.tif"),
        (255, 0),
        "building, roof, house; bare land, road, vegetation, background",
    ),
)


@dataclass(frozen=True)
class Pool:
    """Pixels of an image with their features; classes from 0, -1 for none.

    Attributes:
        labels: All pixels.
        features: (n, F).
        deep: How many of the first features come from networks.
        scored: Which pixels are scored; the others may be labelled.
        shape: Rows and columns of the grid of the pixels.
    """

    labels: Labels
    features: torch.Tensor
    deep: int
    scored: NDArray[np.bool_]
    shape: tuple[int, int]


def read_truth(data: Path, images: ImageSet, name: str) -> NDArray[np.int64]:
    """Return the class of each pixel from 0, -1 for none."""
    folder = data / images.folder / "labels"
    path = next(p for p in sorted(folder.glob(f"{Path(name).stem}.*")) if p.suffix in _RASTERS)
    with rasterio.open(path) as dataset:
        values = dataset.read(1)
    truth = np.full(values.shape, -1, np.int64)
    for number, value in enumerate(images.values):
        truth[values == value] = number
    return truth


_RASTERS = (".png", ".tif")


def make_pool(data: Path, images: ImageSet, name: str, most: int, seed: int) -> Pool:
    """Return the features of the pixels that may be labelled and of those that are scored."""
    path = data / images.folder / "images" / name
    source = RasterSource(str(path), name, bands=images.bands)
    job = Job(source, LearnTask(source), device="cpu")
    context = JobContext()
    models = load_models(replace(job, method="fast"), context)
    truth = read_truth(data, images, name)
    rng = np.random.default_rng(seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        prepare_scene(job, Path(folder), models.card.pixel_size, context) as scene,
    ):
        height, width = scene.base.shape
        rows = ((np.arange(height) + 0.5) * truth.shape[0] / height).astype(int)
        columns = ((np.arange(width) + 0.5) * truth.shape[1] / width).astype(int)
        classes = truth[rows[:, None], columns]
        strip = np.broadcast_to(np.arange(width) * STRIPS // width % 2 == 1, classes.shape)
        chosen = []
        for number in range(len(images.values)):
            pixels = np.argwhere((classes == number) & ~strip)
            chosen.append(pixels[rng.permutation(len(pixels))[:most]])
        pixels = np.argwhere((classes >= 0) & strip)
        chosen.append(pixels[rng.permutation(len(pixels))[:SCORED_PIXELS]])
        places = np.concatenate(chosen)
        scored = np.arange(len(places)) >= len(places) - len(chosen[-1])
        labels = Labels(
            places[:, 0], places[:, 1], classes[places[:, 0], places[:, 1]],
            np.arange(len(places)), tuple(map(str, images.values)),
        )  # fmt: skip
        extractor = FeatureExtractor(models, FeatureRecipe())
        kept, features = sample_features(scene, labels, extractor, seed, lambda _: None)
    return Pool(kept, features, extractor.deep_count, scored[kept.places], (height, width))


def choose_places(pool: Pool, count: int, seed: int) -> NDArray[np.int64]:
    """Return ``count`` labelled pixels of each class."""
    rng = np.random.default_rng(seed)
    members = [
        np.flatnonzero((pool.labels.classes == number) & ~pool.scored)
        for number in range(len(pool.labels.names))
    ]
    return np.concatenate([one[rng.permutation(len(one))[:count]] for one in members])


def predict(pool: Pool, count: int, seed: int) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield the classes that each method gives to the scored pixels."""
    chosen = choose_places(pool, count, seed)
    features, scored = pool.features[torch.from_numpy(chosen)], torch.from_numpy(pool.scored)
    classes = pool.labels.classes[chosen]
    present = np.unique(classes)
    numbers = np.searchsorted(present, classes)
    names = tuple(pool.labels.names[number] for number in present)
    labels = replace(pool.labels.take(chosen), classes=numbers, names=names)
    for title, first in (("learnt", 0), ("learnt, no networks", pool.deep)):
        deep = pool.deep - first
        used = features[:, first:]
        kind = cross_validate(labels, used, deep, seed, lambda _: None).kind
        head = fit_head(kind, used, numbers, len(present), deep, seed, lambda _: None)
        found = head.logits(pool.features[scored][:, first:]).argmax(dim=1).numpy()
        yield title, present[found]
    colours = slice(pool.deep, pool.deep + 3)
    forest = RandomForestClassifier(200, random_state=seed, n_jobs=1)
    forest.fit(features[:, colours], numbers)
    yield "forest on colours", present[forest.predict(pool.features[scored][:, colours])]


def open_vocabulary(data: Path, images: ImageSet, name: str, pool: Pool) -> NDArray[np.int64]:
    """Return the classes that the built-in open vocabulary gives to the scored pixels."""
    path = data / images.folder / "images" / name
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "classes.tif"
        task = OpenVocabularyTask(
            parse_classes(images.classes), rivals=False, class_raster=str(result)
        )
        source = RasterSource(str(path), name, bands=images.bands)
        run_job(Job(source, task, method="auto", device="cpu"), JobContext())
        with rasterio.open(result) as dataset:
            found = dataset.read(1).astype(np.int64) - 1
    scored = pool.labels.take(pool.scored)
    rows = ((scored.rows + 0.5) * found.shape[0] / pool.shape[0]).astype(int)
    columns = ((scored.columns + 0.5) * found.shape[1] / pool.shape[1]).astype(int)
    return np.asarray(found[rows, columns])


def _pairs(pool: Pool, found: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return a number for each pair of true and found class; what is unclassified is wrong."""
    truth = pool.labels.classes[pool.scored]
    found = np.where(found < 0, (truth + 1) % size, found)
    return np.asarray(truth * size + found)


def mean_iou(matrix: Matrix) -> float:
    """Return the mean IoU of the classes that occur in the truth (rows)."""
    hits = np.diag(matrix)
    united = matrix.sum(axis=0) + matrix.sum(axis=1) - hits
    occurs = matrix.sum(axis=1) > 0
    return float((hits[occurs] / united[occurs]).mean())


def say(line: str) -> None:
    """Write a line of the table at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=None, help="Images of each set.")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--places", type=int, nargs="+", default=PLACES)
    parser.add_argument("--sets", nargs="+", default=[item.folder for item in SETS])
    options = parser.parse_args()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    titles = "learnt | learnt, no networks | forest on colours | open vocabulary"
    say(f"| set | places a class | {titles} |")
    say("|---|---|---|---|---|---|")
    for images in SETS:
        if images.folder not in options.sets:
            continue
        pools = [
            make_pool(options.data, images, name, max(PLACES) * 2, 0)
            for name in images.images[: options.limit]
        ]
        size = len(images.values)
        words = np.zeros((size, size), np.int64)
        for name, pool in zip(images.images, pools, strict=False):
            found = open_vocabulary(options.data, images, name, pool)
            pairs = np.bincount(_pairs(pool, found, size), minlength=size * size)
            words += pairs.reshape(size, size)
        for count in options.places:
            sums: dict[str, Matrix] = {}
            for pool in pools:
                for seed in range(options.seeds):
                    for title, found in predict(pool, count, seed):
                        pairs = np.bincount(_pairs(pool, found, size), minlength=size * size)
                        sums.setdefault(title, np.zeros((size, size), np.int64))
                        sums[title] += pairs.reshape(size, size)
            matrices = (*sums.values(), words)
            scores = " | ".join(f"{mean_iou(matrix):.3f}" for matrix in matrices)
            say(f"| {images.title} | {count} | {scores} |")


if __name__ == "__main__":
    main()
