"""Whether an instruction needs the whole extent in view, or may be asked tile by tile.

"The largest roof on the left" means one thing of the extent, and only a view of all of it can tell
which. "All roofs" means the same in every part, so small parts at full detail find more. The rule,
in this order:

1. Coordinates, questions, words of position, comparison, relation or number: the whole extent.
2. A first word such as *the*, *a* or *this*, which points at one thing: the whole extent.
3. Everything else (*all*, *every*, *each*, or a noun without an article): tiles.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from enum import Enum

from geoseg_qgis.engine.models.unigeoseg.coordinates import parse_coordinates
from geoseg_qgis.engine.models.unigeoseg.tasks import Task

from .prompts import TaskChoice, choose_task

_POINTING = frozenset({"the", "a", "an", "this", "that", "these", "those", "one", "my", "our"})
_PLACES = frozenset({
    "left", "right", "top", "bottom", "upper", "lower", "north", "northern", "south", "southern",
    "east", "eastern", "west", "western", "northeast", "northwest", "southeast", "southwest",
    "corner", "centre", "center", "central", "middle", "edge", "border", "side", "half", "quarter",
})  # fmt: skip
_COMPARISONS = frozenset({
    "larger", "bigger", "smaller", "longer", "shorter", "wider", "narrower", "taller",
    "brighter", "darker", "second", "third", "fourth", "first", "last", "only", "other", "same",
})  # fmt: skip
_RELATIONS = frozenset({
    "next", "near", "nearby", "beside", "besides", "between", "behind", "before", "above",
    "below", "under", "beneath", "along", "around", "inside", "within", "outside", "surrounded",
    "surrounding", "adjacent", "close", "closer", "far", "farther", "opposite", "across",
    "touching", "facing", "connected", "front", "than",
})  # fmt: skip
NUMBERS = frozenset({
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "both", "pair", "dozen", "several",
})  # fmt: skip
_FARTHEST = frozenset({
    "leftmost", "rightmost", "topmost", "bottommost", "uppermost", "lowermost", "most", "least",
})  # fmt: skip
_NO_SUPERLATIVES = frozenset({
    "forest", "rainforest", "rest", "test", "harvest", "nest", "chest", "interest", "request",
    "northwest", "southwest", "guest", "quest",
})  # fmt: skip
VERBS = frozenset({
    "please", "segment", "find", "show", "me", "map", "select", "mark", "outline", "extract",
})  # fmt: skip
WORD = re.compile(r"[^\W_]+")


class View(str, Enum):
    """How an extent that is larger than a tile is looked at."""

    WHOLE = "whole"
    TILES = "tiles"


@dataclass(frozen=True)
class ViewChoice:
    """A view and what in the instruction asks for it."""

    view: View
    reason: str


def choose_view(instruction: str, task: TaskChoice = "auto") -> ViewChoice:
    """Choose between one view of the whole extent and tiles; see the module's rule.

    Args:
        instruction: What is asked.
        task: How it is meant; ``reasoning`` counts as a question.
    """
    if parse_coordinates(instruction) is not None:
        return ViewChoice(View.WHOLE, "it names a place by coordinates")
    if task == "reasoning" or (task == "auto" and choose_task(instruction) is Task.REASONING):
        return ViewChoice(View.WHOLE, "it is a question about the whole scene")
    words = [word.casefold() for word in WORD.findall(instruction)]
    telling = next((word for word in words if _needs_surroundings(word)), None)
    if telling is not None:
        return ViewChoice(View.WHOLE, f"'{telling}' is told from the whole scene")
    said = list(itertools.dropwhile(VERBS.__contains__, words))
    if said and said[0] in _POINTING:
        return ViewChoice(View.WHOLE, f"'{said[0]}' points at one thing of the scene")
    return ViewChoice(View.TILES, "it means everything of a kind")


def is_superlative(word: str) -> bool:
    """Tell whether a word is a superlative: *largest*, *leftmost*, *most*."""
    if word in _FARTHEST:
        return True
    return len(word) > 4 and word.endswith("est") and word not in _NO_SUPERLATIVES


def _needs_surroundings(word: str) -> bool:
    if word in _PLACES or word in _COMPARISONS or word in _RELATIONS or word in NUMBERS:
        return True
    return word.isdigit() or is_superlative(word)
