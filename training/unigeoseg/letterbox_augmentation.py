"""Scenes between black bars, as the letterbox shows the network an extent that is no square.

The middle rows or columns of a scene are kept, and those queries that are as true of what is kept
as they were of the whole scene: most are about what is in it, few about where in the scene it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.scenes.drawn_scene import SceneObject

from .queries import landmark_of
from .stored_scenes import Query, StoredScene

NARROWEST, WIDEST = 0.3, 0.95
"""Shares of the scene that may be kept."""
_WHOLE_SHARE = 0.98
_LEGIBLE_SHARE = 0.7
_SIDES = {True: ("left half", "right half"), False: ("top half", "bottom half")}
"""Halves that are the same with and without bars, by whether rows are kept."""


class Bars(NamedTuple):
    """Bars that leave the middle ``kept`` rows of a square, or its columns."""

    kept: int
    rows: bool = True

    def mask(self, side: int) -> NDArray[np.bool_]:
        """Return where bars cover a square, (side, side); odd remainders go below and right."""
        start = (side - self.kept) // 2
        bars = np.ones((side, side), np.bool_)
        inside = slice(start, start + self.kept)
        bars[(inside, slice(None)) if self.rows else (slice(None), inside)] = False
        return bars


def draw_bars(side: int, random: np.random.Generator) -> Bars:
    """Draw bars for a square of ``side`` pixels."""
    return Bars(round(side * random.uniform(NARROWEST, WIDEST)), bool(random.integers(2)))


def with_bars(scene: StoredScene, bars: Bars) -> StoredScene:
    """Return a scene with black bars, and the queries that stay true of what they leave."""
    covered = bars.mask(len(scene.classes))
    image, classes, instances = scene.image.copy(), scene.classes.copy(), scene.instances.copy()
    image[covered] = 0
    classes[covered] = 0
    instances[covered] = 0
    sizes = np.bincount(scene.instances.ravel(), minlength=len(scene.objects) + 1)
    left = np.bincount(instances.ravel(), minlength=len(sizes))
    shares = left / np.maximum(sizes, 1)
    objects = [_as_seen(item, instances, shares[item.instance]) for item in scene.objects]
    queries = [one for one in scene.queries if _stays_true(one, scene.objects, bars, shares)]
    return StoredScene(image, classes, instances, tuple(objects), tuple(queries))


def _as_seen(item: SceneObject, instances: NDArray[np.uint16], share: float) -> SceneObject:
    if not _is_cut(share):
        return item
    rows, columns = np.nonzero(instances == item.instance)
    return dataclasses.replace(item, centroid=(float(columns.mean()), float(rows.mean())))


def _is_cut(share: float) -> bool:
    return 0.0 < share <= _WHOLE_SHARE


def _stays_true(
    query: Query, objects: Sequence[SceneObject], bars: Bars, shares: NDArray[np.float64]
) -> bool:
    """Return whether words mean between the bars what they mean in the scene."""
    if not query.instances:
        return True
    wanted = [item for item in objects if item.instance in query.instances]
    least = float(shares[list(query.instances)].min())
    # What is cut has another shape, centre and size than the words were made for.
    names = {item.class_name for item in wanted}
    cut = any(_is_cut(shares[item.instance]) for item in objects if item.class_name in names)
    if query.kind == "attribute":
        of_colour = any(item.colour and item.colour in query.text for item in wanted)
        return (of_colour or not cut) and (len(wanted) > 1 or least > _LEGIBLE_SHARE)
    if query.kind == "position":
        return not cut and any(side in query.text for side in _SIDES[bars.rows])
    if least <= _WHOLE_SHARE or "smallest" in query.text:
        return False
    if query.kind == "relation":
        landmark = landmark_of(query, objects)
        return not cut and landmark is not None and shares[landmark] > _WHOLE_SHARE
    return query.kind == "count" or (
        query.kind == "extreme" and ("largest" in query.text or not cut)
    )
