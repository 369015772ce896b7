"""Whether an instruction means one thing, and which part of an answer that is.

"The largest building" means one building. A network that hesitates between two marks parts of
both, and only one of them can be right: the part with the most evidence is kept. The rule for the
words is in English and careful, as a wrong *one* would lose what was found. The words before
*with*, *in*, *closest to*, *standing* and the like name the thing, the last of them is its noun:

1. A question, coordinates, a list, or a word such as *all*, *each*, *and* or *except* anywhere, or
   *of* before a plural: any number.
2. Any word of the name is a plural, or its noun has none (*grass*), stands for many (*row*), or is
   drawn out, so that other things cover it in places (*road*): any number.
3. A superlative before the noun: one thing.
4. *The* before a noun of a list of things that are seen as a whole, of which something more is told
   (a known adjective before it, or anything behind it): one thing.
5. Everything else: any number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .prompts import TaskChoice
from .view_choice import is_superlative
from .wording import ADJECTIVES, JOINING, is_counted, is_number, is_plural, name_of, words_of

_ONE = frozenset({"the", "this", "that"})
_THINGS = frozenset({
    "building", "house", "villa", "annexe", "shed", "garage", "hall", "warehouse", "barn", "silo",
    "tank", "tower", "church", "mosque", "temple", "school", "hospital", "stadium", "factory",
    "shop", "hotel", "station", "castle", "ruin", "hut", "cabin", "cottage", "bungalow", "roof",
    "greenhouse", "tent", "container", "crane", "turbine", "chimney", "pylon", "bridge", "pier",
    "jetty", "dock", "fountain", "monument", "car", "vehicle", "van", "truck", "lorry", "bus",
    "tram", "train", "plane", "airplane", "helicopter", "ship", "boat", "ferry", "yacht", "tree",
    "conifer", "palm", "bush", "pool", "pond", "lake", "island", "court", "pitch", "field", "lot",
    "garden", "playground", "park", "roundabout", "square", "vineyard", "thing", "object",
})  # fmt: skip
_TOUCHING = np.ones((3, 3), np.bool_)
_LEAST = 1e-6


def means_one_thing(instruction: str, task: TaskChoice = "auto") -> bool:
    """Tell whether an instruction means exactly one thing; see the module's rule.

    Args:
        instruction: What is asked.
        task: How it is meant; ``reasoning`` counts as a question.
    """
    said = words_of(instruction, task) or []
    pointed = bool(said) and said[0] in _ONE
    name = name_of(said[pointed:])
    if not name or any(word in JOINING or is_number(word) for word in said):
        return False
    if any(is_plural(word) for word in name) or not is_counted(name[-1]) or _is_of_several(said):
        return False
    if any(is_superlative(word) for word in name[:-1]):
        return True
    more = len(said) > pointed + len(name) or any(word in ADJECTIVES for word in name)
    return pointed and more and name[-1] in _THINGS


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


def _is_of_several(said: Sequence[str]) -> bool:
    """Tell whether a plural follows *of*: the roof of the buildings."""
    return "of" in said and any(is_plural(word) for word in name_of(said[said.index("of") + 1 :]))


def _log_odds(probability: NDArray[np.float32] | np.float32) -> NDArray[np.float64]:
    clipped = np.clip(np.asarray(probability, np.float64), _LEAST, 1.0 - _LEAST)
    odds: NDArray[np.float64] = np.log(clipped) - np.log1p(-clipped)
    return odds
