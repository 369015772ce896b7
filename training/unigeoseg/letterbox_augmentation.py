"""Scenes between black bars, which is how the network is shown an extent that is no square.

Of a scene a centred band of rows or columns is kept. Sentences stay that are as true of the band as
they were of the whole scene: most are about what is in it, few about where in the scene it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .queries import landmark_of
from .stored_scenes import StoredScene, Thing, Wish

NARROWEST, WIDEST = 0.3, 0.95
"""Shares of the scene that a band may have."""
_WHOLE_SHARE = 0.98
_LEGIBLE_SHARE = 0.7
_SIDES = {True: ("left half", "right half"), False: ("top half", "bottom half")}
"""Halves of a band of rows, and of columns, that are those of the scene."""


class Band(NamedTuple):
    """The middle ``breadth`` rows of a square, or its columns."""

    breadth: int
    of_rows: bool = True

    def outside(self, side: int) -> NDArray[np.bool_]:
        """Return the bars of a square, (side, side); an odd remainder goes below and right."""
        start = (side - self.breadth) // 2
        bars = np.ones((side, side), np.bool_)
        inside = slice(start, start + self.breadth)
        bars[(inside, slice(None)) if self.of_rows else (slice(None), inside)] = False
        return bars


def draw_band(side: int, random: np.random.Generator) -> Band:
    """Draw a band of a square of ``side`` pixels."""
    return Band(round(side * random.uniform(NARROWEST, WIDEST)), bool(random.integers(2)))


def between_bars(scene: StoredScene, band: Band) -> StoredScene:
    """Return a scene with black bars, and what can be asked of what they leave."""
    bars = band.outside(len(scene.classes))
    image, classes, instances = scene.image.copy(), scene.classes.copy(), scene.instances.copy()
    image[bars] = 0
    classes[bars] = 0
    instances[bars] = 0
    sizes = np.bincount(scene.instances.ravel(), minlength=len(scene.things) + 1)
    left = np.bincount(instances.ravel(), minlength=len(sizes))
    shares = left / np.maximum(sizes, 1)
    things = [_as_seen(thing, instances, shares[thing.instance]) for thing in scene.things]
    wishes = [wish for wish in scene.wishes if _stays(wish, scene.things, band, shares)]
    return StoredScene(image, classes, instances, tuple(things), tuple(wishes))


def _as_seen(thing: Thing, instances: NDArray[np.uint16], share: float) -> Thing:
    if not _is_cut(share):
        return thing
    rows, columns = np.nonzero(instances == thing.instance)
    return dataclasses.replace(thing, centroid=(float(columns.mean()), float(rows.mean())))


def _is_cut(share: float) -> bool:
    return 0.0 < share <= _WHOLE_SHARE


def _stays(wish: Wish, things: Sequence[Thing], band: Band, shares: NDArray[np.float64]) -> bool:
    """Tell whether words mean in the band what they mean in the scene, of what is in both."""
    if not wish.instances:
        return True
    wanted = [thing for thing in things if thing.instance in wish.instances]
    least = float(shares[list(wish.instances)].min())
    # What is cut has another shape, centre and size than the words were made for.
    kin = {thing.class_name for thing in wanted}
    cut = any(_is_cut(shares[thing.instance]) for thing in things if thing.class_name in kin)
    if wish.kind == "attribute":
        of_colour = any(thing.colour and thing.colour in wish.text for thing in wanted)
        return (of_colour or not cut) and (len(wanted) > 1 or least > _LEGIBLE_SHARE)
    if wish.kind == "position":
        return not cut and any(side in wish.text for side in _SIDES[band.of_rows])
    if least <= _WHOLE_SHARE or "smallest" in wish.text:
        return False
    if wish.kind == "relation":
        landmark = landmark_of(wish, things)
        return not cut and landmark is not None and shares[landmark] > _WHOLE_SHARE
    return wish.kind == "count" or (wish.kind == "extreme" and ("largest" in wish.text or not cut))
