"""The networks that are trained here: which of a run's weights ship, under which name, and limits.

The card of a preset and the model pages of runs and presets take their facts from here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from geoseg_qgis.engine.models.unigeoseg.checkpoint import fuse_attention

from .segassess.built_in import METADATA

Checkpoint = Mapping[str, Any]
State = dict[str, Tensor]

FEW_IMAGES = (
    "Few labelled images: trees, cars and fields come from small sets, water from one city."
)
PIXEL_SIZES = "Pixels of 0.1 to 2 m. Coarser satellite images are outside of what it saw."
CONFUSED = "Bare ground, roofs of the same colour and unpaved roads are often confused."


@dataclass(frozen=True)
class Component:
    """One network that is trained here.

    Attributes:
        title: Its name for people, and of its section in model pages.
        file: File of its weights, relative to the preset's folder.
        layout: Key layout of the tensors, as a card names it.
        shipped: Takes from a checkpoint the averaged weights that ship.
        limits: What it cannot do, a sentence or two each.
        crops: Name of the members of a batch.
        metadata: Text stored in the file of weights.
        generated: Whether drawn scenes are part of its training data.
        training: Further sentences on how it was trained.
    """

    title: str
    file: str
    layout: str
    shipped: Callable[[Checkpoint], State]
    limits: tuple[str, ...]
    crops: str = "crops"
    metadata: Mapping[str, str] | None = None
    generated: bool = True
    training: tuple[str, ...] = ()


def _average(checkpoint: Checkpoint) -> State:
    return dict(checkpoint["average"])


def _below(prefix: str) -> Callable[[Checkpoint], State]:
    """Return a function that selects the weights of one module, named from there."""

    def chosen(checkpoint: Checkpoint) -> State:
        average: State = checkpoint["average"]
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in average.items()
            if name.startswith(prefix)
        }

    return chosen


def _without_surfaces(checkpoint: Checkpoint) -> State:
    average: State = checkpoint["average"]
    return {name: value for name, value in average.items() if not name.startswith("surfaces.")}


def _unigeoseg(checkpoint: Checkpoint) -> State:
    heads = json.loads(checkpoint["facts"]["config"])["num_attention_heads"]
    own = _below("model.")(checkpoint)
    # The table of positions inside a window is computed, not learnt.
    learnt = {name: own[name] for name in own if not name.endswith("relative_position_index")}
    return {name: tensor.contiguous() for name, tensor in fuse_attention(learnt, heads).items()}


CLIP = Component(
    "CLIP",
    "clip.safetensors",
    "open_clip",
    _average,
    (
        "It knows the words of `vocabulary.json`; any other word gets a meaningless score.",
        "Colours and sizes it knows of buildings alone; small and large are in pixels.",
        FEW_IMAGES,
        PIXEL_SIZES,
        CONFUSED,
        "Even, saturated blue is taken for a blue roof, be it water; large roofs of one colour may "
        "be missed.",
    ),
)

DINO = Component(
    "DINOv3",
    "dino.safetensors",
    "timm",
    _below("network."),
    (FEW_IMAGES, PIXEL_SIZES, CONFUSED),
)

SAM2 = Component(
    "SAM 2",
    "sam2.safetensors",
    "sam2",
    _without_surfaces,
    (
        "One click gives a rough outline; further clicks correct it.",
        FEW_IMAGES,
        PIXEL_SIZES,
    ),
)

SEGASSESS = Component(
    "SegAssess",
    "segassess.safetensors",
    "segassess",
    _below("assess."),
    (
        "It takes the kind of object from the mask, so a mask that shows a river as road can pass "
        "for a good mask of water.",
        "It was trained on buildings, roads, water, vegetation and bare land; other objects it "
        "judges by their appearance alone.",
        "It finds few of the missed objects, and hardly any missed road; pieces of roads it mostly "
        "calls wrong.",
        "Carefully drawn masks with moved or coarse outlines get too low an IoU, but in the right "
        "order.",
        "Objects narrower than 8 pixels are not judged.",
    ),
    "crops of 256 pixels",
    METADATA,
    training=(
        "Masks under test: the truth with made faults, groups of similar pixels, and maps of the "
        "image and text encoder on the training images.",
    ),
)

UNIGEOSEG = Component(
    "UniGeoSeg",
    "unigeoseg/model.safetensors",
    "unigeoseg",
    _unigeoseg,
    (
        "It knows the words of its own `vocabulary.json` and the wordings of its training; "
        "questions were scored in wordings that it had seen about other scenes.",
        "It is good at classes by name or use. Where one object of a kind is meant, the largest or "
        "the closest, it often takes another.",
        "More than 0.6 m in a pixel of its square is coarser than all training images.",
        "Points and boxes give a rough region; SAM 2 of this preset draws outlines from them.",
        "Objects of a few pixels are missed.",
        "Numbers of drawn scenes do not apply to photographs.",
    ),
    "images",
    {"format": "pt"},
    training=(
        "Drawn scenes come with sentences, questions, points and boxes; a quarter of them lie "
        "between black bars, and one image of five is a crop of the training images named above.",
    ),
)

UNET = Component(
    "U-Net",
    "unet.safetensors",
    "unet",
    _average,
    (
        "It names five fixed classes. It is a yardstick, and no part of a preset.",
        FEW_IMAGES,
    ),
    generated=False,
)
