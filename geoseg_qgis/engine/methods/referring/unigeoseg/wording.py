"""The words of a plain English instruction: what it names, and whether that can be counted."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from geoseg_qgis.engine.models.unigeoseg.coordinates import parse_coordinates
from geoseg_qgis.engine.models.unigeoseg.tasks import Task

from .prompts import TaskChoice, choose_task
from .view_choice import NUMBERS, VERBS, WORD, is_superlative

ADJECTIVES = frozenset({
    "white", "black", "grey", "gray", "silver", "red", "blue", "brown", "orange", "green",
    "beige", "yellow", "pink", "purple", "turquoise", "dark", "bright", "light", "large", "big",
    "small", "little", "long", "short", "tall", "wide", "narrow", "round", "circular", "oval",
    "square", "rectangular", "shaped", "flat", "only", "single", "central", "lone", "isolated",
    "wooden", "empty", "old", "new", "ruined", "roofed", "tiled", "ploughed", "terraced",
    "detached", "parked", "paved", "covered", "fenced", "abandoned", "flooded", "damaged",
    "destroyed", "collapsed", "burnt",
})  # fmt: skip
JOINING = frozenset({
    "and", "or", "but", "plus", "not", "no", "except", "without", "all", "every", "everything",
    "each", "any", "some", "many", "few", "most", "other", "others", "these", "those", "them",
    "than", "larger", "smaller", "bigger",
})  # fmt: skip
"""Words of sentences that name several things, or none in particular."""
_JOINTS = frozenset({
    "with", "in", "at", "on", "near", "nearest", "next", "closest", "closer", "close", "beside",
    "by", "between", "behind", "of", "to", "from", "under", "above", "below", "along", "inside",
    "outside", "within", "that", "which", "whose", "where", "opposite", "adjacent", "left", "right",
    "north", "south", "east", "west", "around", "across", "over", "beyond", "into", "for", "among",
    "against", "before", "after", "far", "farthest", "is", "are", "has", "have", "visible",
})  # fmt: skip
_NOT_COUNTED = frozenset({
    # Without a plural.
    "grass", "water", "floodwater", "flooding", "vegetation", "canopy", "foliage", "scrub", "algae",
    "sand", "soil", "earth", "land", "ground", "asphalt", "concrete", "gravel", "rubble", "debris",
    "snow", "ice", "mud", "smoke", "traffic", "greenery", "machinery", "area", "part", "half",
    "side", "rest", "shadow", "shade", "housing", "wheat", "maize", "corn", "rape", "rice",
    "barley", "crop",
    # Many things in one word.
    "row", "group", "cluster", "clump", "couple", "majority", "series", "line", "block", "set",
    "pile", "fleet", "pair", "network", "estate", "settlement", "village", "town", "city",
    "neighbourhood", "neighborhood", "plantation", "orchard",
    # Drawn out, and cut apart by what lies over them.
    "road", "street", "highway", "motorway", "freeway", "path", "footpath", "walkway", "track",
    "trail", "lane", "runway", "taxiway", "river", "stream", "creek", "canal", "ditch", "railway",
    "railroad", "rail", "sidewalk", "pavement", "driveway", "wall", "fence", "hedge", "shore",
    "shoreline", "bank", "coast", "coastline", "beach", "sea", "forest", "wood", "yard",
})  # fmt: skip
_PLURALS = frozenset({
    "people", "men", "women", "children", "aircraft", "watercraft", "cattle", "sheep",
    "livestock", "taxis",
})  # fmt: skip
_NO_PLURALS = frozenset({"sports", "tennis", "gas", "bus", "glass", "campus", "canvas"})
_NO_PARTICIPLES = frozenset({
    "building", "swimming", "parking", "landing", "sailing", "fishing", "loading", "riding",
    "running", "clearing", "crossing", "opening", "siding", "spring", "wing", "ring", "thing",
    "something", "shed", "red", "bed", "reed", "shaped",
})  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u")
_SINGULAR_ENDS = ("ss", "us", "is")
_LISTS = re.compile(r"[,;:&/+]")


def words_of(instruction: str, task: TaskChoice = "auto") -> list[str] | None:
    """Return the words of a plain description in lower case, without *find*, *please* and the like.

    Args:
        instruction: What is asked.
        task: How it is meant; ``reasoning`` counts as a question.

    Returns:
        None for a question, coordinates, or a text with the marks of a list.
    """
    if parse_coordinates(instruction) is not None or task == "reasoning":
        return None
    if task == "auto" and choose_task(instruction) is Task.REASONING:
        return None
    text = re.sub(r"[,\s]*\bplease\b[,\s]*", " ", instruction.casefold()).strip(" .!")
    if _LISTS.search(text):
        return None
    return list(itertools.dropwhile(VERBS.__contains__, WORD.findall(text)))


def name_of(said: Sequence[str]) -> list[str]:
    """Return the words up to the first that tells where a thing is or what it has or does."""
    ends = (index for index in range(len(said)) if _tells_more(said, index))
    return list(said[: next(ends, len(said))])


def is_plural(word: str) -> bool:
    """Tell whether a word is a plural, *sports* and *tennis* not being one."""
    if word in _PLURALS:
        return True
    return word.endswith("s") and not word.endswith(_SINGULAR_ENDS) and word not in _NO_PLURALS


def is_counted(noun: str) -> bool:
    """Tell whether a noun, no plural, names a thing of which there may be one, two, three."""
    land = noun.endswith("land") and noun != "island"
    return not (land or is_superlative(noun) or noun in _NOT_COUNTED or noun in ADJECTIVES)


def is_number(word: str) -> bool:
    """Tell whether a word is a number above one."""
    return word in NUMBERS or word.isdigit()


def plural_of(noun: str) -> str:
    """Return the plural of a noun; a plural stays."""
    if is_plural(noun):
        return noun
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in _VOWELS:
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def _tells_more(said: Sequence[str], index: int) -> bool:
    word = said[index]
    if word in _JOINTS:
        # "The nearest house": a superlative at the beginning.
        return not (index == 0 and is_superlative(word))
    if index == 0 or word in _NO_PARTICIPLES:
        return False
    # "The largest fenced yard": only what stands behind the noun ends the name.
    before = said[index - 1]
    return word.endswith(("ed", "ing")) and not (is_superlative(before) or before in ADJECTIVES)
