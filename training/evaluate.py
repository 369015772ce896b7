"""Class maps of validation images and their scores: sliding windows, argmax, summed histograms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from .datasets import LabelledImage
from .land_cover import BIT, partial_label

WindowNetwork = Callable[[torch.Tensor], torch.Tensor]
"""(B, 3, S, S) pixels in 0..1 to (B, Q, h, w) logits."""

LEGENDS: dict[str, tuple[tuple[tuple[str, ...], int], ...]] = {
    "dubai_landcover": (
        (("building", "roof", "house"), BIT["building"]),
        (("bare land", "soil", "sand"), BIT["land"]),
        (("road", "street"), partial_label("road", "car")),
        (("vegetation", "tree", "grass"), partial_label("tree", "grass", "field")),
        (("water",), BIT["water"]),
    ),
    "oam_buildings": (
        (("building", "roof", "house"), BIT["building"]),
        (("bare land", "road", "vegetation", "background"), ~BIT["building"]),
    ),
    "aerial_cars": (
        (("car", "vehicle"), BIT["car"]),
        (("road", "building", "vegetation", "background", "bare land"), ~BIT["car"]),
    ),
}
LEGENDS["spacenet_linz_buildings"] = LEGENDS["oam_buildings"]
"""Per set: classes as synonyms, and the surfaces of the labels that they stand for."""


@dataclass(frozen=True)
class Score:
    """Result on one set.

    Attributes:
        classes: First synonym of each class.
        iou: Intersection over union of each class, summed over images.
    """

    classes: tuple[str, ...]
    iou: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean IoU over the classes."""
        return sum(self.iou) / len(self.iou)


def slide(network: WindowNetwork, pixels: torch.Tensor, size: int, stride: int) -> torch.Tensor:
    """Return (Q, H, W) logits averaged over overlapping windows.

    Args:
        network: Logits of a batch of windows.
        pixels: (3, H, W) float32 in 0..1.
        size: Side of a window.
        stride: Step between windows.
    """
    height, width = pixels.shape[1:]
    padded = functional.pad(
        pixels[None], (0, max(0, size - width), 0, max(0, size - height)), mode="replicate"
    )[0]
    total = torch.zeros(0)
    count = torch.zeros(padded.shape[1:])
    places = [
        (top, left)
        for top in _starts(padded.shape[1], size, stride)
        for left in _starts(padded.shape[2], size, stride)
    ]
    for first in range(0, len(places), 8):
        group = places[first : first + 8]
        windows = torch.stack([padded[:, t : t + size, x : x + size] for t, x in group])
        with torch.inference_mode():
            logits = functional.interpolate(network(windows), size=(size, size), mode="bilinear")
        if total.numel() == 0:
            total = torch.zeros(logits.shape[1], *padded.shape[1:])
        for (top, left), part in zip(group, logits):
            total[:, top : top + size, left : left + size] += part
            count[top : top + size, left : left + size] += 1
    return (total / count)[:, :height, :width]


def _starts(length: int, size: int, stride: int) -> list[int]:
    if length <= size:
        return [0]
    return [*range(0, length - size, stride), length - size]


def confusion(prediction: torch.Tensor, labels: torch.Tensor, masks: Sequence[int]) -> torch.Tensor:
    """Return the (C, C) histogram of truth by prediction over pixels with one possible class.

    Args:
        prediction: (H, W) int64 class indices.
        labels: (H, W) int32 bit masks of possible surfaces.
        masks: Surfaces of each class.
    """
    possible = torch.stack([(labels & mask) != 0 for mask in masks])
    certain = possible.sum(0) == 1
    truth = possible.int().argmax(0)[certain]
    count = len(masks)
    return torch.bincount(truth * count + prediction[certain], minlength=count * count).view(
        count, count
    )


def score(histogram: torch.Tensor, names: Sequence[str]) -> Score:
    """Return IoU per class of a summed histogram."""
    hit = histogram.diag().double()
    union = histogram.sum(0) + histogram.sum(1) - histogram.diag()
    return Score(tuple(names), tuple((hit / union.clamp_min(1)).tolist()))


def evaluate(
    make_network: Callable[[list[list[str]]], WindowNetwork],
    images: Sequence[LabelledImage],
    zoom: dict[str, float],
    size: int = 224,
    stride: int = 168,
) -> dict[str, Score]:
    """Score a model on every set that has a legend.

    Args:
        make_network: Takes lists of synonyms and returns the network for these classes.
        images: Validation images.
        zoom: Output pixels per image pixel of each set; 1 where absent.
        size: Side of a window.
        stride: Step between windows.
    """
    results = {}
    for dataset in dict.fromkeys(image.dataset for image in images):
        if dataset not in LEGENDS:
            continue
        legend = LEGENDS[dataset]
        network = make_network([list(words) for words, _ in legend])
        histogram = torch.zeros(len(legend), len(legend), dtype=torch.int64)
        for image in images:
            if image.dataset == dataset:
                prediction = class_map(network, image, zoom.get(dataset, 1.0), size, stride)
                histogram += confusion(prediction, image.labels, [mask for _, mask in legend])
        results[dataset] = score(histogram, [words[0] for words, _ in legend])
    return results


def class_map(
    network: WindowNetwork, image: LabelledImage, zoom: float, size: int = 224, stride: int = 168
) -> torch.Tensor:
    """Return (H, W) class indices of an image, computed at another zoom."""
    pixels = image.pixels.float()[None] / 255
    if zoom != 1.0:
        pixels = functional.interpolate(
            pixels, scale_factor=zoom, mode="bilinear", antialias=True, align_corners=False
        )
    logits = slide(network, pixels[0], size, stride)
    full = functional.interpolate(
        logits[None], size=tuple(image.labels.shape), mode="bilinear", align_corners=False
    )
    return full[0].argmax(0)


def clip_network(
    model: Any, tokenizer: Any, head: str, mean: torch.Tensor, std: torch.Tensor
) -> Callable[[list[list[str]]], WindowNetwork]:
    """Return a maker of networks that compare one dense head of CLIP with class texts.

    Args:
        model: `open_clip.CLIP` in evaluation mode.
        tokenizer: Its tokenizer.
        head: "plain" or "fast".
        mean: (3, 1, 1) pixel mean.
        std: (3, 1, 1) pixel standard deviation.
    """
    import open_clip  # noqa: PLC0415 - slow import

    from .dense_clip import encode_tokens, fast_cosines, plain_embeddings, text_embeddings  # noqa: PLC0415

    side = model.visual.grid_size[0]
    none = torch.zeros(1, side * side, dtype=torch.int64)

    def make(classes: list[list[str]]) -> WindowNetwork:
        owner = torch.tensor([index for index, words in enumerate(classes) for _ in words])
        sentences = [
            [template(word) for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
            for words in classes
            for word in words
        ]
        with torch.inference_mode():
            texts = text_embeddings(model, tokenizer, sentences)

        def network(pixels: torch.Tensor) -> torch.Tensor:
            regions = none.expand(len(pixels), -1)
            encoded = encode_tokens(model.visual, (pixels - mean) / std, regions, 1)
            if head == "fast":
                cosine = fast_cosines(model.visual, encoded, texts)
            else:
                cosine = plain_embeddings(model.visual, encoded) @ texts.T
            per_class = torch.stack(
                [cosine[..., owner == index].amax(-1) for index in range(len(classes))], dim=1
            )
            return per_class.reshape(*per_class.shape[:2], side, side)

        return network

    return make
