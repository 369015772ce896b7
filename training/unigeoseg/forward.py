"""The forward pass of training: each image is read once for several requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache

from geoseg_qgis.engine.models.unigeoseg.model import ImageFeatures, UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.pixel_decoder import PixelFeatures
from geoseg_qgis.engine.models.unigeoseg.sequence import (
    Piece,
    Request,
    SequenceBatch,
    TokenSequence,
    pad_sequences,
    until_instruction,
)
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.template import IGNORED_LABEL
from training.device import as_products

Requests = Sequence[Sequence[Request]]


class Predictions(NamedTuple):
    """What the network makes of R requests about each of B images."""

    masks: list[Tensor]
    """Logits (B, R, h, w) before and after each decoder layer."""
    queries: list[Tensor]
    """(B, R, C) before and after each decoder layer."""
    pixels: PixelFeatures
    """What the masks were decoded from."""
    states: Tensor
    """(B * R, T, H), hidden states of the language model."""
    labels: Tensor
    """(B * R, T), the words to learn, ``IGNORED_LABEL`` elsewhere."""


def predict(
    model: UniGeoSeg,
    pixels: Tensor,
    pieces: Sequence[Piece],
    requests: Requests,
    strengths: Sequence[float] | None = None,
) -> Predictions:
    """Predict masks for R requests about each image, with gradients.

    A network with a language head runs the whole dialogue, whose reply it learns. Without one, what
    follows the instruction has no effect, and the words before it are run once for each image.

    Args:
        model: The network.
        pixels: (B, 3, S, S), normalised.
        pieces: The split dialogue; text, image, text, instruction and the reply.
        requests: R requests for each of the B images.
        strengths: Share of the memory for each of the B * R requests; by default that of its task.
    """
    features = model.encode_image(pixels)
    run = _run_shared if model.lm_head is None else _run_whole
    states, batch = run(model, features, pieces, requests)
    if strengths is None:
        strengths = [request.task.memory_strength for group in requests for request in group]
    pooled = model.pool_instruction(states, batch.instruction, strengths)
    coarse = features.coarse.repeat_interleave(len(requests[0]), dim=0)
    query = model.describe(pooled, coarse).view(len(requests), len(requests[0]), -1)
    masks, queries = model.predictor.refine(features.pixels, query, alone=True)
    return Predictions(masks, queries, features.pixels, states, batch.labels)


def _run_whole(
    model: UniGeoSeg, features: ImageFeatures, pieces: Sequence[Piece], requests: Requests
) -> tuple[Tensor, SequenceBatch]:
    """Run the language model on whole sequences, which allows recomputed activations."""
    batch = pad_sequences(
        [
            model.assemble(pieces, words, request)
            for words, group in zip(features.tokens, requests, strict=True)
            for request in group
        ]
    )
    return model.model.hidden_states(batch.embeddings, batch.mask), batch


def _run_shared(
    model: UniGeoSeg, features: ImageFeatures, pieces: Sequence[Piece], requests: Requests
) -> tuple[Tensor, SequenceBatch]:
    """Run the opening once, the image once for each image, and the rest once for each request."""
    opening, _, sentence, _ = until_instruction(pieces)
    cache = _continue(model, DynamicCache(), model.embed_ids(opening.ids)[None], None)[1]
    cache = _repeated(cache, len(requests))
    cache = _continue(model, cache, features.tokens, None)[1]
    cache = _repeated(cache, len(requests[0]))
    words = model.embed_ids(sentence.ids)
    enhanced = {
        task: model.enhance(words, Request((), task)) for task in (Task.REFERRING, Task.REASONING)
    }
    batch = pad_sequences(
        [_rest(model, words, enhanced, request) for group in requests for request in group]
    )
    return _continue(model, cache, batch.embeddings, batch.mask)[0], batch


def _rest(
    model: UniGeoSeg, words: Tensor, enhanced: dict[Task, Tensor], request: Request
) -> TokenSequence:
    sentence = enhanced.get(request.task)
    if sentence is None:
        sentence = model.enhance(words, request)
    instruction = model.embed_ids(request.instruction_ids)
    embeddings = torch.cat([sentence.to(instruction.dtype), instruction])
    marks = torch.arange(len(embeddings), device=embeddings.device) >= len(sentence)
    return TokenSequence(embeddings, marks, torch.full_like(marks, IGNORED_LABEL, dtype=torch.long))


def _continue(
    model: UniGeoSeg, cache: DynamicCache, embeddings: Tensor, words: Tensor | None
) -> tuple[Tensor, DynamicCache]:
    """Run (B, T, H) after what is cached of B sequences; ``words`` (B, T) is True on words."""
    mask = None
    if words is not None:
        beginning = words.new_ones(len(words), cache.get_seq_length())
        mask = torch.cat([beginning, words], dim=1)
    output = model.model(
        inputs_embeds=as_products(embeddings),
        attention_mask=mask,
        past_key_values=cache,
        use_cache=True,
    )
    return output.last_hidden_state, output.past_key_values


def _repeated(cache: DynamicCache, count: int) -> DynamicCache:
    """Repeat every sequence of a cache ``count`` times."""
    repeated = DynamicCache()
    layers: list[Any] = list(cache.layers)
    for index, layer in enumerate(layers):
        repeated.update(
            layer.keys.repeat_interleave(count, dim=0),
            layer.values.repeat_interleave(count, dim=0),
            index,
        )
    return repeated
