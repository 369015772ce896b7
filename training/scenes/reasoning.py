"""Reasoning questions: what is meant follows from what a place is for, not from its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from scipy import ndimage

from .drawn_scene import DrawnScene, SceneObject
from .legend import CLASS_ID, class_ids
from .referring import Expression, clearly_nearest, select

USES: Final[tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = (
    (("open water",), (
        "where could boats float?", "which area could a ferry cross?",
        "where would fish live?", "what reflects the sky and cannot be walked on?")),
    (("swimming pool",), (
        "where can residents swim without leaving their garden?",
        "what would be drained and covered for winter in a garden?")),
    (("parking lot",), (
        "where can many vehicles be left while their owners shop?",
        "where could visitors leave their cars together?")),
    (("road",), (
        "which surface carries the traffic?", "where would an ambulance drive?",
        "what connects the houses for drivers?")),
    (("sidewalk", "path"), ("where can people walk apart from the traffic?",)),
    (("building",), (
        "where do people find shelter from the rain?", "what could carry solar panels?",
        "which structures would be insured against fire and burglary?")),
    (("field",), (
        "where is food grown by machines?", "which land does a farmer sow and harvest?")),
    (("sports field",), (
        "where would a team train?", "where could children play an organised match?")),
    (("tree", "forest"), (
        "what gives shade on a hot day and stores carbon?", "where could birds nest high up?")),
    (("forest",), ("where would one look for mushrooms under dense trees?",)),
    (("hedge",), ("what living fence separates the gardens?",)),
    (("sand",), ("where could children build castles with a spade?",)),
    (("car",), ("what could drive away within a minute?", "what needs fuel or charging?")),
    (("grass",), ("which ground has to be mown?", "where could sheep graze?")),
    (("bare soil",), ("where would wind raise dust from naked earth?",)),
    (("vegetation",), ("what turns sunlight into growth?",)),
    (("paved",), ("which ground sheds the rain instead of soaking it up?",)),
)  # fmt: skip
NEAREST: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    ("building", ("lake",), "which building would have the shortest way to the lake?"),
    ("building", ("river",), "which building would a flood of the river reach first?"),
    ("building", ("sea",), "which building has the shortest walk to the beach and the sea?"),
    ("building", ("forest",), "which building is most exposed to a fire in the forest?"),
    ("building", ("sports field",), "from which building is it nearest to the sports ground?"),
    ("building", ("parking lot",), "which building is nearest to a parking lot?"),
    ("car", ("open water",), "which vehicle stands closest to the open water?"),
)


def ask(scene: DrawnScene, seed: int, count: int = 6) -> tuple[Expression, ...]:
    """Return questions whose masks follow from the scene.

    Args:
        scene: What they are about.
        seed: Chooses among all that can be asked.
        count: Most questions.
    """
    random = np.random.default_rng([seed, scene.seed, 6])
    found = [*use_questions(scene, random), *nearest_questions(scene), *group_questions(scene)]
    order = random.permutation(len(found))
    return tuple(found[int(index)] for index in order[:count])


def use_questions(scene: DrawnScene, random: np.random.Generator) -> Iterator[Expression]:
    """Yield one question for every use that the scene has ground for."""
    present = set(np.unique(scene.classes).tolist())
    for names, texts in USES:
        wanted = class_ids(*names)
        if present.intersection(wanted):
            mask = np.isin(scene.classes, wanted)
            yield Expression(str(random.choice(texts)), mask, (), "reasoning")


def nearest_questions(scene: DrawnScene) -> Iterator[Expression]:
    """Yield questions for the object nearest to something, where one is clearly nearest."""
    for name, targets, text in NEAREST:
        members = [o for o in scene.objects if o.class_name == name]
        target = np.isin(scene.classes, class_ids(*targets))
        if not members or not target.any():
            continue
        nearest = clearly_nearest(scene, members, target)
        if nearest is not None:
            yield select(scene, text, [nearest], "reasoning")


def group_questions(scene: DrawnScene) -> Iterator[Expression]:
    """Yield questions for objects that share their surroundings or their use."""
    parked = _surrounded(scene, "car", ("parking lot", "driveway"))
    if parked:
        yield select(scene, "which vehicles are parked off the street?", parked, "reasoning")
    moving = _surrounded(scene, "car", ("road",))
    if moving:
        yield select(scene, "which vehicles stand or drive on the street?", moving, "reasoning")
    homes = [o for o in scene.objects if o.kind in _HOMES]
    if homes:
        yield select(scene, "where do people live and sleep?", homes, "reasoning")
    work = [o for o in scene.objects if o.kind in ("hall", "warehouse")]
    if work:
        yield select(scene, "where would goods be made or stored?", work, "reasoning")


_HOMES: Final = ("house", "terraced house", "villa", "apartment building")


def _surrounded(scene: DrawnScene, name: str, grounds: Sequence[str]) -> list[SceneObject]:
    wanted = [CLASS_ID[ground] for ground in grounds]
    chosen: list[SceneObject] = []
    height, width = scene.classes.shape
    for item in scene.objects:
        if item.class_name != name:
            continue
        left, top, right, bottom = item.bounds
        window = (slice(max(0, top - 2), min(height, bottom + 2)),
                  slice(max(0, left - 2), min(width, right + 2)))  # fmt: skip
        own = scene.instances[window] == item.instance
        ring = ndimage.binary_dilation(own, iterations=2) & ~own
        around = scene.classes[window][ring]
        around = around[around != CLASS_ID[name]]
        if around.size and np.isin(around, wanted).mean() > 0.5:
            chosen.append(item)
    return chosen
