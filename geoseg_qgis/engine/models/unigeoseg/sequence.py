"""The token sequence of the language model: a template, an image and a request."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .tasks import Task
from .template import ANSWER, IGNORED_LABEL, IMAGE, INSTRUCTION, SEGMENTATION, Dialogue


@dataclasses.dataclass(frozen=True)
class Request:
    """A request about one image."""

    instruction_ids: Sequence[int]
    task: Task
    coordinates: Tensor | None = None
    """(n, 2) points or (1, 4) box as fractions of the image."""
    answer_ids: Sequence[int] = ()
    """Tokens of the answer, for training only."""


class TokenSequence(NamedTuple):
    """One assembled sequence of T tokens."""

    embeddings: Tensor
    """(T, H)."""
    instruction: Tensor
    """(T,) bool, True on the tokens of the instruction."""
    labels: Tensor
    """(T,) int64, ``IGNORED_LABEL`` where nothing is learned."""


class SequenceBatch(NamedTuple):
    """Sequences padded on the right to a common length."""

    embeddings: Tensor
    """(B, T, H), zeros on padding."""
    mask: Tensor
    """(B, T) bool, False on padding."""
    instruction: Tensor
    """(B, T) bool."""
    labels: Tensor
    """(B, T) int64."""


class Piece(NamedTuple):
    """A piece of a dialogue: the tokens of a text, or one placeholder."""

    ids: list[int]
    labels: list[int]
    after_image: bool

    @property
    def placeholder(self) -> int | None:
        """The placeholder's id, None for a text."""
        return self.ids[0] if self.ids[0] < 0 else None


def split_dialogue(dialogue: Dialogue) -> list[Piece]:
    """Cut a dialogue into texts and placeholders.

    Raises:
        ValueError: The dialogue does not hold exactly one image and one instruction.
    """
    for mark in (IMAGE, INSTRUCTION):
        if dialogue.ids.count(mark) != 1:
            raise ValueError("A dialogue holds exactly one image and one instruction.")
    return list(_pieces(dialogue))


def _pieces(dialogue: Dialogue) -> Iterator[Piece]:
    pairs = zip(dialogue.ids, dialogue.labels, strict=True)
    previous: int | None = None
    for mark, run in itertools.groupby(pairs, key=lambda pair: min(pair[0], 0)):
        ids, labels = (list(values) for values in zip(*run, strict=True))
        yield Piece(ids, labels, after_image=previous == IMAGE and mark == 0)
        previous = ids[-1]


def assemble(
    pieces: Sequence[Piece],
    image_tokens: Tensor,
    request: Request,
    embed: Callable[[Sequence[int]], Tensor],
    enhance: Callable[[Tensor, Request], Tensor],
) -> TokenSequence:
    """Put the parts of one sequence together.

    Args:
        pieces: The split dialogue, whole or cut after the instruction.
        image_tokens: (N, H), output of the connector.
        request: The request.
        embed: Embedding of token ids.
        enhance: Task-aware enhancement of the sentence after the image.
    """
    parts: list[tuple[Tensor, bool, Sequence[int]]] = []
    for piece in pieces:
        if piece.placeholder == IMAGE:
            parts.append((image_tokens, False, [IGNORED_LABEL] * len(image_tokens)))
        elif piece.placeholder == INSTRUCTION:
            ids = request.instruction_ids
            parts.append((embed(ids), True, [IGNORED_LABEL] * len(ids)))
        elif piece.placeholder == ANSWER:
            if request.answer_ids:
                parts.append((embed(request.answer_ids), False, request.answer_ids))
        elif piece.placeholder != SEGMENTATION:
            tokens = embed(piece.ids)
            parts.append(
                (enhance(tokens, request) if piece.after_image else tokens, False, piece.labels)
            )
    device = image_tokens.device
    return TokenSequence(
        torch.cat([tokens.to(image_tokens.dtype) for tokens, _, _ in parts]),
        torch.cat([torch.full((len(tokens),), mark, device=device) for tokens, mark, _ in parts]),
        torch.tensor([label for _, _, labels in parts for label in labels], device=device),
    )


def until_instruction(pieces: Sequence[Piece]) -> Sequence[Piece]:
    """Drop what follows the instruction: attention is causal, so masks do not depend on it."""
    marks = [piece.placeholder for piece in pieces]
    return pieces[: marks.index(INSTRUCTION) + 1]


def pad_sequences(sequences: Sequence[TokenSequence]) -> SequenceBatch:
    """Pad sequences on the right to the longest."""
    pad = torch.nn.utils.rnn.pad_sequence
    masks = [torch.ones_like(sequence.instruction) for sequence in sequences]
    return SequenceBatch(
        pad([sequence.embeddings for sequence in sequences], batch_first=True),
        pad(masks, batch_first=True),
        pad([sequence.instruction for sequence in sequences], batch_first=True),
        pad(
            [sequence.labels for sequence in sequences],
            batch_first=True,
            padding_value=IGNORED_LABEL,
        ),
    )
