"""Instructions on unseen generated scenes and real crops: the built-in UniGeoSeg."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geoseg_qgis.engine.models.unigeoseg.checkpoint import load_checkpoint
from geoseg_qgis.engine.training.crops import CropSampler
from geoseg_qgis.engine.training.datasets import load_scenes
from geoseg_qgis.engine.training.unigeoseg.scenes import SIDE, VALIDATION_SEED, stored_scenes
from geoseg_qgis.engine.training.unigeoseg.scores import (
    TITLES,
    SceneReader,
    score_real,
    score_scenes,
)
from geoseg_qgis.engine.zoo.registry import Preset

REAL_CROPS = 120
SEED_OF_CROPS = 5
AIMS = (0.5, 0.7)


def instruction_rows(preset: Preset, data: Path, scenes: Path, count: int) -> list[dict[str, Any]]:
    """Return a row for each kind of request: how many, gIoU, cIoU and precision.

    Args:
        preset: Holds the network.
        data: Folder of the labelled images.
        scenes: Where drawn scenes are kept.
        count: Generated scenes to ask about.
    """
    reader = SceneReader(load_checkpoint(preset.folder / "unigeoseg"))
    unseen = range(VALIDATION_SEED, VALIDATION_SEED + count)
    scores = score_scenes(reader, stored_scenes(scenes, unseen))
    crops = CropSampler(load_scenes(data, "validation"), SIDE, SEED_OF_CROPS)
    scores |= score_real(reader, crops, REAL_CROPS)
    return [
        {
            "asked": TITLES[name],
            "requests": scores[name].samples,
            "gIoU": scores[name].giou,
            "cIoU": scores[name].ciou,
            **{f"Pr@{aim}": scores[name].precision[aim] for aim in AIMS},
        }
        for name in TITLES
        if name in scores
    ]
