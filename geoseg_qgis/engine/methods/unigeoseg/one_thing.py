"""Whether an instruction means one thing, and which part of an answer that is.

"The largest building" means one building. A network that hesitates between two marks parts of
both, and only one of them can be right: the part with the most evidence is kept. The rule for the
words is in English and careful, as a wrong *one* would lose what was found. The words before
*with*, *in*, *closest to*, *parked* and the like name the thing, the last of them is its noun:

1. A question, coordinates, or a word such as *all*, *each*, *and* or *except* anywhere: any number.
2. Any word of the name is a plural, or its noun has none (*grass*), stands for many (*row*), or is
   drawn out, so that other things cover it in places (*road*): any number.
3. A superlative before the noun, or *the* before a noun of which something more is told (a known
   adjective before it, or anything behind it): one thing.
4. Everything else: any number.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg_qgis.engine.models.unigeoseg.coordinates import parse_coordinates
from geoseg_qgis.engine.models.unigeoseg.tasks import Task

from .prompts import TaskChoice, choose_task
from .view_choice import NUMBERS, VERBS, WORD, is_superlative

_ONE = frozenset({"the", "this", "that"})
_SEVERAL = NUMBERS | {
    "and", "or", "but", "not", "no", "except", "without", "all", "every", "everything", "each",
    "any", "some", "many", "few", "most", "other", "others", "these", "those", "them", "than",
    "larger", "smaller", "bigger",
}  # fmt: skip
_JOINTS = frozenset({
    "with", "in", "at", "on", "near", "nearest", "next", "closest", "closer", "close", "beside",
    "by", "between", "behind", "of", "to", "from", "under", "above", "below", "along", "inside",
    "outside", "within", "that", "which", "whose", "where", "opposite", "adjacent", "left", "right",
    "north", "south", "east", "west", "around", "across", "over", "beyond", "into", "for", "among",
    "against", "before", "after", "far", "farthest", "is", "are",
})  # fmt: skip
_ADJECTIVES = frozenset({
    "white", "black", "grey", "gray", "silver", "red", "blue", "brown", "orange", "green",
    "beige", "yellow", "pink", "purple", "turquoise", "dark", "bright", "light", "large", "big",
    "small", "little", "long", "short", "tall", "wide", "narrow", "round", "circular", "oval",
    "square", "rectangular", "shaped", "flat", "only", "single", "central", "lone", "isolated",
    "wooden", "empty", "old", "new", "ruined", "roofed", "tiled", "ploughed", "terraced",
    "abandoned", "flooded", "damaged", "destroyed", "collapsed", "burnt",
})  # fmt: skip
_NOT_COUNTED = frozenset({
    # Without a plural.
    "grass", "water", "vegetation", "sand", "soil", "earth", "land", "ground", "asphalt",
    "concrete", "gravel", "rubble", "debris", "snow", "ice", "mud", "traffic", "greenery", "area",
    "part", "half", "side", "rest", "shadow", "shade", "housing", "wheat", "maize", "rape", "crop",
    # Many things in one word.
    "row", "rows", "group", "cluster", "line", "block", "set", "pile", "fleet", "pair", "estate",
    "settlement", "village", "town", "city", "neighbourhood", "plantation", "orchard",
    # Drawn out, and cut apart by what lies over them.
    "road", "street", "highway", "motorway", "path", "footpath", "walkway", "track", "trail",
    "lane", "runway", "taxiway", "river", "stream", "creek", "canal", "ditch", "railway", "rail",
    "sidewalk", "pavement", "driveway", "wall", "fence", "hedge", "shore", "shoreline", "bank",
    "coast", "coastline", "beach", "sea", "forest", "wood", "yard",
})  # fmt: skip
_PLURALS = frozenset({
    "people", "men", "women", "children", "aircraft", "cattle", "sheep", "livestock", "taxis",
})  # fmt: skip
_NO_PLURALS = frozenset({"sports", "tennis", "gas", "bus", "glass", "campus", "canvas"})
_NO_PARTICIPLES = frozenset({
    "building", "swimming", "parking", "landing", "sailing", "fishing", "loading", "riding",
    "clearing", "crossing", "opening", "siding", "spring", "wing", "ring", "thing", "something",
    "shed", "red", "bed", "reed",
})  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u")
_SINGULAR_ENDS = ("ss", "us", "is")
_TOUCHING = np.ones((3, 3), np.bool_)
_LEAST = 1e-6


def means_one_thing(instruction: str, task: TaskChoice = "auto") -> bool:
    """Tell whether an instruction means exactly one thing; see the module's rule.

    Args:
        instruction: What is asked.
        task: How it is meant; ``reasoning`` counts as a question.
    """
    if parse_coordinates(instruction) is not None or task == "reasoning":
        return False
    if task == "auto" and choose_task(instruction) is Task.REASONING:
        return False
    words = [word.casefold() for word in WORD.findall(instruction)]
    said = list(itertools.dropwhile(VERBS.__contains__, words))
    pointed = bool(said) and said[0] in _ONE
    name = name_of(said[pointed:])
    if not name or any(word in _SEVERAL or word.isdigit() for word in said):
        return False
    if any(_is_plural(word) for word in name) or not _is_counted(name[-1]):
        return False
    if any(is_superlative(word) for word in name[:-1]):
        return True
    more = len(said) > pointed + len(name) or any(word in _ADJECTIVES for word in name)
    return pointed and more


def name_of(said: Sequence[str]) -> list[str]:
    """Return the words up to the first that tells where a thing is or what it has or does."""
    ends = (index for index, word in enumerate(said) if _tells_more(word, index))
    return list(said[: next(ends, len(said))])


def plural_of(noun: str) -> str:
    """Return the plural of a noun; a plural stays."""
    if _is_plural(noun):
        return noun
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in _VOWELS:
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def keep_one(probability: NDArray[np.float32], threshold: float) -> tuple[NDArray[np.float32], int]:
    """Keep the connected part of an answer that has the most evidence.

    The evidence of a part is the mean of its pixels' log odds, beyond those of the threshold,
    times the square root of their number: a large part does not win by its size alone, nor a few
    pixels by being certain.

    Args:
        probability: (H, W), 0..1.
        threshold: Probability above which a pixel belongs to the answer.

    Returns:
        The probability, 0 at the parts that are left out and at the pixels nearer to them than to
        the one that is kept, and the number of those parts.
    """
    found = probability > np.float32(threshold)
    labels, count = ndimage.label(found, _TOUCHING)
    if count < 2:
        return probability, 0
    odds = _log_odds(probability) - _log_odds(np.float32(threshold))
    numbers = np.arange(1, count + 1)
    sums = ndimage.sum(odds, labels, numbers)
    strongest = 1 + int(np.argmax(sums / np.sqrt(np.bincount(labels.ravel())[1:])))
    rows, columns = ndimage.distance_transform_edt(
        ~found, return_distances=False, return_indices=True
    )
    kept = labels[rows, columns] == strongest
    return np.where(kept, probability, np.float32(0.0)), count - 1


def _tells_more(word: str, index: int) -> bool:
    if word in _JOINTS:
        # "The nearest house": a superlative at the beginning.
        return not (index == 0 and is_superlative(word))
    participle = word.endswith(("ed", "ing")) and word not in _NO_PARTICIPLES | _ADJECTIVES
    return index > 0 and participle


def _is_plural(word: str) -> bool:
    if word in _PLURALS:
        return True
    return word.endswith("s") and not word.endswith(_SINGULAR_ENDS) and word not in _NO_PLURALS


def _is_counted(noun: str) -> bool:
    land = noun.endswith("land") and noun != "island"
    return not land and noun not in _NOT_COUNTED | _ADJECTIVES


def _log_odds(probability: NDArray[np.float32] | np.float32) -> NDArray[np.float64]:
    clipped = np.clip(np.asarray(probability, np.float64), _LEAST, 1.0 - _LEAST)
    odds: NDArray[np.float64] = np.log(clipped) - np.log1p(-clipped)
    return odds
