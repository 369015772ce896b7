"""Rival words: what a pixel may also be, though the user did not name it.

A softmax over the named classes gives every pixel one of them: asked for roads alone, it maps
everything as road. So generic land-cover words that the user did not name compete unseen, and
pixels that look more like these stay unclassified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .gumix.text import ClassQueries

# Each group competes unless one of its words, or of the wider words behind, is named.
_GROUPS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("building", "roof"), ("house", "facade", "home", "hall", "warehouse", "impervious surface")),
    (("road", "street"), ("asphalt", "pavement", "highway", "impervious surface", "parking lot")),
    (("tree", "forest"), ("vegetation", "woodland", "tree canopy", "plants")),
    (("grass",), ("vegetation", "meadow", "lawn", "low vegetation", "plants", "agricultural")),
    (("field",), ("vegetation", "cropland", "farmland", "agricultural", "low vegetation")),
    (("water",), ("river", "lake", "sea", "pond", "pool", "swimming pool")),
    (("bare soil", "sand"), ("land", "ground", "soil", "barren", "bareland", "desert")),
    (("car",), ("vehicle", "truck", "bus", "van")),
    (("background",), ("clutter", "other", "rest")),
)
_EVERYTHING_ELSE = frozenset({"background", "clutter", "other", "rest"})


@dataclass(frozen=True)
class Contest:
    """The texts of one run.

    Attributes:
        queries: Named classes first, then the rivals as one more class, if there are any.
        named: Number of named classes.
    """

    queries: ClassQueries
    named: int


def set_up_contest(classes: Sequence[Sequence[str]], rivals: bool) -> Contest:
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
        return Contest(ClassQueries.from_synonyms(classes), len(classes))
    unnamed = [
        word
        for group, wider in _GROUPS
        if not words.intersection(group) and not words.intersection(wider)
        for word in group
    ]
    return Contest(ClassQueries.from_synonyms([*classes, unnamed]), len(classes))
