"""Class maps of other networks, one file an image: SegAssess learns to find their errors.

`python -m training.segassess.foreign_maps --data FOLDER` writes one file an
image below `runs/foreign`; each holds the maps of all sources, codes 1..5 in the order of
`CLASSES`, 0 none.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from geoseg_qgis.engine.files import draft
from training import train_clip
from training.datasets import LabelledImage, load_images
from training.evaluate import LEGENDS, WindowNetwork, class_map, clip_network
from training.trainer import CHECKPOINT_FILE, read_checkpoint

logger = logging.getLogger(__name__)

LEGEND = LEGENDS["dubai_landcover"]
CLASSES: Final = tuple(words[0] for words, _ in LEGEND)
Source = tuple[str, str, float]
"""Run of the image and text encoder, its dense head, and the zoom relative to the usual one."""
SOURCES: Final[tuple[Source, ...]] = (("clip", "fast", 1.0), ("clip", "plain", 0.6))


def source_of(text: str) -> Source:
    """Return the source that ``run:head:zoom`` names, for `argparse`."""
    run, head, zoom = text.split(":")
    return run, head, float(zoom)


def made_by(sources: Sequence[Source], runs: Path) -> list[str]:
    """Return names and digests of sources, which identify the maps that they make."""
    return [
        f"{run} {head} {zoom:g} {_digest(runs / run / CHECKPOINT_FILE)}"
        for run, head, zoom in sources
    ]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def usual_zoom(image: LabelledImage) -> float:
    """Return the middle of the range of zooms that suits an image."""
    return math.sqrt(image.zoom[0] * image.zoom[1])


def read_clip(run: Path, head: str) -> WindowNetwork:
    """Return the network of the five classes from a finished run of `train_clip`."""
    import open_clip  # noqa: PLC0415 - slow import

    state = read_checkpoint(run)
    model: Any = open_clip.CLIP(**state["facts"]["config"])
    model.load_state_dict(state["average"])
    model.eval()
    pieces = str(run / "bpe.txt.gz")
    tokenizer = open_clip.SimpleTokenizer(pieces, context_length=train_clip.CONTEXT_LENGTH)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (train_clip.MEAN, train_clip.STD))
    return clip_network(model, tokenizer, head, mean, std)([list(words) for words, _ in LEGEND])


def foreign_map(network: WindowNetwork, image: LabelledImage, zoom: float) -> Tensor:
    """Return the codes 1..5 of an image, (H, W), uint8."""
    return (class_map(network, image, zoom) + 1).to(torch.uint8)


def stored_maps(folder: Path, image: LabelledImage) -> Tensor | None:
    """Return the maps (K, H, W), uint8, of an image, or None where none were made."""
    path = folder / f"{image.dataset}-{image.name}.npz"
    if not path.is_file():
        return None
    with np.load(path) as stored:
        return torch.from_numpy(stored["maps"])


def stored_makers(path: Path) -> list[str]:
    """Return the sources of the maps of a file, none when there is no file."""
    if not path.is_file():
        return []
    with np.load(path) as stored:
        return [str(one) for one in stored["made_by"]] if "made_by" in stored else []


def main(arguments: list[str] | None = None) -> None:
    """Compute the maps of all training images that have none or those of other weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument(
        "--sources",
        nargs="+",
        type=source_of,
        default=list(SOURCES),
        help="run:head:zoom, as clip:fast:1 and clip:plain:0.6",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    folder = options.runs / "foreign"
    folder.mkdir(parents=True, exist_ok=True)
    networks = [(read_clip(options.runs / run, head), zoom) for run, head, zoom in options.sources]
    makers = made_by(options.sources, options.runs)
    for image in load_images(options.data, "train"):
        path = folder / f"{image.dataset}-{image.name}.npz"
        if stored_makers(path) == makers:
            continue
        zoom = usual_zoom(image)
        maps = [foreign_map(network, image, zoom * factor) for network, factor in networks]
        with draft(path) as unfinished:
            np.savez_compressed(unfinished, maps=torch.stack(maps).numpy(), made_by=makers)
        logger.info("%s %s", image.dataset, image.name)


if __name__ == "__main__":
    main()
