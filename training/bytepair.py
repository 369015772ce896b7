"""Byte-pair merges for a small tokenizer in the file format of CLIP."""

from __future__ import annotations

import gzip
import json
import string
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from geoseg_qgis.engine.files import draft

WORD_END = "</w>"
_UNLIMITED = 1 << 20


def learn_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Return the merges, in order, that make every word one piece.

    A small vocabulary then never splits a word of the list, while other words still fall into
    letters.

    Args:
        words: Lower-case ASCII words.
    """
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # Word endings need fixed numbers: pairs that are equally frequent merge in their order.
    trainer = BpeTrainer(
        vocab_size=_UNLIMITED,
        min_frequency=1,
        show_progress=False,
        end_of_word_suffix=WORD_END,
        special_tokens=[letter + WORD_END for letter in string.ascii_lowercase],
    )
    tokenizer.train_from_iterator(words, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [(left, right) for left, right in merges]


def write_merges(path: Path, merges: Sequence[tuple[str, str]]) -> None:
    """Write a gzip file with one header line and one merge a line, without a final newline."""
    text = "\n".join(["#version: 1", *(f"{left} {right}" for left, right in merges)])
    with draft(path) as unfinished:
        unfinished.write_bytes(gzip.compress(text.encode("utf-8"), mtime=0))
