"""Drawn scenes with all queries about them, kept on disk once they are drawn.

A scene depends on its seed alone. Its file holds the image, the exact classes and instances, what
is known of every object, and the sentences and questions with the pixels that they mean.
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

from geoseg_qgis.engine.files import draft
from training.scenes import VERSION, generate_scene
from training.scenes.drawn_scene import DrawnScene, SceneObject
from training.scenes.reasoning import ask
from training.scenes.referring import Expression, refer

logger = logging.getLogger(__name__)

SIDE = 256
WIDE_SIDE = 512
"""Side of scenes that show four times the ground, as overviews of large extents do."""
PIXEL_SIZES = (0.15, 0.6)
VALIDATION_SEED = 1_000_000
"""First seed of the scenes that score; training scenes have smaller ones."""
REASONING = "reasoning"
_LAYOUT = 2
"""Raised when the members of a file change, so that older files are drawn again."""
_ALL_SENTENCES = 1000
_WORDINGS = 3


@dataclasses.dataclass(frozen=True)
class Query:
    """Words and the pixels they mean.

    Attributes:
        text: A sentence or a question.
        kind: Kind of the expression, see `training.scenes.referring.Expression`.
        instances: Objects that are meant; empty when classes are.
        classes: Ids of the classes that are meant; empty when objects are.
    """

    text: str
    kind: str
    instances: tuple[int, ...]
    classes: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class StoredScene:
    """A drawn scene and its queries.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        classes: (S, S) uint8, indices of `training.scenes.legend.CLASS_NAMES`.
        instances: (S, S) uint16, 0 where no object is.
        objects: The objects by rising instance, from 1.
        queries: All sentences and questions about the scene.
    """

    image: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    objects: tuple[SceneObject, ...]
    queries: tuple[Query, ...]

    def mask(self, query: Query) -> NDArray[np.bool_]:
        """Return the pixels that a query about this scene means, (S, S)."""
        if query.instances:
            return np.isin(self.instances, query.instances)
        return np.isin(self.classes, query.classes)


def stored_scenes(folder: Path, seeds: Iterable[int], side: int = SIDE) -> list[StoredScene]:
    """Return scenes, drawing those that ``folder`` does not have.

    Args:
        folder: Where drawn scenes are kept, one compressed file each.
        seeds: Which scenes.
        side: Their rows and columns.
    """
    wide = "" if side == SIDE else f"-{side}"
    folder.mkdir(parents=True, exist_ok=True)
    scenes = []
    for count, seed in enumerate(seeds, start=1):
        path = folder / f"scene-v{VERSION}.{_LAYOUT}{wide}-{seed:07d}.npz"
        if not path.exists():
            _draw(path, seed, side)
            if count % 50 == 0:
                logger.info("Drew %d scenes", count)
        scenes.append(_read(path))
    return scenes


def pixel_size_of(seed: int) -> float:
    """Return the metres in a pixel of a scene, log-uniform in ``PIXEL_SIZES``."""
    low, high = (math.log(size) for size in PIXEL_SIZES)
    return round(math.exp(np.random.default_rng([seed, 7]).uniform(low, high)), 3)


def queries_about(scene: DrawnScene) -> tuple[Query, ...]:
    """Return every sentence about a scene, and its questions in several wordings."""
    questions = [question for seed in range(_WORDINGS) for question in ask(scene, seed, 100)]
    found: dict[str, Query] = {}
    for expression in (*refer(scene, 0, _ALL_SENTENCES), *questions):
        found.setdefault(expression.text, _query(scene, expression))
    return tuple(found.values())


def _query(scene: DrawnScene, expression: Expression) -> Query:
    classes: Sequence[int] = ()
    if not expression.instances:
        classes = np.unique(scene.classes[expression.mask]).tolist()
    return Query(expression.text, expression.kind, expression.instances, tuple(classes))


def _draw(path: Path, seed: int, side: int) -> None:
    scene = generate_scene(seed, side, pixel_size_of(seed))
    facts = {
        "objects": [dataclasses.asdict(item) for item in scene.objects],
        "queries": [dataclasses.asdict(query) for query in queries_about(scene)],
    }
    with draft(path) as unfinished:
        np.savez_compressed(
            unfinished,
            image=scene.image,
            classes=scene.classes,
            instances=scene.instances.astype(np.uint16),
            facts=np.array(json.dumps(facts)),
        )


def _read(path: Path) -> StoredScene:
    with np.load(path) as stored:
        facts = json.loads(str(stored["facts"]))
        return StoredScene(
            stored["image"],
            stored["classes"],
            stored["instances"],
            tuple(SceneObject(**_with_tuples(item)) for item in facts["objects"]),
            tuple(Query(**_with_tuples(item)) for item in facts["queries"]),
        )


def _with_tuples(members: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in members.items()
    }
