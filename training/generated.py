"""Drawn scenes as labelled images, kept on disk once they are drawn."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from geoseg_qgis.engine.files import draft

from .datasets import GENERATED, LabelledImage
from .land_cover import UNKNOWN, partial_label
from .scenes import VERSION, generate_scene
from .scenes.legend import CLASS_NAMES

logger = logging.getLogger(__name__)

SIDE = 640
ZOOM = (0.5, 1.6)
_SURFACES: dict[str, tuple[str, ...]] = {
    "building": ("building",),
    "road": ("road",),
    "sidewalk": ("road", "other"),
    "driveway": ("road", "other"),
    "parking lot": ("road", "other"),
    "car": ("car",),
    "tree": ("tree",),
    "forest": ("tree",),
    "hedge": ("tree",),
    "field": ("field",),
    "grass": ("grass",),
    "bare soil": ("land",),
    "sand": ("land",),
    "lake": ("water",),
    "river": ("water",),
    "sea": ("water",),
    "swimming pool": ("water",),
    "sports field": ("grass", "other"),
    "path": ("land", "road", "other"),
    "wall": ("building", "other"),
    "yard": ("land", "road", "other"),
}


def class_surfaces() -> npt.NDArray[np.int32]:
    """Return the land covers, as bit masks, that each class of a drawn scene may have."""
    table = np.full(len(CLASS_NAMES), UNKNOWN, np.int32)
    for index, name in enumerate(CLASS_NAMES):
        if name in _SURFACES:
            table[index] = partial_label(*_SURFACES[name])
    return table


def generated_scenes(folder: Path, count: int, kind: str | None = None) -> list[LabelledImage]:
    """Return the first ``count`` drawn scenes, drawing those that ``folder`` does not have.

    Args:
        folder: Where drawn scenes are kept, one compressed file each.
        count: Number of scenes; seeds run from 0.
        kind: Kind of place; drawn for each scene when None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = class_surfaces()
    scenes = []
    for seed in range(count):
        name = "scene" if kind is None else kind.replace(" ", "-")
        path = folder / f"{name}-v{VERSION}-{seed:04d}.npz"
        if not path.exists():
            _draw(path, seed, kind)
            logger.info("Drew scene %d of %d", seed + 1, count)
        with np.load(path) as stored:
            pixels, classes = stored["image"], stored["classes"]
        labels = torch.from_numpy(table[classes])
        scenes.append(LabelledImage(GENERATED, path.stem, torch.from_numpy(pixels), labels, ZOOM))
    return scenes


def _draw(path: Path, seed: int, kind: str | None) -> None:
    pixel_size = float(np.exp(np.random.default_rng(seed).uniform(np.log(0.2), np.log(0.7))))
    scene = generate_scene(seed, SIDE, pixel_size, kind)
    image = np.ascontiguousarray(scene.image.transpose(2, 0, 1))
    with draft(path) as unfinished:
        np.savez_compressed(unfinished, image=image, classes=scene.classes)
