"""Tokenizers of UniGeoSeg checkpoints, read from the files of a checkpoint folder.

Published folders hold a byte-pair tokenizer (``tokenizer.json``, or ``vocab.json`` with
``merges.txt``); small networks may read text byte by byte (``byte_tokenizer.json``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from geoseg_qgis.engine.json_reader import read_object
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .template import END_OF_TEXT, SEGMENTATION_WORD

BYTE_WORDS_FILE = "byte_tokenizer.json"


class ByteTokenizer:
    """One id for each UTF-8 byte, and ids for a few whole words.

    Args:
        words: Whole words and their ids, above 255.
    """

    def __init__(self, words: Mapping[str, int]) -> None:
        self.words = dict(words)
        self.segmentation_id = _segmentation_id(self.words.get(SEGMENTATION_WORD))
        self._splitter = re.compile("(" + "|".join(map(re.escape, self.words)) + ")")

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        ids: list[int] = []
        for piece in self._splitter.split(text):
            if piece in self.words:
                ids.append(self.words[piece])
            else:
                ids.extend(piece.encode("utf-8"))
        return ids

    @property
    def vocabulary_size(self) -> int:
        """One more than the highest id."""
        return max(self.words.values()) + 1

    def save(self, folder: Path) -> None:
        """Write the words into a checkpoint folder."""
        text = json.dumps(self.words, indent=1)
        (folder / BYTE_WORDS_FILE).write_text(text, encoding="utf-8")


class BytePairTokenizer:
    """The GPT-2 style tokenizer of Phi with the tokens that UniGeoSeg adds."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.segmentation_id = _segmentation_id(tokenizer.token_to_id(SEGMENTATION_WORD))

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens, added ones included."""
        size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
        return size

    def to_json(self) -> str:
        """Return the content of its ``tokenizer.json``."""
        text: str = self._tokenizer.to_str()
        return text

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def load_tokenizer(folder: Path) -> ByteTokenizer | BytePairTokenizer:
    """Read the tokenizer of a checkpoint folder.

    Raises:
        JobError: No tokenizer file, an unreadable one, or one without the segmentation word.
    """
    try:
        if (folder / BYTE_WORDS_FILE).is_file():
            return ByteTokenizer(_read_json(folder / BYTE_WORDS_FILE))
        if (folder / "tokenizer.json").is_file():
            return BytePairTokenizer(Tokenizer.from_file(str(folder / "tokenizer.json")))
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            return BytePairTokenizer(_assemble_byte_pairs(folder))
    except JobError:
        raise
    except Exception as error:
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"The tokenizer in {folder} cannot be read.",
            "Download the checkpoint again.",
            detail=str(error),
        ) from error
    raise JobError(
        ErrorCode.MODEL_INVALID,
        f"The folder {folder} holds no tokenizer.",
        "Copy the checkpoint's tokenizer files (tokenizer.json, or vocab.json with merges.txt and "
        "added_tokens.json) beside the weights.",
    )


def _assemble_byte_pairs(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer(BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    added = _added_words(folder)
    for identifier in sorted(added):
        word = added[identifier]
        if word.special:
            tokenizer.add_special_tokens([word])
        else:
            tokenizer.add_tokens([word])
        if tokenizer.token_to_id(word.content) != identifier:
            raise JobError(
                ErrorCode.MODEL_INVALID,
                f"The tokenizer's added word {word.content!r} does not continue its vocabulary.",
                "Copy every tokenizer file of the checkpoint into the folder.",
            )
    return tokenizer


def _added_words(folder: Path) -> dict[int, AddedToken]:
    """Return added tokens by id; ``tokenizer_config.json`` has more of each than the older file."""
    words = {
        identifier: AddedToken(content, normalized=True)
        for content, identifier in _read_json(folder / "added_tokens.json").items()
    }
    described = _read_json(folder / "tokenizer_config.json").get("added_tokens_decoder", {})
    for identifier, word in described.items():
        words[int(identifier)] = AddedToken(
            word["content"],
            single_word=word.get("single_word", False),
            lstrip=word.get("lstrip", False),
            rstrip=word.get("rstrip", False),
            normalized=word.get("normalized", True),
            special=word.get("special", False),
        )
    if all(word.content != END_OF_TEXT for word in words.values()):
        identifier = _read_json(folder / "vocab.json").get(END_OF_TEXT)
        if identifier is not None:
            words[identifier] = AddedToken(END_OF_TEXT, special=True, normalized=False)
    return words


def _read_json(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}


def _segmentation_id(identifier: int | None) -> int:
    if identifier is None:
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"The tokenizer does not know the word {SEGMENTATION_WORD}.",
            "Use the tokenizer files of the UniGeoSeg checkpoint, not those of plain Phi.",
        )
    return identifier
