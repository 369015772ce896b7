"""Background prompts: what a pixel may also be, although the user did not name it.

A softmax over the named classes gives every pixel one of them, so that a run for roads alone would
map everything as road. Therefore generic words of land cover that the user did not name compete
in the background, and pixels that match these better stay unclassified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .queries import ClassQueries

# Each group competes unless the user names one of its words or of the wider words after them.
_GROUPS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("building", "roof"),
        ("buildings", "roofs", "rooftop", "house", "houses", "facade", "home", "hall", "warehouse",
         "impervious surface"),
    ),
    (
        ("road", "street"),
        ("roads", "streets", "asphalt", "pavement", "highway", "motorway", "paved road",
         "paved area", "impervious surface", "parking lot"),
    ),
    (
        ("tree", "forest"),
        ("trees", "tree crown", "canopy", "high vegetation", "vegetation", "woodland",
         "tree canopy", "plants"),
    ),
    (
        ("grass",),
        ("vegetation", "meadow", "lawn", "turf", "grassland", "rangeland", "pasture",
         "low vegetation", "plants", "agricultural"),
    ),
    (
        ("field",),
        ("fields", "vegetation", "crop", "crops", "cropland", "farmland", "agriculture",
         "agricultural", "agricultural land", "arable land", "low vegetation"),
    ),
    (
        ("water",),
        ("water body", "river", "stream", "canal", "lake", "reservoir", "lagoon", "sea", "ocean",
         "pond", "pool", "swimming pool"),
    ),
    (
        ("bare soil", "sand"),
        ("land", "ground", "soil", "dirt", "earth", "bare land", "bare ground", "open ground",
         "barren", "barren land", "bareland", "unpaved land", "desert", "beach"),
    ),
    (("car",), ("cars", "vehicle", "vehicles", "automobile", "truck", "bus", "van")),
    (("background",), ("clutter", "other", "others", "rest", "unlabeled")),
)  # fmt: skip
_EVERYTHING_ELSE = frozenset(word for group in _GROUPS[-1] for word in group)


@dataclass(frozen=True)
class BackgroundPrompts:
    """The texts of one run.

    Attributes:
        queries: The named classes, then the background prompts as one more class, if any.
        named: Number of named classes.
    """

    queries: ClassQueries
    named: int


def add_background_prompts(classes: Sequence[Sequence[str]], rivals: bool) -> BackgroundPrompts:
    """Return the texts to compare with.

    Args:
        classes: For each named class its words.
        rivals: Whether land cover that is not named competes. A class such as ``background``
            already stands for it, so that nothing is added. With a single class it always
            competes, as that class would win everywhere otherwise.
    """
    words = {word.lower() for synonyms in classes for word in synonyms}
    competing = rivals or len(classes) == 1
    if not competing or words & _EVERYTHING_ELSE:
        return BackgroundPrompts(ClassQueries.from_synonyms(classes), len(classes))
    unnamed = [
        word
        for group, wider in _GROUPS
        if not words.intersection(group) and not words.intersection(wider)
        for word in group
    ]
    return BackgroundPrompts(ClassQueries.from_synonyms([*classes, unnamed]), len(classes))


def different_things(words: Sequence[str]) -> list[str]:
    """Return the words of one class that name different land cover, one for each kind.

    Args:
        words: Synonyms of a class.

    Returns:
        At least two words of which no two mean the same, or nothing.
    """
    kinds: list[tuple[str, set[int]]] = []
    for word in words:
        groups = {
            number
            for number, (group, wider) in enumerate(_GROUPS)
            if word.lower() in group or word.lower() in wider
        }
        if groups and all(not groups & known for _, known in kinds):
            kinds.append((word, groups))
    return [word for word, _ in kinds] if len(kinds) > 1 else []
