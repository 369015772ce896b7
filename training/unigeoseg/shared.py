"""Training passes that read each picture once and answer several requests about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache

from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.pixel_decoder import PixelFeatures
from geoseg_qgis.engine.models.unigeoseg.sequence import (
    Piece,
    Request,
    Utterance,
    pad_utterances,
    until_instruction,
)
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from training.device import as_products


class SharedAnswer(NamedTuple):
    """Answers to R requests about each of B pictures."""

    masks: list[Tensor]
    """Logits (B, R, h, w) before and after each decoder layer."""
    pixels: PixelFeatures
    """What the masks were decoded from."""
    queries: list[Tensor]
    """(B, R, C) before and after each decoder layer."""


def answer_all(
    model: UniGeoSeg, pixels: Tensor, pieces: Sequence[Piece], requests: Sequence[Sequence[Request]]
) -> SharedAnswer:
    """Answer R requests for each picture, with gradients; the sums are those of single passes.

    Args:
        model: The network.
        pixels: (B, 3, S, S), normalised.
        pieces: The split dialogue; text, image, text, instruction.
        requests: R requests for each of the B pictures.
    """
    pictures, count = len(requests), len(requests[0])
    features = model.encode_image(pixels)
    opening, _, sentence, _ = until_instruction(pieces)
    memory = _continue(model, DynamicCache(), model.embed_words(opening.ids)[None], None)[1]
    memory = _repeated(memory, pictures)
    memory = _continue(model, memory, features.words, None)[1]
    memory = _repeated(memory, count)
    flat = [request for group in requests for request in group]
    words = model.embed_words(sentence.ids)
    enhanced = {
        task: model.enhance(words, Request((), task)) for task in (Task.REFERRING, Task.REASONING)
    }
    batch = pad_utterances([_rest(model, words, enhanced, request) for request in flat])
    states, _ = _continue(model, memory, batch.embeddings, batch.words)
    pooled = model.pool_instruction(
        states, batch.instruction, [request.task.memory_strength for request in flat]
    )
    coarse = features.coarse.repeat_interleave(count, dim=0)
    query = model.describe(pooled, coarse).view(pictures, count, -1)
    masks, queries = model.predictor.refine(features.pixels, query, alone=True)
    return SharedAnswer(masks, features.pixels, queries)


def _rest(
    model: UniGeoSeg, words: Tensor, enhanced: dict[Task, Tensor], request: Request
) -> Utterance:
    sentence = enhanced.get(request.task)
    if sentence is None:
        sentence = model.enhance(words, request)
    instruction = model.embed_words(request.instruction_ids)
    embeddings = torch.cat([sentence.to(instruction.dtype), instruction])
    marks = torch.arange(len(embeddings), device=embeddings.device) >= len(sentence)
    return Utterance(embeddings, marks, torch.zeros_like(marks, dtype=torch.long))


def _continue(
    model: UniGeoSeg, memory: DynamicCache, embeddings: Tensor, words: Tensor | None
) -> tuple[Tensor, DynamicCache]:
    """Run (B, T, H) after what is remembered of B sequences; ``words`` (B, T) is True on words."""
    mask = None
    if words is not None:
        beginning = words.new_ones(len(words), memory.get_seq_length())
        mask = torch.cat([beginning, words], dim=1)
    output = model.model(
        inputs_embeds=as_products(embeddings),
        attention_mask=mask,
        past_key_values=memory,
        use_cache=True,
    )
    return output.last_hidden_state, output.past_key_values


def _repeated(memory: DynamicCache, count: int) -> DynamicCache:
    """Repeat every sequence of a memory ``count`` times."""
    repeated = DynamicCache()
    for index, layer in enumerate(memory.layers):
        repeated.update(
            layer.keys.repeat_interleave(count, dim=0),
            layer.values.repeat_interleave(count, dim=0),
            index,
        )
    return repeated
