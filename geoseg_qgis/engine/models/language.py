"""Language models that look at an image: Qwen3-VL of the transformers library, from a folder.

A card's component::

    {"model": "Qwen3VLForConditionalGeneration", "folder": "Qwen/Qwen3-VL-2B-Instruct",
     "weights": [{"file": "Qwen/Qwen3-VL-2B-Instruct/config.json", "layout": "json"}, ...]}

Beside ``config.json`` and the tensors, ``generation_config.json`` (end marks),
``preprocessor_config.json`` (image sizes) and ``tokenizer.json`` are read. Points and boxes in
answers of Qwen3-VL are given in thousandths of the image's width and height.
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
    piece_id,
    read_shards,
    read_tokenizer,
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
class Marks:
    """Numbers of the pieces that part a conversation.

    Attributes:
        start: Begins a turn.
        end: Ends a turn.
        vision_start: Begins an image.
        vision_end: Ends an image.
        image: Stands for one place of an image.
    """

    start: int
    end: int
    vision_start: int
    vision_end: int
    image: int


@dataclass(frozen=True)
class LanguageModel:
    """A language model ready to answer.

    Attributes:
        module: The network of transformers.
        tokenizer: Byte pair encoding of texts.
        images: Image processor of transformers.
        marks: See `Marks`.
        ends: Numbers that end an answer.
        device: Where the module lies.
        dtype: Its number format.
    """

    module: Any
    tokenizer: Tokenizer
    images: Any
    marks: Marks
    ends: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype

    def prepare(
        self, prompt: str, image: NDArray[np.uint8] | None = None, system: str = ""
    ) -> dict[str, Tensor]:
        """Return what the network takes for one question.

        Args:
            prompt: The question. Marks in it are read as plain text.
            image: Pixels, shape (H, W, 3), or None.
            system: What the model is told about its task beforehand.

        Returns:
            ``input_ids``, ``attention_mask`` and ``mm_token_type_ids`` of shape (1, L); with an
            image ``pixel_values`` (patches, values) and ``image_grid_thw`` (1, 3) besides.
        """
        inputs: dict[str, Tensor] = {}
        places: list[int] = []
        if image is not None:
            pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
            prepared = self.images(images=[pixels], return_tensors="pt")
            inputs["pixel_values"] = prepared["pixel_values"].to(self.device, self.dtype)
            inputs["image_grid_thw"] = prepared["image_grid_thw"].to(self.device)
            count = int(prepared["image_grid_thw"].prod()) // self.images.merge_size**2
            places = [self.marks.vision_start, *[self.marks.image] * count, self.marks.vision_end]
        turns = self._turn("system", [], system) if system else []
        turns += self._turn("user", places, prompt)
        turns += [self.marks.start, *self._numbers("assistant\n")]
        numbers = torch.tensor([turns], device=self.device)
        inputs["input_ids"] = numbers
        inputs["attention_mask"] = torch.ones_like(numbers)
        inputs["mm_token_type_ids"] = (numbers == self.marks.image).int()
        return inputs

    def generate(
        self,
        prompt: str,
        image: NDArray[np.uint8] | None = None,
        *,
        system: str = "",
        longest: int = 256,
        each_piece: Callable[[int], None] | None = None,
    ) -> str:
        """Answer a question, always taking the most probable next piece.

        Args:
            prompt: The question.
            image: What it is about, shape (H, W, 3), or None.
            system: What the model is told about its task beforehand.
            longest: Number of pieces after which the answer is cut.
            each_piece: Called with the number of pieces so far; what it raises ends the answer.
        """
        inputs = self.prepare(prompt, image, system)
        length = inputs["input_ids"].shape[1]
        with torch.inference_mode():
            output = self.module.generate(
                **inputs,
                max_new_tokens=longest,
                do_sample=False,
                num_beams=1,
                eos_token_id=list(self.ends),
                pad_token_id=self.ends[0],
                stopping_criteria=_watching(each_piece, length),
            )
        numbers = [int(number) for number in output[0, length:] if int(number) not in self.ends]
        answer: str = self.tokenizer.decode(numbers, skip_special_tokens=True)
        return answer.strip()

    def _turn(self, who: str, places: list[int], text: str) -> list[int]:
        body = [*self._numbers(f"{who}\n"), *places, *self._numbers(text)]
        return [self.marks.start, *body, self.marks.end, *self._numbers("\n")]

    def _numbers(self, text: str) -> list[int]:
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
    marks = _marks(tokenizer)
    tokenizer.encode_special_tokens = True
    return LanguageModel(
        module=module.to(device),
        tokenizer=tokenizer,
        images=_image_processor(place),
        marks=marks,
        ends=_ends(place, marks),
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
    """Return the tensors with the word classifier that is the word table, if it is left out."""
    if module.config.tie_word_embeddings and _HEAD not in state and _EMBEDDING in state:
        return {**state, _HEAD: state[_EMBEDDING]}
    return state


def _marks(tokenizer: Tokenizer) -> Marks:
    return Marks(
        start=piece_id(tokenizer, "<|im_start|>"),
        end=piece_id(tokenizer, "<|im_end|>"),
        vision_start=piece_id(tokenizer, "<|vision_start|>"),
        vision_end=piece_id(tokenizer, "<|vision_end|>"),
        image=piece_id(tokenizer, "<|image_pad|>"),
    )


def _ends(folder: Path, marks: Marks) -> tuple[int, ...]:
    named = read_object(folder / GENERATION_FILE).get("eos_token_id", marks.end)
    ends = named if isinstance(named, list) else [named]
    return (marks.end, *(int(number) for number in ends if number != marks.end))


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


def _watching(each_piece: Callable[[int], None] | None, length: int) -> Any:
    from transformers import StoppingCriteriaList  # noqa: PLC0415 - takes seconds

    def watch(numbers: Tensor, scores: Any, **rest: Any) -> Tensor:
        del scores, rest
        if each_piece is not None:
            each_piece(numbers.shape[1] - length)
        return torch.zeros(len(numbers), dtype=torch.bool, device=numbers.device)

    return StoppingCriteriaList([watch])
