"""Classes as text: ``building, roof, house; road; water =#3060c0``.

Semicolons separate classes, commas separate synonyms, ``=#rrggbb`` after a class gives its colour.
The name of a published legend (`LEGENDS`) stands for that legend. The text is parsed once, where a
job is made; jobs hold the classes themselves.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Dict, List, Sequence, Set, Tuple

from .errors import ErrorCode, JobError
from .plain_text import plain_text

MAXIMUM_CLASSES = 254
"""0 and 255 mean something else in the 8-bit rasters of class numbers."""
LONGEST_WORD = 200
MOST_SYNONYMS = 64
EVERYTHING_ELSE = "(everything else)"
_COLOR = re.compile(r"=\s*(#[0-9a-fA-F]{6})\s*$")
_PLAIN_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_DATA: Dict[str, Dict[str, str]] = json.loads(
    (Path(__file__).parent / "legends.json").read_text(encoding="utf-8")
)
LEGENDS: Dict[str, str] = _DATA["legends"]
_WORD_COLORS: Dict[str, str] = _DATA["word_colors"]
_PALETTE: List[str] = _DATA["palette"]["colors"].split()


@dataclass(frozen=True)
class LegendClass:
    """One class: its id in rasters (from 1), its synonyms (first one names it), its colour."""

    class_id: int
    synonyms: Tuple[str, ...]
    color: str

    @property
    def name(self) -> str:
        """The word that names the class in legends and attribute tables."""
        return self.synonyms[0]


@lru_cache(maxsize=16)
def parse_classes(text: str) -> Tuple[LegendClass, ...]:
    """Return the classes of a class text.

    Args:
        text: Class text, or the name of a published legend in any case.

    Raises:
        JobError: ``INVALID_CLASSES`` when there is no class, an empty class, a word in two
            classes, a malformed colour or more than 254 classes.
    """
    known = {name.lower(): legend for name, legend in LEGENDS.items()}
    text = known.get(text.strip().lower(), text)
    parts = [part.strip() for part in re.split(r";\s*|\n\s*", plain_text(text).strip())]
    while parts and not parts[-1]:
        parts.pop()
    drafts = [_parse_class(part, number) for number, part in enumerate(parts, start=1)]
    _check_words([synonyms for synonyms, _ in drafts])
    taken = {color for _, color in drafts if color}
    classes = []
    for number, (synonyms, color) in enumerate(drafts, start=1):
        chosen = color or _default_color(synonyms, taken)
        taken.add(chosen)
        classes.append(LegendClass(number, synonyms, chosen))
    return tuple(classes)


def check_classes(classes: Tuple[LegendClass, ...]) -> None:
    """Refuse classes that no class text gives.

    Raises:
        JobError: ``INVALID_CLASSES``, see `parse_classes`; also for numbers that do not count from
            1 and for colours that are not ``#rrggbb``.
    """
    _check_words([item.synonyms for item in classes])
    for number, item in enumerate(classes, start=1):
        if item.class_id != number:
            raise _invalid(
                f"Class {number} has the number {item.class_id}.",
                "Number the classes from 1 in their order.",
            )
        if not _PLAIN_COLOR.fullmatch(item.color):
            raise _invalid(
                f"The colour of class {number}, {item.color!r}, cannot be read.",
                "Write it as six hexadecimal digits, such as #808080.",
            )


def format_classes(classes: Tuple[LegendClass, ...]) -> str:
    """Return the class text that parses to ``classes``."""
    return "; ".join(f"{', '.join(item.synonyms)} ={item.color}" for item in classes)


def parse_thresholds(text: str, names: Tuple[str, ...]) -> Tuple[float, ...]:
    """Return one threshold in 0..1 for each class name.

    Args:
        text: One number for all, or ``class: number`` pairs separated by semicolons; classes that
            are not mentioned get 0.
        names: Class names in order.

    Raises:
        JobError: ``INVALID_CLASSES`` for an unknown class or a number outside 0..1.
    """
    pairs = [part.strip() for part in re.split(r"[;\n]", text) if part.strip()]
    if len(pairs) == 1 and ":" not in pairs[0]:
        return (_threshold(pairs[0]),) * len(names)
    values = dict.fromkeys((name.lower() for name in names), 0.0)
    for pair in pairs:
        name, _, number = pair.rpartition(":")
        key = name.strip().lower()
        if key not in values:
            raise _invalid(
                f"The thresholds name {name.strip()!r}, which is not a class here.",
                f"The classes are {', '.join(names)}.",
            )
        values[key] = _threshold(number)
    return tuple(values[name.lower()] for name in names)


def _threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise _invalid(
            f"{text.strip()!r} is not a threshold.", "Write a number from 0 to 1, such as 0.4."
        )
    return value


def _invalid(message: str, hint: str) -> JobError:
    return JobError(ErrorCode.INVALID_CLASSES, message, hint)


def _parse_class(part: str, number: int) -> Tuple[Tuple[str, ...], str]:
    found = _COLOR.search(part)
    color = found.group(1).lower() if found else ""
    words = part[: found.start()] if found else part
    if "=" in words:
        raise _invalid(
            f"The colour of class {number} in {part!r} cannot be read.",
            "Write it as six hexadecimal digits: road =#808080.",
        )
    synonyms = tuple(" ".join(word.split()) for word in words.split(",") if word.strip())
    return synonyms, color


def _check_words(classes: Sequence[Tuple[str, ...]]) -> None:
    if not classes:
        raise _invalid(
            "No classes were given.",
            "Write the names of classes, separated by semicolons: building; road.",
        )
    if len(classes) > MAXIMUM_CLASSES:
        raise _invalid(
            f"There are {len(classes)} classes.", f"Use at most {MAXIMUM_CLASSES} in one run."
        )
    seen: Dict[str, int] = {}
    for number, synonyms in enumerate(classes, start=1):
        if not synonyms or not all(word.strip() for word in synonyms):
            raise _invalid(
                f"Class {number} has no name.", "Give it a name or remove its semicolon."
            )
        if len(synonyms) > MOST_SYNONYMS or max(map(len, synonyms)) > LONGEST_WORD:
            raise _invalid(
                f"Class {number} has too many synonyms or too long a name.",
                f"Use at most {MOST_SYNONYMS} synonyms of at most {LONGEST_WORD} characters.",
            )
        for word in synonyms:
            if word != plain_text(word):
                raise _invalid(
                    f"The word {word!r} of class {number} holds control characters.",
                    "Type the word again.",
                )
            first = seen.setdefault(word.lower(), number)
            if first != number:
                raise _invalid(
                    f"The word {word!r} stands in class {first} and in class {number}.",
                    "Keep each word in one class only.",
                )


def _default_color(synonyms: Tuple[str, ...], taken: Set[str]) -> str:
    for synonym in synonyms:
        for word in [synonym.lower(), *reversed(synonym.lower().split())]:
            color = _WORD_COLORS.get(word)
            if color and color not in taken:
                return color
    free = [color for color in _PALETTE if color not in taken]
    if free:
        return free[0]
    index = len(taken)
    return f"#{(index * 73) % 256:02x}{(index * 151) % 256:02x}{(index * 199) % 256:02x}"
