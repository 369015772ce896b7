"""Referring sentences: words that fit exactly one set of objects of a scene.

A sentence is kept only when the objects that its words select are all the objects they could
mean; positions and comparisons are stated only where they hold by a clear margin.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .drawn_scene import DrawnScene, SceneObject, position_word
from .legend import GROUPS

COUNTABLE: Final = (
    "building", "car", "tree", "swimming pool", "field", "lake", "river", "sea",
    "parking lot", "sports field", "forest",
)  # fmt: skip
PLURALS: Final = {
    "swimming pool": "swimming pools", "parking lot": "parking lots", "bus": "buses",
    "sports field": "sports fields", "running track": "running tracks", "sea": "seas",
    "football pitch": "football pitches", "building under construction":
    "buildings under construction", "grass": "grass", "sand": "sand", "bare soil": "bare soil",
}  # fmt: skip
NOUNS: Final = {"car": "vehicle"}
PIECES: Final = ("road", "sidewalk", "driveway", "path", "wall", "hedge", "yard")
NUMBERS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")
_CLEAR: Final = 1.3
_LEGIBLE: Final = 64
"""Pixels that an object needs for its roof or shape to be seen, and to be a landmark."""
_CONFUSED: Final = (
    ({"silver"}, {"silver", "white", "grey"}), ({"orange", "brown"}, {"orange", "brown"}),
)  # fmt: skip
"""Colours, and what is not named where all of them occur: light and haze make one of the other."""


@dataclass(frozen=True)
class Expression:
    """A sentence and the pixels it means.

    Attributes:
        text: The words.
        mask: (H, W) bool, the pixels meant.
        instances: The objects meant, by rising number; empty when classes are meant.
        kind: class, attribute, position, extreme, relation, count or, for questions, reasoning.
    """

    text: str
    mask: NDArray[np.bool_]
    instances: tuple[int, ...]
    kind: str


@dataclass(frozen=True)
class Group:
    """Objects that one noun names."""

    noun: str
    plural: str
    members: tuple[SceneObject, ...]


def refer(scene: DrawnScene, seed: int, count: int = 12) -> tuple[Expression, ...]:
    """Return sentences about a scene, no two alike.

    Args:
        scene: What they are about.
        seed: Chooses among all sentences.
        count: Most sentences.
    """
    random = np.random.default_rng([seed, scene.seed, 5])
    pools = [
        list(class_expressions(scene)),
        list(attribute_expressions(scene)),
        list(position_expressions(scene)),
        list(extreme_expressions(scene)),
        list(relation_expressions(scene)),
        list(count_expressions(scene)),
    ]
    for pool in pools:
        pool[:] = [pool[int(index)] for index in random.permutation(len(pool))]
    chosen: list[Expression] = []
    seen: set[str] = set()
    while len(chosen) < count and any(pools):
        for pool in pools:
            if pool and len(chosen) < count:
                made = pool.pop()()
                if made.text not in seen:
                    seen.add(made.text)
                    chosen.append(made)
    return tuple(chosen)


Maker = Callable[[], Expression]


def noun_groups(scene: DrawnScene) -> tuple[Group, ...]:
    """Return the groups of objects by class, and by kind where a class has several."""
    groups: list[Group] = []
    for name in COUNTABLE:
        members = tuple(o for o in scene.objects if o.class_name == name)
        if not members:
            continue
        noun = NOUNS.get(name, name)
        groups.append(Group(noun, plural_of(noun), members))
        # A single tree of any kind is called tree, so that word never means a kind.
        for kind in sorted({o.kind for o in members} - {"", noun, "tree"}):
            same = tuple(o for o in members if o.kind == kind)
            groups.append(Group(kind, plural_of(kind), same))
    return tuple(groups)


def plural_of(noun: str) -> str:
    """Return the plural of a noun."""
    return PLURALS.get(noun, f"{noun}s")


def select(scene: DrawnScene, text: str, members: Sequence[SceneObject], kind: str) -> Expression:
    """Return an expression that means some objects."""
    numbers = tuple(sorted(member.instance for member in members))
    return Expression(text, scene.mask(*numbers), numbers, kind)


def class_expressions(scene: DrawnScene) -> Iterator[Maker]:
    """Yield sentences about all of a class, a kind, or several classes with one name."""
    present = {scene.class_names[index] for index in np.unique(scene.classes)}
    numbers = Counter(o.class_name for o in scene.objects)
    for name in sorted(present - {"unlabelled"}):
        noun = NOUNS.get(name, name)
        several = name in PIECES or numbers[name] > 1
        text = f"all {plural_of(noun)}" if several else f"the {noun}"
        yield lambda text=text, name=name: Expression(  # type: ignore[misc]
            text, scene.class_mask(name), (), "class"
        )
    for name in ("water", "vegetation"):
        members = [member for member in GROUPS[name] if member in present]
        if members:
            yield lambda name=name, members=members: Expression(  # type: ignore[misc]
                f"all {name}", scene.class_mask(*members), (), "class"
            )


def attribute_expressions(scene: DrawnScene) -> Iterator[Maker]:
    """Yield sentences that name colour, roof or shape where it shows: all objects that have it."""
    for group in noun_groups(scene):
        for label in ("colour", "roof", "shape"):
            for value in _nameable(scene, group, label):
                chosen = [o for o in group.members if getattr(o, label) == value]
                if len(chosen) == len(group.members) > 1:
                    continue
                text = _with_attribute(group, label, value, len(chosen) == 1)
                yield lambda text=text, chosen=chosen: select(  # type: ignore[misc]
                    scene, text, chosen, "attribute"
                )


def _nameable(scene: DrawnScene, group: Group, label: str) -> list[str]:
    """Return the values of an attribute that nobody would dispute, sorted."""
    if label == "shape" and any(_is_cut(scene, o) for o in group.members):
        return []
    if label != "colour" and any(_visible(scene, o) < _LEGIBLE for o in group.members):
        return []
    values = {str(getattr(o, label)) for o in group.members}
    if label == "colour":
        for together, doubtful in _CONFUSED:
            if together <= values:
                values -= doubtful
    return sorted(values - {""})


def _visible(scene: DrawnScene, member: SceneObject) -> float:
    """Return the pixels in which an object shows."""
    return member.area / scene.pixel_size**2


def _is_cut(scene: DrawnScene, member: SceneObject) -> bool:
    """Return whether the border of the image may cut an object."""
    height, width = scene.instances.shape
    left, top, right, bottom = member.bounds
    return left == 0 or top == 0 or right == width or bottom == height


def _with_attribute(group: Group, label: str, value: str, single: bool) -> str:
    noun = group.noun if single else group.plural
    article = "the" if single else "all"
    if label == "roof":
        return f"{article} {noun} with {_indefinite(value)} {value} roof"
    if label == "colour" and group.members[0].class_name == "building":
        return f"{article} {noun} with {_indefinite(value)} {value} roof"
    return f"{article} {value} {noun}"


def _indefinite(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def position_expressions(scene: DrawnScene) -> Iterator[Maker]:
    """Yield sentences about the only object of its noun in a ninth, or all in a half."""
    height, width = scene.instances.shape
    for group in noun_groups(scene):
        if len(group.members) > 1:
            yield from _ninths(scene, group)
        for word, side in _halves(width, height):
            values = [side(o.centroid) for o in group.members]
            # A centre near the dividing line would make the half a matter of opinion.
            if any(abs(value) < 0.03 for value in values):
                continue
            chosen = [o for o, value in zip(group.members, values, strict=True) if value < 0]
            if 0 < len(chosen) < len(group.members):
                noun = group.noun if len(chosen) == 1 else f"{group.plural}"
                text = f"the {noun} in the {word} half of the image"
                yield lambda text=text, chosen=chosen: select(  # type: ignore[misc]
                    scene, text, chosen, "position"
                )


def _ninths(scene: DrawnScene, group: Group) -> Iterator[Maker]:
    for word in sorted({o.position for o in group.members}):
        chosen = [o for o in group.members if o.position == word]
        near = [o for o in group.members if _may_lie(o.centroid, word, scene.instances.shape)]
        if len(chosen) == 1 and near == chosen:
            where = _PLACES.get(word, f"at the {word}")
            text = f"the {group.noun} {where} of the image"
            yield lambda text=text, chosen=chosen: select(  # type: ignore[misc]
                scene, text, chosen, "position"
            )


_PLACES: Final = {
    "centre": "in the centre",
    "top": "at the top centre",
    "bottom": "at the bottom centre",
    "left": "at the centre left",
    "right": "at the centre right",
}


def _may_lie(centroid: tuple[float, float], word: str, shape: tuple[int, ...]) -> bool:
    # Near the border of a ninth people would accept either word.
    reach = 0.04
    nudges = [(x * reach * shape[1], y * reach * shape[0]) for x in (-1, 0, 1) for y in (-1, 0, 1)]
    limit = shape[1] - 1, shape[0] - 1
    return any(
        position_word(
            (
                min(max(centroid[0] + dx, 0), limit[0]),
                min(max(centroid[1] + dy, 0), limit[1]),
            ),
            shape,
        )
        == word
        for dx, dy in nudges
    )


def _halves(
    width: int, height: int
) -> tuple[tuple[str, Callable[[tuple[float, float]], float]], ...]:
    return (
        ("left", lambda c: c[0] / width - 0.5),
        ("right", lambda c: 0.5 - c[0] / width),
        ("top", lambda c: c[1] / height - 0.5),
        ("bottom", lambda c: 0.5 - c[1] / height),
    )


def extreme_expressions(scene: DrawnScene) -> Iterator[Maker]:
    """Yield sentences about the largest, smallest and outermost object of a noun."""
    shape = scene.instances.shape
    for group in noun_groups(scene):
        if len(group.members) < 2:
            continue
        by_area = sorted(group.members, key=lambda o: o.area)
        if by_area[-1].area > _CLEAR * by_area[-2].area:
            yield _one(scene, f"the largest {group.noun}", by_area[-1], "extreme")
        if by_area[1].area > _CLEAR * by_area[0].area and not _is_cut(scene, by_area[0]):
            yield _one(scene, f"the smallest {group.noun}", by_area[0], "extreme")
        for axis, words in ((0, ("leftmost", "rightmost")), (1, ("topmost", "bottommost"))):
            line = sorted(group.members, key=lambda o, axis=axis: o.centroid[axis])  # type: ignore[misc]
            clear = 0.04 * shape[1 - axis]
            starts = [o.bounds[axis] for o in line]
            ends = [o.bounds[axis + 2] for o in line]
            gap = line[1].centroid[axis] - line[0].centroid[axis]
            if gap > clear and starts[0] < min(starts[1:]):
                yield _one(scene, f"the {words[0]} {group.noun}", line[0], "extreme")
            gap = line[-1].centroid[axis] - line[-2].centroid[axis]
            if gap > clear and ends[-1] > max(ends[:-1]):
                yield _one(scene, f"the {words[1]} {group.noun}", line[-1], "extreme")


def _one(scene: DrawnScene, text: str, member: SceneObject, kind: str) -> Maker:
    return lambda: select(scene, text, [member], kind)


def relation_expressions(scene: DrawnScene) -> Iterator[Maker]:
    """Yield sentences about the object nearest to a landmark, of which there is one alone."""
    groups = noun_groups(scene)
    landmarks = [g for g in groups if len(g.members) == 1]
    for group in groups:
        if len(group.members) < 2:
            continue
        for landmark in landmarks:
            anchor = landmark.members[0]
            if anchor.class_name == group.members[0].class_name:
                continue
            if _visible(scene, anchor) < _LEGIBLE:
                continue
            nearest = clearly_nearest(scene, group.members, scene.mask(anchor.instance))
            if nearest is not None:
                text = f"the {group.noun} closest to the {landmark.noun}"
                yield _one(scene, text, nearest, "relation")


def clearly_nearest(
    scene: DrawnScene, members: Sequence[SceneObject], target: NDArray[np.bool_]
) -> SceneObject | None:
    """Return the object nearest to a mask by its centre and by its edge, or None if in doubt."""
    rows, columns = np.nonzero(target)
    if len(rows) == 0 or len(members) < 2:
        return None
    step = max(1, len(rows) // 2000)
    points = np.stack([columns[::step], rows[::step]], axis=1).astype(np.float32)
    distances = [
        float(np.hypot(*(points - np.asarray(o.centroid, np.float32)).T).min()) for o in members
    ]
    numbers = [o.instance for o in members]
    edges = ndimage.minimum(ndimage.distance_transform_edt(~target), scene.instances, numbers)
    nearest = _clear_minimum(scene, distances)
    return members[nearest] if nearest == _clear_minimum(scene, edges) >= 0 else None


def _clear_minimum(scene: DrawnScene, distances: Sequence[float]) -> int:
    """Return the index of the least distance in pixels, or -1 when the next is about as small."""
    first, second, *_ = np.argsort(distances)
    margin = 0.015 * math.hypot(*scene.instances.shape)
    if distances[second] < _CLEAR * distances[first]:
        return -1
    return -1 if distances[second] - distances[first] < margin else int(first)


def count_expressions(scene: DrawnScene) -> Iterator[Maker]:
    """Yield sentences that name how many objects are meant: all of a noun, or the largest few."""
    for group in noun_groups(scene):
        count = len(group.members)
        if 2 <= count < len(NUMBERS):
            text = f"the {NUMBERS[count]} {group.plural}"
            yield lambda text=text, group=group: select(  # type: ignore[misc]
                scene, text, group.members, "count"
            )
        by_area = sorted(group.members, key=lambda o: -o.area)
        for few in (2, 3):
            if count > few and by_area[few - 1].area > _CLEAR * by_area[few].area:
                text = f"the {NUMBERS[few]} largest {group.plural}"
                chosen = by_area[:few]
                yield lambda text=text, chosen=chosen: select(  # type: ignore[misc]
                    scene, text, chosen, "count"
                )
