"""Byte-pair merges for a small tokenizer in the file format of CLIP.

Merges are learned until every word of the list is one piece, so that a small vocabulary never
splits what it knows, while unknown words still fall into letters.
"""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import List, Tuple

WORD_END = "</w>"


def learn_merges(words: List[str]) -> List[Tuple[str, str]]:
    """Return the merges, in order, that make every ASCII word one piece.

    Args:
        words: Distinct lower-case words.
    """
    pieces = [[*word[:-1], word[-1] + WORD_END] for word in words if word]
    merges: List[Tuple[str, str]] = []
    while True:
        pairs: Counter[Tuple[str, str]] = Counter()
        for word in pieces:
            pairs.update(zip(word, word[1:]))
        if not pairs:
            return merges
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        pieces = [_merged(word, best) for word in pieces]


def _merged(word: List[str], pair: Tuple[str, str]) -> List[str]:
    result: List[str] = []
    index = 0
    while index < len(word):
        if index + 1 < len(word) and (word[index], word[index + 1]) == pair:
            result.append(word[index] + word[index + 1])
            index += 2
        else:
            result.append(word[index])
            index += 1
    return result


def write_merges(path: Path, merges: List[Tuple[str, str]]) -> None:
    """Write a gzip file with one header line and one merge a line, without a final newline."""
    text = "\n".join(["#version: 1", *(f"{left} {right}" for left, right in merges)])
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as stream:
        stream.write(text.encode("utf-8"))
    temporary.replace(path)
