"""Asking a frozen network many things of one image, running the shared parts once.

The system text never changes, the image does not depend on what is asked, and two of the three
enhanced sentences are constants of the weights. Only the words from there to the end of the
instruction are run for every request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .language import LayerMemory
from .model import ImageFeatures, UniGeoSeg
from .sequence import Request, Utterance, pad_utterances, split_dialogue, until_instruction
from .tasks import Task
from .template import IMAGE, INSTRUCTION, Dialogue


class ReadImage(NamedTuple):
    """One image as far as it can be read before anything is asked."""

    features: ImageFeatures
    memory: LayerMemory
    """The language model's memory of the system text and the image."""


class Reader:
    """A frozen network and a dialogue.

    Args:
        model: The network in evaluation mode; its weights must not change afterwards.
        dialogue: Opens with the image's text; one image, then one sentence, then the instruction.
    """

    @torch.inference_mode()
    def __init__(self, model: UniGeoSeg, dialogue: Dialogue) -> None:
        pieces = until_instruction(split_dialogue(dialogue))
        opening, image, sentence, instruction = pieces
        if (image.placeholder, instruction.placeholder) != (IMAGE, INSTRUCTION):
            raise ValueError("The dialogue is not text, image, text, instruction.")
        self.model = model
        self._opening_length = len(opening.ids)
        self._opening = model.model.remember(model.embed_words(opening.ids)[None])
        self._sentence = model.embed_words(sentence.ids)
        self._constants = {
            task: model.enhance(self._sentence, Request((), task))
            for task in (Task.REFERRING, Task.REASONING)
        }

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.model.global_latents.device

    @property
    def longest_instruction(self) -> int:
        """Most words of an instruction that fit the language model."""
        config = self.model.config
        cells = config.vision.image_size // 32
        image_words = ((cells + 1) // 2) ** 2 + 4
        used = self._opening_length + image_words + len(self._sentence)
        return config.language.max_position_embeddings - used

    @torch.inference_mode()
    def read_image(self, pixels: Tensor) -> ReadImage:
        """Run the tower, the connector and the pixel decoder on (1, 3, S, S), normalised."""
        features = self.model.encode_image(pixels.to(self.device))
        return ReadImage(features, self.model.model.remember(features.words, self._opening))

    @torch.inference_mode()
    def answer(self, image: ReadImage, requests: Sequence[Request]) -> Tensor:
        """Answer requests about one image in one batch.

        Returns:
            Mask logits (B, S/4, S/4) float32.
        """
        batch = pad_utterances([self._rest(request) for request in requests])
        states = self.model.model.continue_from(image.memory, batch.embeddings, batch.words)
        masks, _ = self.model.segment(
            image.features.expand(len(requests)),
            states,
            batch.instruction,
            [request.task.memory_strength for request in requests],
        )
        return masks[-1][:, 0].float()

    def _rest(self, request: Request) -> Utterance:
        sentence = self._constants.get(request.task)
        if sentence is None:
            sentence = self.model.enhance(self._sentence, request)
        instruction = self.model.embed_words(request.instruction_ids)
        embeddings = torch.cat([sentence.to(instruction.dtype), instruction])
        marks = torch.arange(len(embeddings), device=embeddings.device) >= len(sentence)
        return Utterance(embeddings, marks, torch.zeros_like(marks, dtype=torch.long))
