"""The words that a model knows, read from its card, in plain Python."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, FrozenSet, Iterable, List, Optional, Tuple

DEFAULT_MODEL = "offline-small"
_ZOO = Path(__file__).resolve().parents[2] / "engine" / "zoo"
_WORD = re.compile(r"[^\W_]+")
_CLOSENESS = 0.7
_MOST_COMPLETIONS = 12


@dataclass(frozen=True)
class Vocabulary:
    """What a model knows.

    Attributes:
        words: Every known word in lower case; None when all words are known.
        phrases: Names and synonyms of the classes that the model was trained with, the best first.
    """

    words: Optional[FrozenSet[str]] = None
    phrases: Tuple[str, ...] = ()

    def unknown(self, text: str) -> List[Tuple[int, int]]:
        """Return start and length of each word of ``text`` that the model does not know."""
        if self.words is None:
            return []
        return [
            (found.start(), len(found.group()))
            for found in _WORD.finditer(text)
            if found.group().casefold() not in self.words
        ]

    def completions(self, start: str) -> List[str]:
        """Return known phrases that begin with ``start``, the shortest first; none for none."""
        start = start.casefold().lstrip()
        if not start:
            return []
        known = dict.fromkeys((*self.phrases, *sorted(self.words or ())))
        found = [phrase for phrase in known if phrase.startswith(start) and phrase != start]
        return sorted(found, key=len)[:_MOST_COMPLETIONS]

    def similar(self, word: str) -> List[str]:
        """Return known words that are spelt like ``word``, the closest first."""
        return difflib.get_close_matches(word.casefold(), sorted(self.words or ()), 3, _CLOSENESS)

    def is_class(self, text: str) -> bool:
        """Return whether ``text`` is the name of a class, or one known word."""
        phrase = " ".join(text.casefold().split())
        return phrase in self.phrases or (self.words is not None and phrase in self.words)


@dataclass(frozen=True)
class ModelCard:
    """The facts of a preset that the dock needs.

    Attributes:
        name: Preset name.
        classes: What its text encoder knows, for classes.
        sentences: What it knows of instructions.
        pixel_size: The preferred pixel size in metres, None when any will do.
        cell: Pixels along a cell of the network that finds classes, None if unknown.
    """

    name: str
    classes: Vocabulary = Vocabulary()
    sentences: Vocabulary = Vocabulary()
    pixel_size: Optional[float] = None
    cell: Optional[int] = None


def read_card(name: str, folders: Iterable[Path] = ()) -> ModelCard:
    """Return the card of a preset; a preset that cannot be read knows all words.

    Args:
        name: Preset name, or a folder with a ``card.json``; empty for the built-in models.
        folders: Model folders of the user.
    """
    name = name or DEFAULT_MODEL
    own = [folder / name / "card.json" for folder in folders]
    places = [
        *own,
        Path(name) / "card.json",
        _ZOO / "builtin" / name / "card.json",
        _ZOO / "cards" / f"{name}.json",
    ]
    for path in places:
        card = _read_json(path)
        if card:
            return ModelCard(
                name,
                _read_vocabulary(path.parent, card),
                _read_vocabulary(path.parent, _member(card, "unigeoseg")),
                _number(_member(card, "pixel_size").get("preferred")),
                _patch(_member(card, "dino")) or _patch(_member(card, "clip")),
            )
    return ModelCard(name)


def _read_vocabulary(folder: Path, card: Dict[str, Any]) -> Vocabulary:
    file = _member(card, "vocabulary").get("file")
    if not isinstance(file, str):
        return Vocabulary()
    content = _read_json(folder / file)
    words = [word for word in content.get("words", ()) if isinstance(word, str)]
    phrases: List[str] = []
    for name, synonyms in _member(content, "classes").items():
        phrases.append(name.casefold())
        if isinstance(synonyms, list):
            phrases += [synonym.casefold() for synonym in synonyms if isinstance(synonym, str)]
    known = {part for text in (*words, *phrases) for part in _WORD.findall(text.casefold())}
    return Vocabulary(frozenset(known), tuple(dict.fromkeys(phrases))) if known else Vocabulary()


def _read_json(path: Path) -> Dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _member(content: Dict[str, Any], name: str) -> Dict[str, Any]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def _patch(network: Dict[str, Any]) -> Optional[int]:
    """Return the pixels along a patch of a network: of its arguments, else of its name."""
    arguments, model = _member(network, "arguments"), network.get("model")
    vision = _member(_member(network, "model"), "vision_cfg")
    for value in (arguments.get("patch_size"), vision.get("patch_size")):
        if isinstance(value, int) and value > 0:
            return value
    found = re.search(r"patch(\d+)", model) if isinstance(model, str) else None
    return int(found[1]) if found else None


def _number(value: Any) -> Optional[float]:
    return float(value) if isinstance(value, (int, float)) and value > 0 else None
