"""What is asked of a generated scene during training: sentences, questions, points and boxes."""

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
from training.scenes.legend import CLASS_NAMES
from training.scenes.referring import NOUNS, plural_of

from .schedule import TaskSchedule
from .stored_scenes import REASONING, SIDE, StoredScene, Thing, Wish

Number = TypeVar("Number", np.bool_, np.uint8, np.uint16, np.int64)

SENTENCE_KINDS = ("class", "attribute", "position", "extreme", "relation", "count")
FEWEST_PIXELS = 64
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
    """A way to look at a scene: as it is, or with sides exchanged."""

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


AS_IT_IS = Mirror()


class Asked(NamedTuple):
    """One request and its answer."""

    text: str
    task: Task
    kind: str
    mask: NDArray[np.bool_]
    """(S, S), 1 on the answer, mirrored as asked."""
    single: bool = False
    """Whether one object is meant."""
    landmark: NDArray[np.bool_] | None = None
    """(S, S), 1 on the object that the words name to tell where the answer is."""


class Asker:
    """Asks things of one scene, each with an answer of at least ``FEWEST_PIXELS`` or none.

    In scenes of other sides the fewest pixels are the same share of the picture.

    Args:
        scene: What is asked about.
    """

    def __init__(self, scene: StoredScene) -> None:
        self._scene = scene
        sizes = np.bincount(scene.instances.ravel(), minlength=len(scene.things) + 1)
        areas = np.bincount(scene.classes.ravel(), minlength=len(CLASS_NAMES))
        self._fewest = FEWEST_PIXELS * scene.classes.size // SIDE**2
        self._by_kind: dict[str, list[Wish]] = defaultdict(list)
        for wish in scene.wishes:
            size = sizes[list(wish.instances)].sum() + areas[list(wish.classes)].sum()
            if size >= self._fewest:
                self._by_kind[wish.kind].append(wish)
        self._things = [t.instance for t in scene.things if sizes[t.instance] >= self._fewest]
        self._weights = np.sqrt(sizes[self._things]) if self._things else np.zeros(0)
        self._absent = [
            name for index, name in enumerate(CLASS_NAMES) if index and not areas[index]
        ]

    def ask(
        self,
        task: Task,
        random: np.random.Generator,
        kinds: Mapping[str, float] | None = None,
        mirror: Mirror = AS_IT_IS,
    ) -> Asked | None:
        """Ask one thing for a task.

        Args:
            task: How it is meant.
            random: Chooses among all that can be asked.
            kinds: Weights of the kinds of sentences that may be asked; all alike by default.
            mirror: How the scene is looked at.

        Returns:
            The request, or None where the scene has nothing to ask for this task.
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
        wish = chosen[int(random.integers(len(chosen)))]
        mask = mirror.turn(self._scene.mask(wish))
        text = mirror.reword(wish.text) if wish.kind in _SIDED else wish.text
        if wish.kind == "class" and len(wish.classes) == 1 and text.startswith("the "):
            text = _said_of(CLASS_NAMES[wish.classes[0]], random)
        landmark = landmark_of(wish, self._scene.things)
        place = None if landmark is None else mirror.turn(self._scene.instances == landmark)
        return Asked(text, task, wish.kind, mask, len(wish.instances) == 1, place)

    def ask_for_nothing(self, random: np.random.Generator) -> Asked | None:
        """Ask for a class that the scene does not have; the answer is empty."""
        if not self._absent:
            return None
        # Whether something is there must not show in the wording.
        text = _said_of(str(random.choice(self._absent)), random)
        return Asked(text, Task.REFERRING, "absent", np.zeros(self._scene.classes.shape, bool))

    def _point_at(self, random: np.random.Generator, mirror: Mirror) -> Asked | None:
        """Ask for an object or a connected surface by points on it or the box around it."""
        region = self._thing(random) if random.random() < 0.7 else self._surface(random)
        if region is None:
            return None
        region = mirror.turn(region)
        pixels = np.argwhere(region)
        height, width = region.shape
        if random.random() < 0.5:
            (top, left), (bottom, right) = pixels.min(axis=0), pixels.max(axis=0) + 1
            text = describe_box(left / width, top / height, right / width, bottom / height)
            return Asked(text, Task.INTERACTIVE, "box", region, single=True)
        chosen = pixels[random.integers(len(pixels), size=int(random.integers(1, 4)))]
        points = [((x + 0.5) / width, (y + 0.5) / height) for y, x in chosen.tolist()]
        return Asked(describe_points(points), Task.INTERACTIVE, "points", region, single=True)

    def _thing(self, random: np.random.Generator) -> NDArray[np.bool_] | None:
        if not self._things:
            return None
        shares = self._weights / self._weights.sum()
        region: NDArray[np.bool_] = self._scene.instances == random.choice(self._things, p=shares)
        return region

    def _surface(self, random: np.random.Generator) -> NDArray[np.bool_] | None:
        height, width = self._scene.classes.shape
        row, column = int(random.integers(height)), int(random.integers(width))
        if not self._scene.classes[row, column]:
            return None
        instance = self._scene.instances[row, column]
        if instance:
            same: NDArray[np.bool_] = self._scene.instances == instance
        else:
            of_class = self._scene.classes == self._scene.classes[row, column]
            parts, _ = ndimage.label(of_class & (self._scene.instances == 0))
            same = parts == parts[row, column]
        return same if same.sum() >= self._fewest else None


def landmark_of(wish: Wish, things: Sequence[Thing]) -> int | None:
    """Return the only object of the noun that a relation ends with."""
    named = _LANDMARK.search(wish.text) if wish.kind == "relation" else None
    if named is None:
        return None
    bearers = [
        thing.instance
        for thing in things
        if named[1] in (NOUNS.get(thing.class_name, thing.class_name), thing.kind)
    ]
    return bearers[0] if len(bearers) == 1 else None


def _said_of(class_name: str, random: np.random.Generator) -> str:
    """Ask for a class, as for one thing or as for several."""
    noun = NOUNS.get(class_name, class_name)
    return f"the {noun}" if random.random() < 0.5 else f"all {plural_of(noun)}"


def draw_requests(
    asker: Asker,
    count: int,
    progress: float,
    random: np.random.Generator,
    mirror: Mirror = AS_IT_IS,
    *,
    attributes: bool = True,
) -> list[Asked]:
    """Draw requests about one scene; sentences start simple, tasks follow the schedule (PTS).

    Args:
        asker: The scene.
        count: Number of requests.
        progress: How far training is, 0..1.
        random: Source of the choices.
        mirror: How the scene is looked at.
        attributes: Whether colours may be named, which attributes do.
    """
    weights = TaskSchedule().weights(progress)
    tasks = list(_TASK_SHARES)
    shares = np.array([_TASK_SHARES[task] * weights[task] for task in tasks])
    mixed = min(progress / SIMPLE_UNTIL, 1.0)
    kinds = {k: _SIMPLE[k] * (1 - mixed) + _LATER[k] * mixed for k in SENTENCE_KINDS}
    if not attributes:
        kinds["attribute"] = 0.0
    asked: list[Asked] = []
    while len(asked) < count:
        if random.random() < ABSENT_SHARE:
            made = asker.ask_for_nothing(random)
        else:
            task = tasks[int(random.choice(len(tasks), p=shares / shares.sum()))]
            made = asker.ask(task, random, kinds, mirror)
        if made is not None:
            asked.append(made)
    return asked


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
