"""Class maps of other networks, computed once an image: their errors are those to be found.

`python -m geoseg_qgis.engine.training.segassess.foreign_maps --data FOLDER` writes one file an
image below `runs/foreign`; each holds the maps of all sources, codes 1..5 in the order of
`CLASSES`, 0 none.
"""

from __future__ import annotations

import argparse
import logging
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from geoseg_qgis.engine.training import train_clip
from geoseg_qgis.engine.training.datasets import Scene, load_scenes
from geoseg_qgis.engine.training.evaluate import LEGENDS, WindowNetwork, class_map, clip_network

logger = logging.getLogger(__name__)

LEGEND = LEGENDS["dubai_landcover"]
CLASSES: Final = tuple(words[0] for words, _ in LEGEND)
Source = tuple[str, str, float]
"""Run of the image and text encoder, its dense head, and the zoom relative to the usual one."""
SHIPPED: Final[tuple[Source, ...]] = (
    ("clip-b", "fast", 1.0),
    ("clip-b-real", "plain", 0.6),
    ("clip-a", "fast", 0.8),
)
SINGLE: Final[tuple[Source, ...]] = (("clip", "fast", 1.0), ("clip", "plain", 0.6))


def available_sources(runs: Path) -> tuple[Source, ...]:
    """Return the sources of the shipped network as far as their runs are there, else of one run."""
    shipped = tuple(source for source in SHIPPED if (runs / source[0]).is_dir())
    return shipped or SINGLE


def usual_zoom(scene: Scene) -> float:
    """Return the middle of the range of zooms that suits a scene."""
    return math.sqrt(scene.zoom[0] * scene.zoom[1])


def read_clip(run: Path, head: str) -> WindowNetwork:
    """Return the network of the five classes from a finished run of `train_clip`."""
    import open_clip  # noqa: PLC0415 - slow import

    state = torch.load(run / "checkpoint.pt", weights_only=True)
    model: Any = open_clip.CLIP(**state["facts"]["config"])
    model.load_state_dict(state["average"])
    model.eval()
    pieces = str(run / "bpe.txt.gz")
    tokenizer = open_clip.SimpleTokenizer(pieces, context_length=train_clip.CONTEXT_LENGTH)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (train_clip.MEAN, train_clip.STD))
    network = clip_network(model, tokenizer, head, mean, std)([list(words) for words, _ in LEGEND])

    def half(pixels: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return network(pixels).float()

    return half


def foreign_map(network: WindowNetwork, scene: Scene, zoom: float) -> Tensor:
    """Return the codes 1..5 of a scene, (H, W), uint8."""
    return (class_map(network, scene, zoom) + 1).to(torch.uint8)


def stored_maps(folder: Path, scene: Scene) -> Tensor | None:
    """Return the maps (K, H, W), uint8, of a scene, or None where none were made."""
    path = folder / f"{scene.dataset}-{scene.name}.npz"
    if not path.is_file():
        return None
    with np.load(path) as stored:
        return torch.from_numpy(stored["maps"])


def main(arguments: list[str] | None = None) -> None:
    """Compute the maps of all training images that lack them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    folder = options.runs / "foreign"
    folder.mkdir(parents=True, exist_ok=True)
    networks = [
        (read_clip(options.runs / run, head), zoom)
        for run, head, zoom in available_sources(options.runs)
    ]
    for scene in load_scenes(options.data, "train"):
        path = folder / f"{scene.dataset}-{scene.name}.npz"
        if path.is_file():
            continue
        zoom = usual_zoom(scene)
        maps = [foreign_map(network, scene, zoom * factor) for network, factor in networks]
        draft = path.with_suffix(".part.npz")
        np.savez_compressed(draft, maps=torch.stack(maps).numpy())
        draft.replace(path)
        logger.info("%s %s", scene.dataset, scene.name)


if __name__ == "__main__":
    main()
