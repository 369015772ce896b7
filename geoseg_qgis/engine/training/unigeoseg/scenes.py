"""Generated aerial scenes with everything that can be asked of them.

A scene is drawn from its number alone, so a data set of any length needs no files and is the same
everywhere.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg_qgis.engine.models.unigeoseg.coordinates import describe_box, describe_points
from geoseg_qgis.engine.models.unigeoseg.tasks import Task

from .samples import Sample

Region = NDArray[np.bool_]
Generator = np.random.Generator

GROUNDS = {"grass": (96, 122, 70), "sand": (196, 176, 138), "soil": (140, 108, 82)}
ROOFS = {
    "red": (178, 74, 58),
    "blue": (70, 98, 168),
    "white": (232, 230, 224),
    "grey": (128, 128, 132),
}
KINDS = ("road", "lake", "building", "tree", "pool")
PLURALS = {
    "road": "roads",
    "lake": "lakes",
    "building": "buildings",
    "tree": "trees",
    "pool": "swimming pools",
}
QUESTIONS = {
    "road": ("Where would cars drive?", "Which area is used for traffic?"),
    "lake": ("Where could a boat float?", "Which area could supply water in a drought?"),
    "building": ("Where do people live?", "Which areas would need to be evacuated at night?"),
    "tree": ("What gives shade in summer?", "What would burn first in a dry forest fire?"),
    "pool": ("Where could children swim in a garden?",),
}
ANSWERS = {
    "road": "It is the road, because vehicles move on it.",
    "lake": "It is the lake, because it is open water.",
    "building": "These are the buildings, because people stay in them.",
    "tree": "These are the trees, because they have leaves and wood.",
    "pool": "It is the swimming pool, because it is made for swimming.",
}
_TASKS = (Task.REFERRING, Task.INTERACTIVE, Task.REASONING)
_SMALLEST = 12
_ABSENT_SHARE = 0.05
_CLOUD_CELLS = 9


class Thing(NamedTuple):
    """One object of a scene."""

    kind: str
    colour: str
    region: Region
    """(S, S), the pixels of it that nothing covers."""


@dataclasses.dataclass(frozen=True)
class GeneratedScene:
    """One sample: scene ``number`` of ``seed``, drawn when it is read."""

    number: int
    seed: int
    side: int = 128

    @property
    def task(self) -> Task:
        """Tasks take turns."""
        return _TASKS[self.number % len(_TASKS)]

    def read(self) -> Sample:
        """Draw the scene and ask something of it."""
        generator = np.random.default_rng((self.seed, self.number))
        image, things = draw_scene(generator, self.side)
        asked = {
            Task.REFERRING: _refer,
            Task.INTERACTIVE: _point_at,
            Task.REASONING: _reason,
        }[self.task](generator, things, self.side)
        return Sample(image, asked.region.astype(np.uint8), asked.text, asked.answer, self.task)


class _Asked(NamedTuple):
    text: str
    answer: str
    region: Region


def generated_scenes(count: int, seed: int = 0, side: int = 128) -> list[GeneratedScene]:
    """Return scenes 0 to ``count`` of a seed."""
    return [GeneratedScene(number, seed, side) for number in range(count)]


def draw_scene(generator: Generator, side: int) -> tuple[NDArray[np.uint8], list[Thing]]:
    """Draw an image (S, S, 3) uint8 and return what is on it, at least one building."""
    ground = GROUNDS[str(generator.choice(list(GROUNDS)))]
    image = np.broadcast_to(np.array(ground, float), (side, side, 3)).copy()
    image += _clouds(generator, side, 14.0)[..., None]
    owner = np.zeros((side, side), dtype=int)
    drawn: list[tuple[str, str]] = []
    for kind in KINDS:
        for _ in range(_how_many(generator, kind)):
            region, colour, tint = _shape(generator, kind, side)
            if kind in ("building", "pool"):
                _cast_shadow(image, region, max(side // 64, 1))
            image[region] = np.array(tint, float)
            image[region] += (
                generator.normal(0.0, 6.0) + _clouds(generator, side, 7.0)[region][:, None]
            )
            drawn.append((kind, colour))
            owner[region] = len(drawn)
    image += generator.normal(0.0, 4.0, image.shape)
    image *= generator.uniform(0.8, 1.15)
    things = [
        Thing(kind, colour, owner == index) for index, (kind, colour) in enumerate(drawn, start=1)
    ]
    visible = [thing for thing in things if thing.region.sum() >= _SMALLEST]
    return image.clip(0, 255).astype(np.uint8), visible


def _how_many(generator: Generator, kind: str) -> int:
    if kind == "building":
        return int(generator.integers(2, 7))
    if kind == "tree":
        return int(generator.integers(0, 12))
    return int(generator.random() < 0.5)


def _shape(generator: Generator, kind: str, side: int) -> tuple[Region, str, tuple[int, int, int]]:
    centre = generator.uniform(0.1 * side, 0.9 * side, 2)
    angle = generator.uniform(0.0, np.pi)
    if kind == "building":
        colour = str(generator.choice(list(ROOFS)))
        half = generator.uniform(0.05, 0.13, 2) * side
        return _rectangle(side, centre, half, angle), colour, ROOFS[colour]
    if kind == "road":
        half = np.array([2.0, generator.uniform(0.025, 0.05)]) * side
        return _rectangle(side, centre, half, angle), "grey", (104, 102, 104)
    if kind == "lake":
        half = generator.uniform(0.1, 0.25, 2) * side
        wobble = 1.0 + _clouds(generator, side, 0.25)
        return _ellipse(side, centre, half, angle) < wobble, "dark", (48, 74, 92)
    if kind == "pool":
        half = generator.uniform(0.025, 0.05, 2) * side
        return _rectangle(side, centre, half, angle), "turquoise", (84, 190, 206)
    half = np.full(2, generator.uniform(0.02, 0.06) * side)
    wobble = 1.0 + _clouds(generator, side, 0.3)
    return _ellipse(side, centre, half, angle) < wobble, "green", (44, 78, 42)


def _turned(
    side: int, centre: NDArray[np.float64], half: NDArray[np.float64], angle: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates along the two axes of a turned shape, 1 at its edge."""
    rows, columns = np.mgrid[0:side, 0:side] + 0.5
    y, x = rows - centre[0], columns - centre[1]
    along = (x * np.cos(angle) + y * np.sin(angle)) / half[0]
    across = (y * np.cos(angle) - x * np.sin(angle)) / half[1]
    return along, across


def _rectangle(
    side: int, centre: NDArray[np.float64], half: NDArray[np.float64], angle: float
) -> Region:
    along, across = _turned(side, centre, half, angle)
    inside: Region = (abs(along) < 1.0) & (abs(across) < 1.0)
    return inside


def _ellipse(
    side: int, centre: NDArray[np.float64], half: NDArray[np.float64], angle: float
) -> NDArray[np.float64]:
    """Distance from the centre, 1 on the ellipse."""
    along, across = _turned(side, centre, half, angle)
    distance: NDArray[np.float64] = np.hypot(along, across)
    return distance


def _clouds(generator: Generator, side: int, strength: float) -> NDArray[np.float64]:
    """Smooth noise (S, S); the strength is the deviation at its coarse cells."""
    weights = _cloud_weights(side)
    smooth: NDArray[np.float64] = (
        weights @ generator.normal(0.0, strength, (_CLOUD_CELLS, _CLOUD_CELLS)) @ weights.T
    )
    return smooth


@functools.cache
def _cloud_weights(side: int) -> NDArray[np.float64]:
    """Linear interpolation from the coarse cells to the pixels of one axis."""
    positions = np.linspace(0.0, _CLOUD_CELLS - 1.0, side)
    distance = abs(positions[:, None] - np.arange(_CLOUD_CELLS))
    weights: NDArray[np.float64] = np.maximum(1.0 - distance, 0.0)
    return weights


def _cast_shadow(image: NDArray[np.float64], region: Region, reach: int) -> None:
    shadow = np.roll(region, (reach, reach), axis=(0, 1))
    shadow[:reach] = False
    shadow[:, :reach] = False
    image[shadow & ~region] *= 0.55


def _union(things: Sequence[Thing], side: int) -> Region:
    region = np.zeros((side, side), dtype=bool)
    for thing in things:
        region |= thing.region
    return region


def _refer(generator: Generator, things: Sequence[Thing], side: int) -> _Asked:
    """Ask by kind, by colour of the roof, by place or by size."""
    buildings = [thing for thing in things if thing.kind == "building"]
    way = int(generator.integers(4))
    if way == 0 or not buildings:
        kind = _kind_to_ask(generator, things)
        same = [thing for thing in things if thing.kind == kind]
        name = PLURALS[kind] if len(same) != 1 else kind
        text = str(generator.choice([f"the {name}", f"all {PLURALS[kind]}", name]))
        return _Asked(text, "", _union(same, side))
    if way == 1:
        colour = str(generator.choice([thing.colour for thing in buildings]))
        same = [thing for thing in buildings if thing.colour == colour]
        noun = "building" if len(same) == 1 else "buildings"
        return _Asked(f"the {colour} {noun}", "", _union(same, side))
    centres = [np.argwhere(thing.region).mean(axis=0) for thing in buildings]
    if way == 2:
        axis = int(generator.integers(2))
        order = sorted(range(len(buildings)), key=lambda index: float(centres[index][axis]))
        first = bool(generator.integers(2))
        word = (("topmost", "lowest"), ("leftmost", "rightmost"))[axis][0 if first else 1]
        return _Asked(f"the {word} building", "", buildings[order[0 if first else -1]].region)
    largest = max(buildings, key=lambda thing: int(thing.region.sum()))
    return _Asked("the largest building", "", largest.region)


def _point_at(generator: Generator, things: Sequence[Thing], side: int) -> _Asked:
    """Ask by a box around a thing, or by one to three points on it."""
    thing = things[int(generator.integers(len(things)))]
    pixels = np.argwhere(thing.region)
    if generator.random() < 0.5:
        (top, left), (bottom, right) = pixels.min(axis=0), pixels.max(axis=0) + 1
        text = describe_box(left / side, top / side, right / side, bottom / side)
        return _Asked(text, "", thing.region)
    chosen = pixels[generator.integers(len(pixels), size=int(generator.integers(1, 4)))]
    points = [((column + 0.5) / side, (row + 0.5) / side) for row, column in chosen]
    return _Asked(describe_points(points), "", thing.region)


def _reason(generator: Generator, things: Sequence[Thing], side: int) -> _Asked:
    """Ask a question that names no object."""
    kind = _kind_to_ask(generator, things)
    same = [thing for thing in things if thing.kind == kind]
    text = str(generator.choice(list(QUESTIONS[kind])))
    return _Asked(text, ANSWERS[kind] if same else "There is none.", _union(same, side))


def _kind_to_ask(generator: Generator, things: Sequence[Thing]) -> str:
    """Choose a kind that is there, now and then one that is not."""
    present = sorted({thing.kind for thing in things})
    absent = sorted(set(KINDS) - set(present))
    if absent and generator.random() < _ABSENT_SHARE:
        return str(generator.choice(absent))
    return str(generator.choice(present))
