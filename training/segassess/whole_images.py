"""A network's judgement of masks of whole images, tile by tile, compared with the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from geoseg_qgis.engine.methods.assessment.object_quality import ObjectAccumulator, ObjectStatus
from geoseg_qgis.engine.methods.assessment.quality_classes import constrain
from geoseg_qgis.engine.metrics.quality import QualityCounts
from geoseg_qgis.engine.models.segassess import SegAssess
from training.datasets import LabelledImage
from training.evaluate import slide

from .foreign_maps import usual_zoom
from .mask_tiles import KINDS, truth_of_kind
from .targets import quality_target

SMALLEST_SHARE = 0.005
TILE, STEP = 256, 224


@dataclass(frozen=True)
class Case:
    """A kind of object on an image at its usual zoom.

    Attributes:
        name: Data set and file stem.
        kind: Name from `mask_tiles.KINDS`.
        pixels: (3, H, W), float 0..1.
        truth: Where the object is, (H, W), bool.
        valid: Where that is known, (H, W), bool.
    """

    name: str
    kind: str
    pixels: Tensor
    truth: NDArray[np.bool_]
    valid: NDArray[np.bool_]


@dataclass
class Judgement:
    """Sums over cases; objects as pairs of predicted and true IoU."""

    constrained: QualityCounts
    raw: QualityCounts
    predicted: list[float]
    actual: list[float]
    masks: int = 0

    @classmethod
    def empty(cls) -> Judgement:
        """Return sums over nothing."""
        return cls(QualityCounts(), QualityCounts(), [], [])

    def add(self, other: Judgement) -> None:
        """Add other sums."""
        self.constrained.matrix += other.constrained.matrix
        self.raw.matrix += other.raw.matrix
        self.predicted += other.predicted
        self.actual += other.actual
        self.masks += other.masks


def zoomed(image: LabelledImage) -> tuple[Tensor, Tensor]:
    """Return pixels (3, H, W), float 0..1, and labels (H, W) of an image at its usual zoom."""
    zoom = usual_zoom(image)
    pixels = functional.interpolate(
        image.pixels.float()[None] / 255, scale_factor=zoom, mode="bilinear", antialias=True
    )[0]
    size = list(pixels.shape[-2:])
    labels = functional.interpolate(image.labels[None, None].double(), size, mode="nearest-exact")
    return pixels, labels[0, 0].to(image.labels.dtype)


def cases(image: LabelledImage) -> list[Case]:
    """Return the kinds of which an image labels both object and background."""
    pixels, labels = zoomed(image)
    found = []
    for kind, bits in KINDS.items():
        is_object, known = truth_of_kind(labels, bits)
        share = float(is_object.float().mean())
        background = float((known & ~is_object).float().mean())
        if share >= SMALLEST_SHARE and background >= SMALLEST_SHARE:
            name = f"{image.dataset}/{image.name}"
            found.append(Case(name, kind, pixels, is_object.numpy(), known.numpy()))
    return found


def probabilities(model: SegAssess, pixels: Tensor, mask: NDArray[np.bool_]) -> Tensor:
    """Return the class probabilities (4, H, W) of a mask (H, W) on pixels (3, H, W)."""
    stacked = torch.cat([pixels, torch.from_numpy(mask)[None].float()])

    def network(windows: Tensor) -> Tensor:
        logits: Tensor = model(windows[:, :3], windows[:, 3:]).logits
        return logits.softmax(1)

    return slide(network, stacked, TILE, STEP)


def judge(model: SegAssess, case: Case, mask: NDArray[np.bool_]) -> tuple[Judgement, Tensor]:
    """Compare a network's judgement of a mask (H, W) with the truth.

    Returns:
        Counts and objects that can be judged, and the probabilities (4, H, W).
    """
    result = Judgement.empty()
    result.masks = 1
    found = probabilities(model, case.pixels, mask)
    truth = quality_target(torch.from_numpy(mask), torch.from_numpy(case.truth))
    certain = functional.one_hot(truth, 4).permute(2, 0, 1).double().numpy()
    judged = constrain(found.numpy(), mask)
    result.constrained.update(judged.argmax(0), truth.numpy(), case.valid)
    result.raw.update(found.numpy().argmax(0), truth.numpy(), case.valid)
    ids, count = ndimage.label(mask)
    iou = []
    for one in (judged, certain):
        accumulator = ObjectAccumulator(count)
        accumulator.update(one, ids.astype(np.int32), valid=case.valid)
        quality = accumulator.result()
        usable = quality.status == ObjectStatus.ASSESSED
        iou.append(quality.soft.iou[usable].tolist())
    result.predicted, result.actual = iou
    return result, found
