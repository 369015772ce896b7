"""Vision-language models: Qwen3-VL of the transformers library, loaded from a folder.

A card's component::

    {"model": "Qwen3VLForConditionalGeneration", "folder": "Qwen/Qwen3-VL-2B-Instruct",
     "weights": [{"file": "Qwen/Qwen3-VL-2B-Instruct/config.json", "layout": "json"}, ...]}

Besides ``config.json`` and the tensors, ``generation_config.json`` (end tokens),
``preprocessor_config.json`` (image sizes) and ``tokenizer.json`` are read. Qwen3-VL gives points
and boxes in thousandths of the image's width and height.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass as checked_dataclass
from tokenizers import Tokenizer
from torch import Tensor

from geoseg_qgis.engine.json_reader import STRICT, Members, parse, read_object
from geoseg_qgis.engine.zoo.card import File, OtherComponent
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .checkpoint_folder import (
    build_from_config,
    checked_folder,
    read_shards,
    read_tokenizer,
    token_id,
)
from .weights import State, load_strictly, refuse_meta_tensors

COORDINATE_RANGE = 1000
GENERATION_FILE = "generation_config.json"
IMAGES_FILE = "preprocessor_config.json"
_EMBEDDING = "model.language_model.embed_tokens.weight"
_HEAD = "lm_head.weight"
_WHERE = "card.language"


@checked_dataclass(frozen=True, config=STRICT)
class _Settings(Members):
    model: Literal["Qwen3VLForConditionalGeneration"]
    folder: File


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the tokens that structure a conversation.

    Attributes:
        start: Begins a turn.
        end: Ends a turn.
        vision_start: Begins an image.
        vision_end: Ends an image.
        image: Placeholder for one image token.
    """

    start: int
    end: int
    vision_start: int
    vision_end: int
    image: int


@dataclass(frozen=True)
class LanguageModel:
    """A language model with its weights.

    Attributes:
        module: The network of transformers.
        tokenizer: Byte pair encoding of texts.
        images: Image processor of transformers.
        special: Ids of special tokens.
        end_tokens: Ids that end the generated text.
        device: Device of the module.
        dtype: Its number format.
    """

    module: Any
    tokenizer: Tokenizer
    images: Any
    special: SpecialTokens
    end_tokens: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype

    def prepare(
        self, prompt: str, image: NDArray[np.uint8] | None = None, system: str = ""
    ) -> dict[str, Tensor]:
        """Return the network's inputs for one question.

        Args:
            prompt: The question. Special tokens in it count as plain text.
            image: Pixels, shape (H, W, 3), or None.
            system: System prompt.

        Returns:
            ``input_ids``, ``attention_mask`` and ``mm_token_type_ids`` of shape (1, L); with an
            image ``pixel_values`` (patches, values) and ``image_grid_thw`` (1, 3) besides.
        """
        inputs: dict[str, Tensor] = {}
        image_tokens: list[int] = []
        if image is not None:
            pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
            prepared = self.images(images=[pixels], return_tensors="pt")
            inputs["pixel_values"] = prepared["pixel_values"].to(self.device, self.dtype)
            inputs["image_grid_thw"] = prepared["image_grid_thw"].to(self.device)
            count = int(prepared["image_grid_thw"].prod()) // self.images.merge_size**2
            image_tokens = [self.special.image] * count
            image_tokens = [self.special.vision_start, *image_tokens, self.special.vision_end]
        turns = self._turn("system", [], system) if system else []
        turns += self._turn("user", image_tokens, prompt)
        turns += [self.special.start, *self._ids("assistant\n")]
        ids = torch.tensor([turns], device=self.device)
        inputs["input_ids"] = ids
        inputs["attention_mask"] = torch.ones_like(ids)
        inputs["mm_token_type_ids"] = (ids == self.special.image).int()
        return inputs

    def generate(
        self,
        prompt: str,
        image: NDArray[np.uint8] | None = None,
        *,
        system: str = "",
        max_new_tokens: int = 256,
        on_token: Callable[[int], None] | None = None,
    ) -> str:
        """Answer a question by greedy decoding.

        Args:
            prompt: The question.
            image: What it is about, shape (H, W, 3), or None.
            system: System prompt.
            max_new_tokens: Number of tokens after which generation stops.
            on_token: Called with the number of tokens so far; may raise to cancel.
        """
        inputs = self.prepare(prompt, image, system)
        length = inputs["input_ids"].shape[1]
        with torch.inference_mode():
            output = self.module.generate(
                **inputs,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                eos_token_id=list(self.end_tokens),
                pad_token_id=self.end_tokens[0],
                stopping_criteria=_token_callback(on_token, length),
            )
        ids = [token for token in output[0, length:].tolist() if token not in self.end_tokens]
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text.strip()

    def _turn(self, role: str, image_tokens: list[int], text: str) -> list[int]:
        body = [*self._ids(f"{role}\n"), *image_tokens, *self._ids(text)]
        return [self.special.start, *body, self.special.end, *self._ids("\n")]

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)


def load_language(
    component: OtherComponent,
    folder: Path,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> LanguageModel:
    """Return a language model with its weights.

    Args:
        component: What the card says.
        folder: The card's folder.
        device: Where to compute.
        dtype: float32, float16 or bfloat16.

    Raises:
        JobError: ``MODEL_MISSING`` or ``MODEL_INVALID``.
    """
    settings = parse(_Settings, component.settings, _WHERE)
    place = checked_folder(component, folder, settings.folder, _WHERE)
    module: Any = build_from_config(place, build_language)
    state = with_tied_head(read_shards(component, folder, dtype), module)
    load_strictly(module, state, place.name)
    if module.config.tie_word_embeddings:
        # One parameter, or moving the module would double its memory.
        module.lm_head.weight = module.model.language_model.embed_tokens.weight
    refuse_meta_tensors(module, settings.model)
    tokenizer = read_tokenizer(place)
    special = _special_tokens(tokenizer)
    tokenizer.encode_special_tokens = True
    return LanguageModel(
        module=module.to(device),
        tokenizer=tokenizer,
        images=_image_processor(place),
        special=special,
        end_tokens=_end_tokens(place, special),
        device=device,
        dtype=dtype,
    )


def build_language(data: Mapping[str, Any]) -> Any:
    """Return the network of a configuration."""
    from transformers import (  # noqa: PLC0415 - takes seconds
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
    )

    return Qwen3VLForConditionalGeneration(Qwen3VLConfig.from_dict(dict(data)))


def with_tied_head(state: State, module: Any) -> State:
    """Return the tensors with the output head, which files leave out when it is the word table."""
    if module.config.tie_word_embeddings and _HEAD not in state and _EMBEDDING in state:
        return {**state, _HEAD: state[_EMBEDDING]}
    return state


def _special_tokens(tokenizer: Tokenizer) -> SpecialTokens:
    return SpecialTokens(
        start=token_id(tokenizer, "<|im_start|>"),
        end=token_id(tokenizer, "<|im_end|>"),
        vision_start=token_id(tokenizer, "<|vision_start|>"),
        vision_end=token_id(tokenizer, "<|vision_end|>"),
        image=token_id(tokenizer, "<|image_pad|>"),
    )


def _end_tokens(folder: Path, special: SpecialTokens) -> tuple[int, ...]:
    named = read_object(folder / GENERATION_FILE).get("eos_token_id", special.end)
    ends = named if isinstance(named, list) else [named]
    return (special.end, *(int(token) for token in ends if token != special.end))


def _image_processor(folder: Path) -> Any:
    from transformers import Qwen2VLImageProcessor  # noqa: PLC0415 - takes seconds

    data = read_object(folder / IMAGES_FILE)
    try:
        return Qwen2VLImageProcessor.from_dict(data)
    except (TypeError, ValueError, KeyError) as error:
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"The file {folder / IMAGES_FILE} does not describe how images are prepared.",
            "Download the model again.",
            str(error),
        ) from error


def _token_callback(on_token: Callable[[int], None] | None, length: int) -> Any:
    from transformers import StoppingCriteriaList  # noqa: PLC0415 - takes seconds

    def call(ids: Tensor, scores: Any, **rest: Any) -> Tensor:
        del scores, rest
        if on_token is not None:
            on_token(ids.shape[1] - length)
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    return StoppingCriteriaList([call])
