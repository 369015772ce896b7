"""What the text of the page means: classes or one instruction, in plain Python."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Dict, List, Tuple

from ...protocol.errors import JobError
from ...protocol.legend import LEGENDS, LegendClass, parse_classes
from .vocabulary import ModelCard, Vocabulary

_COLOR = re.compile(r"=\s*#?\w*")
# Words that no name of a class has, for models that know every word.
_INSTRUCTION_WORDS = {
    *("a", "all", "an", "any", "are", "at", "below", "between", "can", "could", "do", "does"),
    *(
        "every",
        "find",
        "in",
        "is",
        "largest",
        "left",
        "map",
        "next",
        "of",
        "on",
        "right",
        "segment",
    ),
    *("show", "smallest", "that", "the", "to", "what", "where", "which", "with", "you"),
}
_LONGEST_NAME = 3


class Kind(Enum):
    """What a text is."""

    NOTHING = "nothing"
    CLASSES = "classes"
    SENTENCE = "sentence"


@dataclass(frozen=True)
class Meaning:
    """A text, understood.

    Attributes:
        kind: See `Kind`.
        classes: The classes, for a list of these.
        problem: Why a list of classes cannot be read.
        unknown: Start and length of each word that the model does not know.
    """

    kind: Kind
    classes: Tuple[LegendClass, ...] = ()
    problem: str = ""
    unknown: Tuple[Tuple[int, int], ...] = ()


def understand(text: str, card: ModelCard) -> Meaning:
    """Return what ``text`` means to a model.

    Semicolons, lines, a colour or the name of a legend make a list of classes, and so does the
    name of a single class that the model knows. Everything else is an instruction.
    """
    if not text.strip():
        return Meaning(Kind.NOTHING)
    if not _is_list(text, card.classes):
        return Meaning(Kind.SENTENCE, unknown=tuple(card.sentences.unknown(text)))
    try:
        classes = parse_classes(text)
    except JobError as error:
        return Meaning(Kind.CLASSES, problem=str(error))
    if _is_legend(text):
        return Meaning(Kind.CLASSES, classes)
    # Colours are blanked out, so that places stay the same.
    words = _COLOR.sub(lambda found: " " * len(found.group()), text)
    return Meaning(Kind.CLASSES, classes, unknown=tuple(card.classes.unknown(words)))


def _is_list(text: str, vocabulary: Vocabulary) -> bool:
    if _is_legend(text) or any(mark in text.strip() for mark in (";", "\n", "=#")):
        return True
    parts = [part for part in text.split(",") if part.strip()]
    if vocabulary.words is not None:
        return all(vocabulary.is_class(part) for part in parts)
    return "?" not in text and all(_may_be_name(part) for part in parts)


def _is_legend(text: str) -> bool:
    return text.strip().casefold() in {name.casefold() for name in LEGENDS}


def _may_be_name(text: str) -> bool:
    words = text.casefold().split()
    return len(words) <= _LONGEST_NAME and not _INSTRUCTION_WORDS & set(words)


def completion_start(text: str, cursor: int) -> str:
    """Return the part of ``text`` before ``cursor`` that a completion replaces: a synonym."""
    return re.split(r"[;,\n]", text[:cursor])[-1].lstrip()


def thresholds_text(thresholds: Dict[str, float], names: List[str]) -> str:
    """Return thresholds as ``geoseg:reclassify`` takes them."""
    return "; ".join(f"{name}: {thresholds.get(name, 0.0):g}" for name in names)
