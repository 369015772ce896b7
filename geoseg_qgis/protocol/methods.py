"""The methods of a task, read from the cards that lie beside their code.

A card is a JSON file ``<method>.json``, or ``method.json`` in a folder of the method::

    {"name": "fast", "title": "Fast", "help": "Coarse and quick, for a first look.", "order": 3,
     "needs": ["clip"]}

Both halves read the same cards: dialogs offer the methods, the engine runs them. Folders with
further methods are named by the variable ``GEOSEG_METHODS``, separated as in ``PATH``.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Tuple

AUTO = "auto"
VARIABLE = "GEOSEG_METHODS"
_METHODS = Path(__file__).parent.parent / "engine" / "methods"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class MethodCard:
    """One method.

    Attributes:
        name: Value of METHOD, for example ``fast``.
        title: Name for people.
        help: What it does, in one sentence.
        order: Place in lists; the lowest comes first.
        path: File of the card; the code of the method lies beside it.
        needs: Components of a model that it cannot do without, for example ``clip``.
    """

    name: str
    title: str
    help: str
    order: float
    path: Path
    needs: Tuple[str, ...] = ()

    @property
    def foreign(self) -> bool:
        """Whether it lies outside the package."""
        return _METHODS not in self.path.parents


@dataclass(frozen=True)
class MethodCatalogue:
    """The methods that were found.

    Attributes:
        cards: By their order, then by name.
        problems: One sentence for each card that was left out.
    """

    cards: Tuple[MethodCard, ...]
    problems: Tuple[str, ...] = ()

    @property
    def names(self) -> Tuple[str, ...]:
        """Names in the order of the cards."""
        return tuple(card.name for card in self.cards)


def read_methods(task: str = "open_vocabulary", further: Iterable[Path] = ()) -> MethodCatalogue:
    """Return the methods of a task; of two cards with the same name, the first one counts.

    Args:
        task: Folder below ``engine/methods``.
        further: Folders with more methods, before those of ``GEOSEG_METHODS``.
    """
    named = [Path(text) for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]
    cards: Dict[str, MethodCard] = {}
    problems: List[str] = []
    for path in (file for folder in (_METHODS / task, *further, *named) for file in _files(folder)):
        try:
            card = _read(path)
        except (OSError, ValueError) as error:
            problems.append(f"The method card {path} cannot be used: {error}.")
            continue
        if cards.setdefault(card.name, card).path.resolve() != path.resolve():
            problems.append(f"The method card {path} has the name of another one: {card.name}.")
    ordered = sorted(cards.values(), key=lambda card: (card.order, card.name))
    return MethodCatalogue(tuple(ordered), tuple(problems))


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob("*.json"))
    yield from sorted(folder.glob("*/method.json"))


def _read(path: Path) -> MethodCard:
    data: Any = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise ValueError("it is not a JSON object")
    for member in ("name", "title", "help"):
        if not isinstance(data.get(member), str) or not data[member].strip():
            raise ValueError(f"its {member} is missing or no text")
    order = data.get("order", 0)
    if not isinstance(order, (int, float)) or isinstance(order, bool):
        raise ValueError("its order is no number")
    if not _NAME.fullmatch(data["name"]) or data["name"] == AUTO:
        raise ValueError(f"{data['name']!r} cannot be the name of a method")
    needs = data.get("needs", [])
    if not isinstance(needs, list) or not all(isinstance(part, str) for part in needs):
        raise ValueError("its needs are no list of texts")
    return MethodCard(data["name"], data["title"], data["help"], order, path, tuple(needs))
