"""The words a small text encoder was taught.

A model with a closed vocabulary answers any word with some vector; only the list says which
answers mean something.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geoseg_qgis.engine.json_reader import ObjectReader, read_object

_WORD = re.compile(r"[^\W_]+")


def split_words(text: str) -> list[str]:
    """Return the words of ``text`` in lower case, without punctuation."""
    return _WORD.findall(text.casefold())


@dataclass(frozen=True)
class Vocabulary:
    """Known words, and the classes they came from.

    Attributes:
        words: Every word the text encoder saw, in lower case.
        classes: The file's description of the classes taught, as it stands in the file.
    """

    words: frozenset[str]
    classes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """Read ``{"words": [...], "classes": {...}}``; names of classes count as known words.

        Raises:
            JobError: ``MODEL_INVALID`` or ``MODEL_MISSING``.
        """
        reader = ObjectReader(read_object(path), path.name)
        words = reader.texts("words")
        classes = reader.mapping("classes", {})
        reader.rest()
        return cls(frozenset(_all_words([*words, *classes])), classes)

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of ``text`` that are not in the vocabulary, in order, once each."""
        return [word for word in dict.fromkeys(split_words(text)) if word not in self.words]

    def similar_words(self, word: str, count: int = 3) -> list[str]:
        """Return known words spelt like ``word``, closest first."""
        return difflib.get_close_matches(word.casefold(), sorted(self.words), count, 0.7)


def _all_words(texts: Iterable[str]) -> list[str]:
    return [word for text in texts for word in split_words(text)]
