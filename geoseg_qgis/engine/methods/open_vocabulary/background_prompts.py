"""Rival words: what a pixel may also be, though the user did not name it.

A softmax over the named classes gives every pixel one of them: asked for roads alone, it maps
everything as road. So generic land-cover words that the user did not name compete unseen, and
pixels that look more like these stay unclassified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .queries import ClassQueries

# Each group competes unless one of its words, or of the wider words behind, is named.
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
        queries: Named classes first, then the rivals as one more class, if there are any.
        named: Number of named classes.
    """

    queries: ClassQueries
    named: int


def add_background_prompts(classes: Sequence[Sequence[str]], rivals: bool) -> BackgroundPrompts:
    """Return the texts to compare with.

    Args:
        classes: For each named class its words.
        rivals: Whether unnamed things compete. A class such as ``background`` already stands for
            them: then there are none. A single class always has rivals, as it would win
            everywhere without.
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
