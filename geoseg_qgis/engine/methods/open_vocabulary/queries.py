"""Class names to text embeddings: queries, prompt templates, ensemble."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from open_clip import OPENAI_IMAGENET_TEMPLATES
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from open_clip import CLIP

Tokenizer = Callable[[list[str]], Tensor]


@dataclass(frozen=True)
class ClassQueries:
    """Texts to compare with and the class each belongs to.

    Attributes:
        queries: One text each.
        class_index: Class of each query, ascending from 0.
    """

    queries: tuple[str, ...]
    class_index: tuple[int, ...]

    @property
    def class_count(self) -> int:
        """Number of classes."""
        return max(self.class_index) + 1

    @classmethod
    def from_synonyms(cls, classes: Sequence[Sequence[str]]) -> ClassQueries:
        """Queries from the synonyms of each class.

        Args:
            classes: For each class its texts, at least one.

        Returns:
            The queries.

        Raises:
            ValueError: There is no class, or a class has no text.
        """
        if not classes or not all(classes):
            raise ValueError("Every class needs at least one text, and there must be a class.")
        pairs = [(name, index) for index, names in enumerate(classes) for name in names]
        return cls(tuple(name for name, _ in pairs), tuple(index for _, index in pairs))


def _go_on() -> None:
    """Let the work go on."""


def imagenet_prompts(query: str) -> list[str]:
    """A query in each of the 80 ImageNet templates of CLIP."""
    return [template(query) for template in OPENAI_IMAGENET_TEMPLATES]


def ensemble(features: Tensor) -> Tensor:
    """Unit mean of unit prompt features.

    Args:
        features: (..., P, E).

    Returns:
        (..., E) in float32.
    """
    unit = functional.normalize(features.float(), dim=-1)
    return functional.normalize(unit.mean(dim=-2), dim=-1)


@torch.inference_mode()
def encode_queries(
    clip: CLIP,
    tokenizer: Tokenizer,
    queries: Sequence[str],
    *,
    prompts: Callable[[str], list[str]] = imagenet_prompts,
    batch_size: int = 80,
    checkpoint: Callable[[], None] = _go_on,
) -> Tensor:
    """Text embedding of each query, the ensemble of its prompts.

    Args:
        clip: An open_clip CLIP.
        tokenizer: Its tokenizer, texts to (N, context) ids.
        queries: The texts.
        prompts: The prompts of a query.
        batch_size: Prompts encoded together.
        checkpoint: Called between batches; raises when the user cancelled.

    Returns:
        (Q, E) float32 unit rows.
    """
    texts = [prompts(query) for query in queries]
    sizes = [len(group) for group in texts]
    every = [text for group in texts for text in group]
    device = next(clip.parameters()).device
    parts = []
    for start in range(0, len(every), batch_size):
        checkpoint()
        tokens = tokenizer(every[start : start + batch_size])
        parts.append(clip.encode_text(tokens.to(device)))
    return torch.stack([ensemble(group) for group in torch.split(torch.cat(parts), sizes)])
