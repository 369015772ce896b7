"""Generated scenes with everything that can be asked of them, kept on disk once they are drawn.

A scene depends on its seed alone. Its file holds the picture, the exact classes and instances, what
is known of every object, and the sentences and questions with the pixels they mean.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.array_files import write_arrays
from training.scenes import VERSION, generate_scene
from training.scenes.drawn_scene import DrawnScene
from training.scenes.reasoning import ask
from training.scenes.referring import Expression, refer

logger = logging.getLogger(__name__)

SIDE = 256
WIDE_SIDE = 512
"""Side of scenes that show four times the ground, as overviews of large extents do."""
PIXEL_SIZES = (0.15, 0.6)
VALIDATION_SEED = 1_000_000
REASONING = "reasoning"
_ALL_SENTENCES = 1000
_WORDINGS = 3


@dataclasses.dataclass(frozen=True)
class Wish:
    """Words and the pixels they mean.

    Attributes:
        text: A sentence or a question.
        kind: Kind of the expression, see ``scenes.referring.Expression``.
        instances: Objects that are meant; empty when classes are.
        classes: Ids of the classes that are meant; empty when objects are.
    """

    text: str
    kind: str
    instances: tuple[int, ...]
    classes: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Thing:
    """What is known of one object, see ``scenes.scene.SceneObject``."""

    instance: int
    class_name: str
    colour: str
    kind: str
    shape: str
    roof: str
    centroid: tuple[float, float]
    area: float


@dataclasses.dataclass(frozen=True)
class StoredScene:
    """A drawn scene.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        classes: (S, S) uint8, indices of ``legend.CLASS_NAMES``.
        instances: (S, S) uint16, 0 where no object is.
        things: The objects by rising instance, from 1.
        wishes: All that can be asked.
    """

    image: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    things: tuple[Thing, ...]
    wishes: tuple[Wish, ...]

    def mask(self, wish: Wish) -> NDArray[np.bool_]:
        """Return the pixels that a wish of this scene means, (S, S)."""
        if wish.instances:
            return np.isin(self.instances, wish.instances)
        return np.isin(self.classes, wish.classes)


def stored_scenes(folder: Path, seeds: Iterable[int], side: int = SIDE) -> list[StoredScene]:
    """Return scenes, drawing those that ``folder`` lacks.

    Args:
        folder: Where drawn scenes are kept, one compressed file each.
        seeds: Which scenes.
        side: Their rows and columns.
    """
    wide = "" if side == SIDE else f"-{side}"
    folder.mkdir(parents=True, exist_ok=True)
    scenes = []
    for count, seed in enumerate(seeds, start=1):
        path = folder / f"scene-v{VERSION}{wide}-{seed:07d}.npz"
        if not path.exists():
            _draw(path, seed, side)
            if count % 50 == 0:
                logger.info("drew %d scenes", count)
        scenes.append(_read(path))
    return scenes


def pixel_size_of(seed: int) -> float:
    """Return the metres in a pixel of a scene, log-uniform in ``PIXEL_SIZES``."""
    low, high = (math.log(size) for size in PIXEL_SIZES)
    return round(math.exp(np.random.default_rng([seed, 7]).uniform(low, high)), 3)


def wishes_of(scene: DrawnScene) -> tuple[Wish, ...]:
    """Return every sentence about a scene, and its questions in several wordings."""
    questions = [question for seed in range(_WORDINGS) for question in ask(scene, seed, 100)]
    found: dict[str, Wish] = {}
    for expression in (*refer(scene, 0, _ALL_SENTENCES), *questions):
        found.setdefault(expression.text, _wish(scene, expression))
    return tuple(found.values())


def _wish(scene: DrawnScene, expression: Expression) -> Wish:
    classes: Sequence[int] = ()
    if not expression.instances:
        classes = np.unique(scene.classes[expression.mask]).tolist()
    return Wish(expression.text, expression.kind, expression.instances, tuple(classes))


def _draw(path: Path, seed: int, side: int) -> None:
    scene = generate_scene(seed, side, pixel_size_of(seed))
    names = [field.name for field in dataclasses.fields(Thing)]
    things = [{name: getattr(item, name) for name in names} for item in scene.objects]
    wishes = [dataclasses.asdict(wish) for wish in wishes_of(scene)]
    write_arrays(
        path,
        image=scene.image,
        classes=scene.classes,
        instances=scene.instances.astype(np.uint16),
        facts=np.array(json.dumps({"things": things, "wishes": wishes})),
    )


def _read(path: Path) -> StoredScene:
    with np.load(path) as stored:
        facts = json.loads(str(stored["facts"]))
        return StoredScene(
            stored["image"],
            stored["classes"],
            stored["instances"],
            tuple(Thing(**_with_tuples(item)) for item in facts["things"]),
            tuple(Wish(**_with_tuples(item)) for item in facts["wishes"]),
        )


def _with_tuples(members: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in members.items()
    }
