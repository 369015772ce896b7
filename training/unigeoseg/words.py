"""A small tokenizer: every word of the training sentences is one piece, other words are spelt.

Its file is the ``tokenizer.json`` that published checkpoints hold too. Text is lower-cased, and
numbers fall into pairs of digits, so that a coordinate is two pieces at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from torch import Tensor

from geoseg_qgis.engine.models.unigeoseg.position_encoding import fourier_features
from geoseg_qgis.engine.models.unigeoseg.template import END_OF_TEXT, SEGMENTATION_WORD, UNIFIED
from geoseg_qgis.engine.models.unigeoseg.tokenizer import BytePairTokenizer

TOKENIZER_FILE = "tokenizer.json"
_MANY = 1 << 14
_COORDINATE_FREQUENCIES = 6


def learn_tokenizer(sentences: Iterable[str]) -> BytePairTokenizer:
    """Learn the pieces of sentences, of the conversation around them and of coordinates."""
    pairs = [f"{number:02d}" for number in range(100)]
    corpus = [*sorted(set(sentences)), UNIFIED.text, *pairs]
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d{1,2}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    trainer = BpeTrainer(
        vocab_size=_MANY,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens(
        [AddedToken(word, special=True, normalized=False) for word in (END_OF_TEXT, "[PAD]")]
    )
    tokenizer.add_tokens([AddedToken(SEGMENTATION_WORD, normalized=False)])
    return BytePairTokenizer(tokenizer)


@torch.no_grad()
def initial_embeddings(
    tokenizer: BytePairTokenizer, width: int, generator: torch.Generator
) -> Tensor:
    """Draw word vectors (V, width); those of digits encode a fraction like a position."""
    table = torch.randn(tokenizer.vocabulary_size, width, generator=generator) * 0.2
    texts = [*(f"{number:02d}" for number in range(100)), *(str(number) for number in range(10))]
    numbers = torch.tensor([float(f"0.{text}") for text in texts])
    rows = [_only(tokenizer.encode(text)) for text in texts]
    waves = fourier_features(numbers, _COORDINATE_FREQUENCIES)
    table[rows, : waves.shape[-1]] = waves / math.sqrt(2.0)
    return table


def _only(ids: Sequence[int]) -> int:
    (identifier,) = ids
    return identifier
