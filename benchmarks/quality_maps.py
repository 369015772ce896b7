"""Quality maps of masks of several sources on real images: the built-in SegAssess."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geoseg_qgis.engine.models.segassess import load_segassess
from geoseg_qgis.engine.zoo.registry import Preset
from training.datasets import load_images
from training.evaluate import evaluate
from training.segassess.evaluate import (
    SEED,
    TITLES,
    MaskMaker,
    from_network,
    from_truth,
    judge_source,
    read_unet,
    report,
    total,
)
from training.segassess.mask_tiles import KINDS
from training.train_unet import LEGEND, unet_network
from training.trainer import has_checkpoint

CLASSES = ("TP", "FP", "TN", "FN")
ZOOMS = (1.0, 1.5)


def quality_rows(preset: Preset, data: Path, unet: Path, limit: int | None) -> list[dict[str, Any]]:
    """Return a row for each source of masks and, for the U-Net, each kind of object.

    Args:
        preset: Holds the network.
        data: Folder of the labelled images.
        unet: A run of `train_unet`; without it its rows are left out.
        limit: Images of each set.
    """
    model = load_segassess(preset.folder / "segassess.safetensors").eval()
    images = load_images(data, "validation")
    if limit is not None:
        names = {image.dataset for image in images}
        images = [one for name in sorted(names) for one in _of(images, name)[:limit]]
    makers: dict[str, MaskMaker] = {"corrupted": from_truth(SEED)}
    if has_checkpoint(unet):
        makers = {"unet": from_network(unet_network(read_unet(unet))), **makers}
    rows = []
    for name, make in makers.items():
        groups = judge_source(model, images, make)
        rows.append(_row(TITLES[name], report(total(groups))))
        rows += [
            _row(f"&nbsp;&nbsp;{group}", report(one))
            for group, one in groups.items()
            if name == "unet" and group in KINDS
        ]
    return rows


def yardstick_score(data: Path, unet: Path) -> float | None:
    """Return the mean IoU of a run of `train_unet` at its better zoom, None without a run."""
    if not has_checkpoint(unet):
        return None
    network = unet_network(read_unet(unet))
    images = load_images(data, "validation", (LEGEND,))
    return max(evaluate(lambda _: network, images, {LEGEND: zoom})[LEGEND].mean for zoom in ZOOMS)


def _of(images: list[Any], dataset: str) -> list[Any]:
    return [image for image in images if image.dataset == dataset]


def _row(title: str, numbers: dict[str, Any]) -> dict[str, Any]:
    judged, objects = numbers["constrained"], numbers["objects"]
    return {
        "masks of": title,
        "masks": numbers["masks"],
        "F1": judged["mean_f1"],
        **{name: judged.get(f"{name}_f1") for name in CLASSES},
        "F1 of trusting the mask": numbers["mean_f1_of_trusting_the_mask"],
        "parts": objects["count"],
        "IoU correlation": objects["iou_correlation"],
        "IoU error": objects["iou_error"],
    }
