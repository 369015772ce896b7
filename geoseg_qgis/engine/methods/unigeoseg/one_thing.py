"""Whether an instruction means one thing, and which part of an answer that is.

"The largest building" means one building. A network that hesitates between two marks parts of
both, and only one of them can be right: the part with the most evidence is kept. The rule for the
words is in English and careful; words that it does not know mean any number of things:

1. A question, coordinates, or a first word such as *all*: any number.
2. The noun, which is the last word before *with*, *in*, *closest to* and the like, is a plural,
   has no plural (*grass*), or names something drawn out that other things cover in places
   (*road*): any number.
3. A superlative before the noun, or *the* before a noun of which something more is told (where it
   is, what it has, its colour): one thing.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoseg_qgis.engine.models.unigeoseg.coordinates import parse_coordinates
from geoseg_qgis.engine.models.unigeoseg.tasks import Task

from .prompts import TaskChoice, choose_task
from .view_choice import NUMBERS, VERBS, WORD, is_superlative

_ONE = frozenset({"the", "this", "that"})
_JOINTS = frozenset({
    "with", "in", "at", "on", "near", "nearest", "next", "closest", "close", "beside", "by",
    "between", "behind", "of", "to", "from", "under", "above", "below", "along", "inside",
    "outside", "within", "that", "which", "whose", "where", "without", "surrounded", "opposite",
})  # fmt: skip
_ADJECTIVES = frozenset({
    "white", "black", "grey", "gray", "silver", "red", "blue", "brown", "orange", "green",
    "beige", "yellow", "pink", "purple", "turquoise", "dark", "bright", "light", "large", "big",
    "small", "little", "long", "short", "tall", "wide", "narrow", "round", "circular", "oval",
    "square", "rectangular", "shaped", "flat", "only", "single", "central", "isolated", "lone",
})  # fmt: skip
_NO_PLURAL = frozenset({
    "grass", "water", "vegetation", "sand", "soil", "land", "ground", "asphalt", "concrete",
    "gravel", "rubble", "snow", "ice", "mud", "traffic", "greenery", "area", "part", "half",
    "side", "rest", "people", "shadow", "shade",
})  # fmt: skip
_DRAWN_OUT = frozenset({
    "road", "street", "highway", "motorway", "path", "track", "trail", "river", "stream", "canal",
    "railway", "rail", "sidewalk", "pavement", "driveway", "wall", "fence", "hedge", "shoreline",
    "coast", "coastline", "beach", "sea", "forest", "wood", "yard",
})  # fmt: skip
_SINGULAR_ENDS = ("ss", "us", "is")
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
    phrase = list(itertools.takewhile(lambda word: word not in _JOINTS, said[pointed:]))
    if not phrase or any(word in NUMBERS or word.isdigit() for word in phrase):
        return False
    noun, before = phrase[-1], phrase[:-1]
    if _may_be_several(noun):
        return False
    if any(is_superlative(word) for word in before):
        return True
    more = len(said) > pointed + len(phrase) or any(word in _ADJECTIVES for word in before)
    return pointed and more


def strongest_part(probability: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Return the connected part of an answer with the most evidence, (H, W).

    The evidence of a part is the mean of its pixels' log odds, beyond those of the threshold,
    times the square root of their number: a large part does not win by its size alone, nor a few
    pixels by being certain.

    Args:
        probability: (H, W), 0..1.
        threshold: Probability above which a pixel belongs to the answer.
    """
    found = probability > np.float32(threshold)
    labels, count = ndimage.label(found)
    if count < 2:
        return found
    odds = _log_odds(probability) - _log_odds(np.float32(threshold))
    numbers = np.arange(1, count + 1)
    sums = ndimage.sum(odds, labels, numbers)
    strength = sums / np.sqrt(np.bincount(labels.ravel())[1:])
    strongest: NDArray[np.bool_] = labels == numbers[int(np.argmax(strength))]
    return strongest


def _may_be_several(noun: str) -> bool:
    plural = noun.endswith("s") and not noun.endswith(_SINGULAR_ENDS)
    return plural or noun in _NO_PLURAL or noun in _DRAWN_OUT


def _log_odds(probability: NDArray[np.float32] | np.float32) -> NDArray[np.float64]:
    clipped = np.clip(np.asarray(probability, np.float64), _LEAST, 1.0 - _LEAST)
    odds: NDArray[np.float64] = np.log(clipped) - np.log1p(-clipped)
    return odds
