"""Many requests about one image, with the shared steps run once.

The system text never changes, the image does not depend on the request, and two of the three
enhanced sentences are constants of the weights. Only the tokens from there to the end of the
instruction are run for every request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .language import PrefixCache
from .model import ImageFeatures, UniGeoSeg
from .sequence import Request, TokenSequence, pad_sequences, split_dialogue, until_instruction
from .tasks import Task
from .template import IMAGE, INSTRUCTION, Dialogue


class EncodedImage(NamedTuple):
    """What the network computes of an image before the first request."""

    features: ImageFeatures
    prefix: PrefixCache
    """Of the language model, for the system text and the image."""


class ImagePredictor:
    """A frozen network with a dialogue, which predicts masks for requests about images.

    Args:
        model: The network in evaluation mode; its weights must not change afterwards.
        dialogue: Text, one image, text, then the instruction.

    Raises:
        ValueError: The dialogue has another order.
    """

    @torch.inference_mode()
    def __init__(self, model: UniGeoSeg, dialogue: Dialogue) -> None:
        pieces = until_instruction(split_dialogue(dialogue))
        opening, image, sentence, instruction = pieces
        if (image.placeholder, instruction.placeholder) != (IMAGE, INSTRUCTION):
            raise ValueError("The dialogue is not text, image, text, instruction.")
        self.model = model
        self._opening_length = len(opening.ids)
        self._opening = model.model.run_prefix(model.embed_ids(opening.ids)[None])
        self._sentence = model.embed_ids(sentence.ids)
        self._constants = {
            task: model.enhance(self._sentence, Request((), task))
            for task in (Task.REFERRING, Task.REASONING)
        }

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return self.model.global_latents.device

    @property
    def longest_instruction(self) -> int:
        """Most tokens of an instruction that fit into the language model."""
        config = self.model.config
        cells = config.vision.image_size // 32
        image_tokens = ((cells + 1) // 2) ** 2 + 4
        used = self._opening_length + image_tokens + len(self._sentence)
        return config.language.max_position_embeddings - used

    @torch.inference_mode()
    def encode_image(self, pixels: Tensor) -> EncodedImage:
        """Run the tower, the connector and the pixel decoder on (1, 3, S, S), normalised."""
        features = self.model.encode_image(pixels.to(self.device))
        return EncodedImage(features, self.model.model.run_prefix(features.tokens, self._opening))

    @torch.inference_mode()
    def predict(self, image: EncodedImage, requests: Sequence[Request]) -> Tensor:
        """Return the mask logits of B requests about one image, in one batch.

        Returns:
            (B, S/4, S/4) float32.
        """
        batch = pad_sequences([self._rest(request) for request in requests])
        states = self.model.model.continue_from(image.prefix, batch.embeddings, batch.mask)
        masks, _ = self.model.segment(
            image.features.expand(len(requests)),
            states,
            batch.instruction,
            [request.task.memory_strength for request in requests],
        )
        return masks[-1][:, 0].float()

    def _rest(self, request: Request) -> TokenSequence:
        sentence = self._constants.get(request.task)
        if sentence is None:
            sentence = self.model.enhance(self._sentence, request)
        instruction = self.model.embed_ids(request.instruction_ids)
        embeddings = torch.cat([sentence.to(instruction.dtype), instruction])
        marks = torch.arange(len(embeddings), device=embeddings.device) >= len(sentence)
        return TokenSequence(embeddings, marks, torch.zeros_like(marks, dtype=torch.long))
