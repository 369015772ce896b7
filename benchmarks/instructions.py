"""Instructions on unseen generated scenes and real crops: the built-in UniGeoSeg."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geoseg_qgis.engine.models.unigeoseg.checkpoint import load_checkpoint
from geoseg_qgis.engine.zoo.registry import Preset
from training.unigeoseg.evaluate import TITLES, RequestPredictor, score_unseen

AIMS = (0.5, 0.7)


def instruction_rows(preset: Preset, data: Path, scenes: Path, count: int) -> list[dict[str, Any]]:
    """Return a row for each kind of request: how many, gIoU, cIoU and precision.

    Args:
        preset: Holds the network.
        data: Folder of the labelled images.
        scenes: Where drawn scenes are kept.
        count: Generated scenes to ask about.
    """
    predictor = RequestPredictor(load_checkpoint(preset.folder / "unigeoseg"))
    scores = score_unseen(predictor, scenes, count, data)
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
