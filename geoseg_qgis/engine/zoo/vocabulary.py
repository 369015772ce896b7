"""The words that a small text encoder was trained on.

A text encoder turns any word into a vector; only this list says which vectors mean something.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass as checked_dataclass

from geoseg_qgis.engine.json_reader import LENIENT, ListOf, Members, Text, parse, read_bytes

_WORD = re.compile(r"[^\W_]+")


def split_words(text: str) -> list[str]:
    """Return the words of ``text`` in lower case, without punctuation."""
    return _WORD.findall(text.casefold())


@checked_dataclass(frozen=True, config=LENIENT)
class _VocabularyFile(Members):
    words: ListOf[Text]
    classes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Vocabulary:
    """Known words, and the classes they came from.

    Attributes:
        words: Every word the text encoder was trained on, in lower case.
        classes: The description of the training classes, as it stands in the file.
    """

    words: frozenset[str]
    classes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """Read ``{"words": [...], "classes": {...}}``; names of classes count as known words.

        Raises:
            JobError: ``MODEL_INVALID`` or ``MODEL_MISSING``.
        """
        file = parse(_VocabularyFile, read_bytes(path), path.name)
        return cls(frozenset(_all_words([*file.words, *file.classes])), file.classes)

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of ``text`` that are not in the vocabulary, in order, once each.

        A text of signs alone, such as an emoji, is one unknown word.
        """
        if not split_words(text):
            return [text.strip()]
        return [word for word in dict.fromkeys(split_words(text)) if word not in self.words]

    def similar_words(self, word: str, count: int = 3) -> list[str]:
        """Return known words spelt like ``word``, closest first."""
        return difflib.get_close_matches(word.casefold(), sorted(self.words), count, 0.7)


def _all_words(texts: Iterable[str]) -> list[str]:
    return [word for text in texts for word in split_words(text)]
