"""SAM 3 as an image model: every object that a short phrase names or that example boxes show.

The network is that of the transformers library. Published files hold it under ``detector_model.``,
next to a tracker for videos, which is left out. SAM 3 LiteText has a smaller text encoder and is
recognised by its configuration. A card's component::

    {"folder": "facebook/sam3", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
     "weights": [{"file": "facebook/sam3/config.json", "layout": "json"},
                 {"file": "facebook/sam3/tokenizer.json", "layout": "json"},
                 {"file": "facebook/sam3/model.safetensors", "layout": "sam3"}]}
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic.dataclasses import dataclass as checked_dataclass
from tokenizers import Tokenizer
from torch import Tensor, nn

from geoseg_qgis.engine.json_reader import STRICT, Members, parse
from geoseg_qgis.engine.zoo.card import Channels, Deviations, File, OtherComponent
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .checkpoint_folder import build_from_config, checked_folder, read_shards, read_tokenizer
from .weights import State, load_strictly, refuse_meta_tensors

# The phrase that the network was trained with when there are only boxes.
BOXES_ONLY = "visual"
_DETECTOR = "detector_model."
_TRACKER = ("tracker_model.", "tracker_neck.")
_WHERE = "card.sam3"


@checked_dataclass(frozen=True, config=STRICT)
class _Settings(Members):
    folder: File
    mean: Channels
    std: Deviations
    confidence: float = 0.5
    threshold: float = 0.5


@dataclass(frozen=True)
class Sam3Embedding:
    """An encoded image.

    Attributes:
        features: Output of the vision encoder.
        source_size: (H, W) of the source in pixels.
    """

    features: Any
    source_size: tuple[int, int]


@dataclass(frozen=True)
class Sam3Objects:
    """Objects found in one image, best first.

    Attributes:
        logits: Mask logits, shape (N, h, w), float32; masks are where they are positive.
        boxes: Source pixels (left, top, right, bottom), shape (N, 4).
        scores: Probability that the object matches the prompt, shape (N,).
    """

    logits: Tensor
    boxes: Tensor
    scores: Tensor

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.scores)


@dataclass(frozen=True)
class Sam3Answer:
    """Everything that the network says about one phrase.

    Attributes:
        logits: Mask logits of all candidates, shape (N, h, w), float32.
        candidates: Probability of each candidate, given that there is any, shape (N,).
        presence: Probability that the image shows what the phrase names, shape ().
        semantic: Logits of the pixels that the phrase names, shape (h, w), float32.
    """

    logits: Tensor
    candidates: Tensor
    presence: Tensor
    semantic: Tensor


@dataclass(frozen=True)
class Sam3Model:
    """A SAM 3 image model with its weights.

    Attributes:
        module: ``Sam3Model`` of transformers, in float32.
        tokenizer: Byte pair encoding of phrases, with start and end tokens.
        text_length: Tokens that the text encoder reads.
        mean: Per channel of images in 0..1, shape (1, 3, 1, 1).
        std: Per channel of images in 0..1, shape (1, 3, 1, 1).
        device: Device of the module.
        dtype: Number format of its matrix products.
        confidence: Objects with a lower probability are left out where phrases become maps.
        threshold: Pixels with a lower probability belong to no phrase.
    """

    module: Any
    tokenizer: Tokenizer
    text_length: int
    mean: Tensor
    std: Tensor
    device: torch.device
    dtype: torch.dtype
    confidence: float = 0.5
    threshold: float = 0.5

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""
        return int(self.module.config.vision_config.image_size)

    @contextlib.contextmanager
    def _computing(self) -> Any:
        below = self.dtype != torch.float32
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, dtype=self.dtype if below else None, enabled=below),
        ):
            yield

    def encode(self, image: Tensor) -> Sam3Embedding:
        """Encode an image of values in 0..1, shape (1, 3, H, W), whatever its aspect."""
        height, width = int(image.shape[-2]), int(image.shape[-1])
        pixels = image.to(self.device, torch.float32)
        if (height, width) != (self.image_size, self.image_size):
            pixels = nn.functional.interpolate(
                pixels, (self.image_size,) * 2, mode="bilinear", align_corners=False, antialias=True
            )
        with self._computing():
            features = self.module.get_vision_features((pixels - self.mean) / self.std)
        return Sam3Embedding(features, (height, width))

    def tokenize(self, phrase: str) -> tuple[Tensor, Tensor]:
        """Return the token ids of a phrase and their attention mask, both (1, L), int64.

        Too long a phrase is truncated and still ends with the end token.
        """
        ids = list(self.tokenizer.encode(phrase).ids)
        if len(ids) > self.text_length:
            ids = [*ids[: self.text_length - 1], ids[-1]]
        padding = self.text_length - len(ids)
        mask = [1] * len(ids) + [0] * padding
        return torch.tensor([ids + ids[-1:] * padding]), torch.tensor([mask])

    def answer(self, embedding: Sam3Embedding, phrases: Sequence[str]) -> list[Sam3Answer]:
        """Return what the network says about phrases, decoded as one batch.

        Args:
            embedding: One encoded image, which all phrases share.
            phrases: A few words each.
        """
        tokens = [self.tokenize(phrase) for phrase in phrases]
        features = embedding.features
        count = len(phrases)
        shared = type(features)(
            fpn_hidden_states=_repeated(features.fpn_hidden_states, count),
            fpn_position_encoding=_repeated(features.fpn_position_encoding, count),
        )
        with self._computing():
            output = self.module(
                vision_embeds=shared,
                input_ids=torch.cat([ids for ids, _ in tokens]).to(self.device),
                attention_mask=torch.cat([mask for _, mask in tokens]).to(self.device),
            )
        return [
            Sam3Answer(
                logits=output.pred_masks[row].float(),
                candidates=output.pred_logits[row].float().sigmoid(),
                presence=output.presence_logits[row].float().sigmoid().squeeze(),
                semantic=output.semantic_seg[row, 0].float(),
            )
            for row in range(count)
        ]

    def find(
        self,
        embedding: Sam3Embedding,
        phrase: str = "",
        *,
        boxes: Tensor | None = None,
        labels: Tensor | None = None,
        threshold: float = 0.5,
    ) -> Sam3Objects:
        """Find every object in an image that a phrase names or that resembles those in boxes.

        Args:
            embedding: One encoded image.
            phrase: A few words; empty to go by the boxes alone.
            boxes: Source pixels (left, top, right, bottom) around examples, shape (N, 4).
            labels: 1 for an example, 0 for a counter-example, shape (N,); None for all 1.
            threshold: Objects with a lower score are left out, 0..1.

        Raises:
            JobError: ``INVALID_JOB`` without phrase and boxes, or with labels that do not fit.
        """
        _check_prompts(phrase, boxes, labels)
        ids, mask = self.tokenize(phrase or BOXES_ONLY)
        prompts: dict[str, Tensor] = {}
        if boxes is not None:
            kinds = torch.ones(len(boxes), dtype=torch.long) if labels is None else labels.long()
            prompts["input_boxes"] = _relative(boxes, embedding.source_size).to(self.device)[None]
            prompts["input_boxes_labels"] = kinds.to(self.device)[None]
        with self._computing():
            output = self.module(
                vision_embeds=embedding.features,
                input_ids=ids.to(self.device),
                attention_mask=mask.to(self.device),
                **prompts,
            )
            scores = output.pred_logits[0].float().sigmoid()
            # One logit says whether the image shows such an object at all, the others which it is.
            scores = scores * output.presence_logits[0].float().sigmoid()
        return _best(output, scores, threshold, embedding.source_size)


def load_sam3(
    component: OtherComponent,
    folder: Path,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Sam3Model:
    """Return a SAM 3 image model with its weights.

    Args:
        component: What the card says.
        folder: The card's folder.
        device: Where to compute.
        dtype: float32, or float16 or bfloat16 for matrix products under autocast.

    Raises:
        JobError: ``MODEL_MISSING`` or ``MODEL_INVALID``.
    """
    _refuse_later_releases(component)
    settings = parse(_Settings, component.settings, _WHERE)
    place = checked_folder(component, folder, settings.folder, _WHERE)
    module: Any = build_from_config(place, build_sam3)
    state = read_shards(component, folder, torch.float32)
    load_strictly(module, detector_state(state, module), place.name)
    refuse_meta_tensors(module, "SAM 3")
    return Sam3Model(
        module=module.to(device),
        tokenizer=read_tokenizer(place),
        text_length=int(module.config.text_config.max_position_embeddings),
        mean=torch.tensor(settings.mean, device=device).reshape(1, 3, 1, 1),
        std=torch.tensor(settings.std, device=device).reshape(1, 3, 1, 1),
        device=device,
        dtype=dtype,
        confidence=settings.confidence,
        threshold=settings.threshold,
    )


def _refuse_later_releases(component: OtherComponent) -> None:
    """Refuse SAM 3.1, which has the configuration of SAM 3 and other tensors."""
    for weights in component.weights:
        name = Path(weights.file).name.lower()
        if name.startswith("sam3.1"):
            raise JobError(
                ErrorCode.MODEL_INVALID,
                f"{name} is SAM 3.1, whose network differs from SAM 3.",
                "Use SAM 3 (facebook/sam3, model.safetensors).",
            )


def build_sam3(data: Mapping[str, Any]) -> Any:
    """Return the network of a configuration: of a video model, its detector, or LiteText."""
    from transformers import (  # noqa: PLC0415 - takes seconds
        Sam3Config,
        Sam3LiteTextConfig,
        Sam3LiteTextModel,
        Sam3Model,
    )

    if data.get("model_type") == "sam3_lite_text":
        return Sam3LiteTextModel(Sam3LiteTextConfig.from_dict(dict(data)))
    return Sam3Model(Sam3Config.from_dict(dict(data.get("detector_config") or data)))


def detector_state(state: State, module: nn.Module) -> State:
    """Return the tensors of the image model under the module's names, without the tracker's."""
    wanted = module.state_dict()
    result: State = {}
    for name, tensor in state.items():
        if name.startswith(_TRACKER):
            continue
        own = name.removeprefix(_DETECTOR)
        # Releases of transformers differ in whether the text encoder has this inner name.
        flat = own.replace("text_encoder.text_model.", "text_encoder.")
        result[own if own in wanted or flat not in wanted else flat] = tensor
    return result


def _repeated(levels: Sequence[Tensor], count: int) -> tuple[Tensor, ...]:
    return tuple(level.expand(count, *level.shape[1:]) for level in levels)


def _check_prompts(phrase: str, boxes: Tensor | None, labels: Tensor | None) -> None:
    if not phrase.strip() and (boxes is None or not len(boxes)):
        raise JobError(
            ErrorCode.INVALID_JOB,
            "There is neither a phrase nor a box.",
            "Name the objects in a few words, or draw a box around one.",
        )
    if labels is not None and (boxes is None or len(labels) != len(boxes)):
        raise JobError(
            ErrorCode.INVALID_JOB,
            "There are not as many labels as boxes.",
            "Give one label for each box.",
        )


def _relative(boxes: Tensor, source_size: tuple[int, int]) -> Tensor:
    height, width = source_size
    left, top, right, bottom = boxes.float().cpu().unbind(-1)
    centred = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    return torch.stack(centred, dim=-1) / torch.tensor([width, height, width, height])


def _best(
    output: Any, scores: Tensor, threshold: float, source_size: tuple[int, int]
) -> Sam3Objects:
    height, width = source_size
    order = scores.argsort(descending=True)
    kept = order[scores[order] > threshold]
    extent = torch.tensor([width, height, width, height], device=scores.device)
    return Sam3Objects(
        logits=output.pred_masks[0, kept].float(),
        boxes=output.pred_boxes[0, kept].float() * extent,
        scores=scores[kept],
    )
