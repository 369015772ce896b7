"""Clicks on real objects: the built-in SAM 2 before and after training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from geoseg_qgis.engine.methods.prompted.sam2_predictor import Sam2Predictor, sam2_predictor
from geoseg_qgis.engine.models.device import choose_device
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.models.sam2 import Sam2Model
from geoseg_qgis.engine.zoo.registry import Preset
from training import train_sam2
from training.clicks import click_scores, examples
from training.datasets import load_images
from training.land_cover import BIT

OBJECTS = {
    "building (OpenAerialMap)": ("oam_buildings", "building"),
    "building (Dubai)": ("dubai_landcover", "building"),
    "tree crown (NEON)": ("neon_tree_boxes", "tree"),
    "field (Korea, 10 m)": ("s2_korea_10m", "field"),
}
WINDOW = train_sam2.ARCHITECTURE.image_size
CLICKS = 5
OF_EACH_IMAGE = 10
AIMS = (0.8, 0.85, 0.9)


def click_rows(preset: Preset, data: Path, limit: int | None) -> list[dict[str, Any]]:
    """Return a row for each kind of object: IoU after one and five clicks, and clicks needed."""
    trained = sam2_predictor(LoadedPreset(preset, choose_device("cpu")))
    untrained = Sam2Predictor(untrained_model(), multimask=False)
    rows = []
    for title, (dataset, surface) in OBJECTS.items():
        images = load_images(data, "validation", (dataset,))[:limit]
        chosen = list(examples(images, BIT[surface], WINDOW, OF_EACH_IMAGE))
        if not chosen:
            continue
        row: dict[str, Any] = {"objects": title, "number": len(chosen)}
        for name, predictor in (("trained", trained), ("untrained", untrained)):
            scores = np.array([click_scores(predictor, example, CLICKS) for example in chosen])
            row[f"{name}, 1 click"] = float(scores[:, 0].mean())
            row[f"{name}, 5 clicks"] = float(scores[:, -1].mean())
            if name == "trained":
                row.update({f"NoC@{100 * aim:.0f}": clicks_needed(scores, aim) for aim in AIMS})
        rows.append(row)
    return rows


def clicks_needed(scores: np.ndarray, aim: float) -> float:
    """Return the mean number of clicks to reach an IoU; `CLICKS` counts where it is not reached."""
    reached = scores >= aim
    return float(np.where(reached.any(1), reached.argmax(1) + 1, CLICKS).mean())


def untrained_model() -> Sam2Model:
    """Return the network with the random weights that training starts from."""
    torch.manual_seed(0)
    mean, std = (
        torch.tensor(values)[:, None, None] for values in (train_sam2.MEAN, train_sam2.STD)
    )
    network = train_sam2.build().eval()
    device = torch.device("cpu")
    return Sam2Model(network, train_sam2.ARCHITECTURE, mean, std, device, torch.float32)
