"""Requests about a drawn scene: sentences, questions, points and boxes, with their masks."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg_qgis.engine.models.unigeoseg.coordinates import describe_box, describe_points
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from training.scenes.drawn_scene import SceneObject
from training.scenes.legend import CLASS_NAMES
from training.scenes.referring import NOUNS, plural_of

from .schedule import TaskSchedule
from .stored_scenes import REASONING, SIDE, Query, StoredScene

Number = TypeVar("Number", np.bool_, np.uint8, np.uint16, np.int64)

SENTENCE_KINDS = ("class", "attribute", "position", "extreme", "relation", "count")
MIN_PIXELS = 64
"""Smallest mask of a request about a scene of ``SIDE`` pixels."""
ABSENT_SHARE = 0.04
SIMPLE_UNTIL = 0.2
_SIMPLE = {
    "class": 3.0, "attribute": 1.0, "position": 1.0, "count": 0.5, "extreme": 0.3, "relation": 0.2,
}  # fmt: skip
_LATER = {
    "class": 1.1, "attribute": 1.6, "position": 1.4, "count": 1.0, "extreme": 1.5, "relation": 1.4,
}  # fmt: skip
_TASK_SHARES = {Task.REFERRING: 0.74, Task.INTERACTIVE: 0.17, Task.REASONING: 0.09}
OPENINGS = ("segment ", "find ", "show ", "map ", "select ", "mark ")
_ACROSS = {
    "left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost",
}  # fmt: skip
_DOWN = {
    "top": "bottom", "bottom": "top", "topmost": "bottommost", "bottommost": "topmost",
}  # fmt: skip
_LANDMARK = re.compile(r" closest to the (.+)$")
_SIDED = ("position", "extreme")
"""Kinds of sentences that name sides; elsewhere "left" may be a verb."""


class Mirror(NamedTuple):
    """Whether a scene is shown as it is or mirrored."""

    across: bool = False
    """Left and right change sides."""
    down: bool = False
    """Top and bottom change sides."""

    def turn(self, array: NDArray[Number]) -> NDArray[Number]:
        """Mirror an array (H, W, ...)."""
        return array[:: -1 if self.down else 1, :: -1 if self.across else 1]

    def reword(self, text: str) -> str:
        """Exchange the words for sides in a sentence."""
        words = (_ACROSS if self.across else {}) | (_DOWN if self.down else {})
        return re.sub(r"[a-z]+", lambda match: words.get(match[0], match[0]), text)


UNMIRRORED = Mirror()


class SceneRequest(NamedTuple):
    """One request about a scene."""

    text: str
    task: Task
    kind: str
    mask: NDArray[np.bool_]
    """(S, S), True on the pixels that are meant, mirrored as the scene is."""
    single: bool = False
    """Whether one object is meant."""
    landmark: NDArray[np.bool_] | None = None
    """(S, S), True on the object that the words name to say where the meant one is."""


class RequestSampler:
    """Draws requests about one scene, each with a mask of at least ``MIN_PIXELS`` or none.

    In scenes of other sides the smallest mask is the same share of the scene.

    Args:
        scene: The scene.
    """

    def __init__(self, scene: StoredScene) -> None:
        self._scene = scene
        sizes = np.bincount(scene.instances.ravel(), minlength=len(scene.objects) + 1)
        areas = np.bincount(scene.classes.ravel(), minlength=len(CLASS_NAMES))
        self._min_pixels = MIN_PIXELS * scene.classes.size // SIDE**2
        self._by_kind: dict[str, list[Query]] = defaultdict(list)
        for query in scene.queries:
            size = sizes[list(query.instances)].sum() + areas[list(query.classes)].sum()
            if size >= self._min_pixels:
                self._by_kind[query.kind].append(query)
        numbers = [item.instance for item in scene.objects]
        self.instances = [number for number in numbers if sizes[number] >= self._min_pixels]
        """Objects that are large enough to be pointed at."""
        self.absent_classes = [
            name for index, name in enumerate(CLASS_NAMES) if index and not areas[index]
        ]
        self._weights = np.sqrt(sizes[self.instances]) if self.instances else np.zeros(0)

    def draw(
        self,
        task: Task,
        random: np.random.Generator,
        kinds: Mapping[str, float] | None = None,
        mirror: Mirror = UNMIRRORED,
    ) -> SceneRequest | None:
        """Draw one request for a task.

        Args:
            task: How it is meant.
            random: Source of the choices.
            kinds: Weights of the kinds of sentences; all alike by default.
            mirror: How the scene is shown.

        Returns:
            The request, or None where the scene has none for this task.
        """
        if task is Task.INTERACTIVE:
            return self._point_at(random, mirror)
        chosen = self._by_kind.get(REASONING, [])
        if task is Task.REFERRING:
            weights = kinds or dict.fromkeys(SENTENCE_KINDS, 1.0)
            present = [kind for kind in weights if weights[kind] > 0 and self._by_kind.get(kind)]
            if not present:
                return None
            shares = np.array([weights[kind] for kind in present])
            chosen = self._by_kind[str(random.choice(present, p=shares / shares.sum()))]
        if not chosen:
            return None
        query = chosen[int(random.integers(len(chosen)))]
        mask = mirror.turn(self._scene.mask(query))
        text = mirror.reword(query.text) if query.kind in _SIDED else query.text
        if query.kind == "class" and len(query.classes) == 1 and text.startswith("the "):
            text = _class_text(CLASS_NAMES[query.classes[0]], random)
        landmark = landmark_of(query, self._scene.objects)
        place = None if landmark is None else mirror.turn(self._scene.instances == landmark)
        return SceneRequest(text, task, query.kind, mask, len(query.instances) == 1, place)

    def draw_absent(self, random: np.random.Generator) -> SceneRequest | None:
        """Draw a request for a class that the scene does not have; its mask is empty."""
        if not self.absent_classes:
            return None
        # The wording must not show whether the class is there.
        text = _class_text(str(random.choice(self.absent_classes)), random)
        return SceneRequest(
            text, Task.REFERRING, "absent", np.zeros(self._scene.classes.shape, bool)
        )

    def _point_at(self, random: np.random.Generator, mirror: Mirror) -> SceneRequest | None:
        """Draw points on an object or a connected region of one class, or the box around it."""
        region = self._object(random) if random.random() < 0.7 else self._region(random)
        if region is None:
            return None
        region = mirror.turn(region)
        pixels = np.argwhere(region)
        height, width = region.shape
        if random.random() < 0.5:
            (top, left), (bottom, right) = pixels.min(axis=0), pixels.max(axis=0) + 1
            text = describe_box(left / width, top / height, right / width, bottom / height)
            return SceneRequest(text, Task.INTERACTIVE, "box", region, single=True)
        chosen = pixels[random.integers(len(pixels), size=int(random.integers(1, 4)))]
        points = [((x + 0.5) / width, (y + 0.5) / height) for y, x in chosen.tolist()]
        return SceneRequest(
            describe_points(points), Task.INTERACTIVE, "points", region, single=True
        )

    def _object(self, random: np.random.Generator) -> NDArray[np.bool_] | None:
        if not self.instances:
            return None
        shares = self._weights / self._weights.sum()
        region: NDArray[np.bool_] = self._scene.instances == random.choice(self.instances, p=shares)
        return region

    def _region(self, random: np.random.Generator) -> NDArray[np.bool_] | None:
        height, width = self._scene.classes.shape
        row, column = int(random.integers(height)), int(random.integers(width))
        if not self._scene.classes[row, column]:
            return None
        instance = self._scene.instances[row, column]
        if instance:
            same: NDArray[np.bool_] = self._scene.instances == instance
        else:
            of_class = self._scene.classes == self._scene.classes[row, column]
            numbers, _ = ndimage.label(of_class & (self._scene.instances == 0))
            same = numbers == numbers[row, column]
        return same if same.sum() >= self._min_pixels else None


def landmark_of(query: Query, objects: Sequence[SceneObject]) -> int | None:
    """Return the only object of the noun that a relation ends with."""
    named = _LANDMARK.search(query.text) if query.kind == "relation" else None
    if named is None:
        return None
    found = [
        item.instance
        for item in objects
        if named[1] in (NOUNS.get(item.class_name, item.class_name), item.kind)
    ]
    return found[0] if len(found) == 1 else None


def _class_text(class_name: str, random: np.random.Generator) -> str:
    """Name a class in the singular or in the plural."""
    noun = NOUNS.get(class_name, class_name)
    return f"the {noun}" if random.random() < 0.5 else f"all {plural_of(noun)}"


def draw_requests(
    sampler: RequestSampler,
    count: int,
    progress: float,
    random: np.random.Generator,
    mirror: Mirror = UNMIRRORED,
    *,
    attributes: bool = True,
) -> list[SceneRequest]:
    """Draw requests about one scene; sentences start simple, tasks follow the schedule (PTS).

    Args:
        sampler: Of the scene.
        count: Number of requests.
        progress: How far training is, 0..1.
        random: Source of the choices.
        mirror: How the scene is shown.
        attributes: Whether colours may be named, which attributes do.
    """
    weights = TaskSchedule().weights(progress)
    tasks = list(_TASK_SHARES)
    shares = np.array([_TASK_SHARES[task] * weights[task] for task in tasks])
    mixed = min(progress / SIMPLE_UNTIL, 1.0)
    kinds = {k: _SIMPLE[k] * (1 - mixed) + _LATER[k] * mixed for k in SENTENCE_KINDS}
    if not attributes:
        kinds["attribute"] = 0.0
    requests: list[SceneRequest] = []
    while len(requests) < count:
        if random.random() < ABSENT_SHARE:
            drawn = sampler.draw_absent(random)
        else:
            task = tasks[int(random.choice(len(tasks), p=shares / shares.sum()))]
            drawn = sampler.draw(task, random, kinds, mirror)
        if drawn is not None:
            requests.append(drawn)
    return requests


def reword(text: str, random: np.random.Generator) -> str:
    """Say the same in slightly other words; a text with coordinates stays."""
    if "[" in text:
        return text
    chance = random.random()
    if text.startswith("all ") and chance < 0.4:
        text = ("the ", "")[int(random.integers(2))] + text[len("all ") :]
    elif text.startswith("the ") and chance < 0.2:
        text = text[len("the ") :]
    if text.endswith("?"):
        return text[:-1] if chance < 0.3 else text
    if random.random() < 0.2:
        text = OPENINGS[int(random.integers(len(OPENINGS)))] + text
    return text
