"""Auxiliary head on maps: what every cell of the fine and of a coarse map shows.

A linear layer on each map must name class, colour, kind and roof, and say where the centre of the
cell's object lies. Requests select by exactly these facts, so a network that has them in its
features only needs to learn which of them the words name; from the coarse map the queries read how
large objects are and where. The heads serve training alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg_qgis.engine.models.unigeoseg.position_encoding import fourier_features
from training.scenes.drawn_scene import SceneObject
from training.scenes.legend import CLASS_NAMES

from .queries import Mirror, Number
from .stored_scenes import StoredScene

IGNORED = 255
STRIDE = 4
"""Pixels of the network's input in a cell of its fine map."""
CENTRE_FREQUENCIES = 5
COLOURS = (
    "white", "black", "grey", "silver", "red", "blue", "brown", "orange", "green", "beige",
    "yellow",
)  # fmt: skip
KINDS = (
    "house", "shed", "apartment building", "villa", "terraced house", "hall", "warehouse", "barn",
    "silo", "car", "van", "truck", "bus", "conifer", "palm tree", "vegetable field",
    "ploughed field", "wheat field", "maize field", "vineyard", "rape field", "potato field",
    "meadow field", "stubble field", "tennis court", "basketball court", "football pitch",
)  # fmt: skip
ROOFS = ("flat", "gable", "hip")
_FACTS: Mapping[str, tuple[str, ...]] = {
    "class_name": CLASS_NAMES, "colour": COLOURS, "kind": KINDS, "roof": ROOFS,
}  # fmt: skip
_FACT_WEIGHTS = {"class_name": 1.0, "colour": 0.3, "kind": 0.3, "roof": 0.2}
_CENTRE_WEIGHT = 3.0
_FULL_SHARE = 1 / 64
"""Share of the image from which on an object's cells weigh 1."""
_MOST_WEIGHT = 4.0


class PixelTargets(NamedTuple):
    """Facts of B images at the cells of a map."""

    facts: dict[str, Tensor]
    """(B, h, w) int64 for each fact, ``IGNORED`` where it is not known."""
    allowed: Tensor
    """(B, classes, h, w) bool, the classes that a cell may have; none where nothing is known."""
    centres: Tensor
    """(B, h, w, 3) float32: x, y as fractions and the size of the object; NaN elsewhere."""


class PixelHead(nn.Module):
    """A linear layer from a map's features to the facts."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._sizes = [len(values) for values in _FACTS.values()]
        self._sizes += [4 * CENTRE_FREQUENCIES + 1]
        self.layer = nn.Conv2d(width, sum(self._sizes), 1)

    def forward(self, features: Tensor) -> list[Tensor]:
        """Map (B, C, h, w) to one float32 map a fact, and one of the centres."""
        return list(self.layer(features).float().split(self._sizes, dim=1))


def at_cells(values: NDArray[Number], count: int) -> NDArray[Number]:
    """Read a square array (S, S) at the centres of ``count`` x ``count`` cells, dtype kept.

    A centre between two pixels is read from the one before and the one behind it in turn, so that
    cells are not all shifted to one side.
    """
    centres = (np.arange(count) + 0.5) * (len(values) / count)
    pixels = np.where(np.arange(count) % 2, np.floor(centres), np.ceil(centres) - 1)
    places = pixels.astype(np.int64)
    read: NDArray[Number] = values[places[:, None], places]
    return read


def pixel_targets(
    scene: StoredScene, mirror: Mirror, cells: int, coloured: bool = True
) -> PixelTargets:
    """Return the facts of one generated scene at the centres of cells, B = 1.

    Args:
        scene: The scene.
        mirror: How it is shown.
        cells: Rows and columns of the map.
        coloured: Whether it shows the colours that were drawn; otherwise none are known.
    """
    classes = at_cells(mirror.turn(scene.classes), cells)
    instances = at_cells(mirror.turn(scene.instances), cells)
    facts = {"class_name": torch.from_numpy(classes)[None].long()}
    for name, values in _FACTS.items():
        if name != "class_name":
            facts[name] = torch.from_numpy(_table(scene.objects, name, values)[instances])[None]
    if not coloured:
        facts["colour"] = torch.full_like(facts["colour"], IGNORED)
    centres = torch.from_numpy(_centres(scene, mirror)[instances])[None]
    known = nn.functional.one_hot(facts["class_name"], len(CLASS_NAMES)).bool()
    return PixelTargets(facts, known.permute(0, 3, 1, 2), centres)


def partial_pixel_targets(allowed: Tensor) -> PixelTargets:
    """Return the facts of a labelled image from what its cells may be, (classes, h, w) bool."""
    _, height, width = allowed.shape
    unknown = torch.full((1, height, width), IGNORED, dtype=torch.long)
    facts = dict.fromkeys(_FACTS, unknown)
    return PixelTargets(facts, allowed[None], torch.full((1, height, width, 3), torch.nan))


def pixel_loss(read: Sequence[Tensor], targets: PixelTargets) -> Tensor:
    """Compare the head's maps with the facts: weighted means over cells where a fact is known."""
    classes = read[0]
    weights = _weights_of_cells(targets.centres)
    known = targets.allowed.any(dim=1) * weights
    possible = classes.masked_fill(~targets.allowed, -torch.inf).logsumexp(dim=1)
    surprise = classes.logsumexp(dim=1) - torch.where(known > 0, possible, classes[:, 0])
    loss = _FACT_WEIGHTS["class_name"] * (surprise * known).sum() / known.sum().clamp(min=1)
    for (name, weight), logits in zip(_FACT_WEIGHTS.items(), read[:-1], strict=True):
        if name == "class_name":
            continue
        facts = targets.facts[name]
        wrong = nn.functional.cross_entropy(logits, facts, ignore_index=IGNORED, reduction="none")
        amount = (weights * (facts != IGNORED)).sum().clamp(min=1)
        loss = loss + weight * (weights * wrong).sum() / amount
    return loss + _CENTRE_WEIGHT * _centre_loss(read[-1], targets.centres, weights)


def _weights_of_cells(centres: Tensor) -> Tensor:
    """Return larger weights for cells of small objects, (B, h, w), which are few."""
    shares = 10.0 ** (2.0 * centres[..., 2])
    return (_FULL_SHARE / shares).sqrt().clamp(1.0, _MOST_WEIGHT).nan_to_num(1.0)


def _centre_loss(read: Tensor, centres: Tensor, weights: Tensor) -> Tensor:
    inside = ~centres[..., 0].isnan()
    if not bool(inside.any()):
        return read.sum() * 0.0
    wanted = centres[inside]
    waves = [fourier_features(wanted[:, axis], CENTRE_FREQUENCIES) for axis in (0, 1)]
    found = read.permute(0, 2, 3, 1)[inside]
    wrong = (found - torch.cat([*waves, wanted[:, 2:]], dim=1)).square().mean(dim=1)
    return (wrong * weights[inside]).sum() / weights[inside].sum()


def _table(objects: Sequence[SceneObject], name: str, values: Sequence[str]) -> NDArray[np.int64]:
    numbers = {value: index for index, value in enumerate(values)}
    known = [numbers.get(getattr(item, name), IGNORED) for item in objects]
    return np.array([IGNORED, *known], np.int64)


def _centres(scene: StoredScene, mirror: Mirror) -> NDArray[np.float32]:
    """Centre as fractions and log10 of the share of the image, by instance; (N + 1, 3)."""
    height, width = scene.instances.shape
    table = np.full((len(scene.objects) + 1, 3), np.nan, np.float32)
    sizes = np.bincount(scene.instances.ravel(), minlength=len(table))
    for item in scene.objects:
        x, y = (item.centroid[0] + 0.5) / width, (item.centroid[1] + 0.5) / height
        table[item.instance] = (
            1 - x if mirror.across else x,
            1 - y if mirror.down else y,
            np.log10(max(sizes[item.instance], 1) / scene.instances.size) / 2,
        )
    return table
