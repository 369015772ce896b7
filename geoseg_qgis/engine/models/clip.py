"""CLIP models of open_clip: text and image towers built from a card.

The weights keep the key layout that open_clip's own ``CLIP`` has, which is also that of GeoRSCLIP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.model import convert_weights_to_lp
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn

from geoseg_qgis.engine.zoo.card import ClipComponent
from geoseg_qgis.engine.zoo.vocabulary import Vocabulary
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .weights import load_strictly, read_state, refuse_meta_tensors

_MODEL_KEYS = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "init_logit_scale"}
_LARGEST_MERGES_FILE = 16 * 1024 * 1024


@dataclass(frozen=True)
class ClipModel:
    """A CLIP model ready to encode.

    Attributes:
        module: open_clip's ``CLIP``; ``module.visual`` is its vision transformer.
        mean: Per channel of images in 0..1, shape (1, 3, 1, 1).
        std: Per channel of images in 0..1, shape (1, 3, 1, 1).
        tokenizer: open_clip tokenizer of the text tower.
        vocabulary: Known words, None for any word.
        device: Device of the module.
        dtype: Number format of its matrices; normalisation layers stay float32.
    """

    module: Any
    mean: Tensor
    std: Tensor
    tokenizer: Any
    vocabulary: Vocabulary | None
    device: torch.device
    dtype: torch.dtype

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return int(self.module.visual.patch_size[0])

    @property
    def image_size(self) -> int:
        """Side in pixels of the images the position embedding was made for."""
        return int(self.module.visual.image_size[0])

    @property
    def layers(self) -> int:
        """Number of blocks of the vision transformer."""
        return len(self.module.visual.transformer.resblocks)

    @property
    def embed_dim(self) -> int:
        """Width of the space that texts and images share."""
        return int(self.module.visual.output_dim)

    def normalise(self, images: Tensor) -> Tensor:
        """Return images of values in 0..1, shape (B, 3, H, W), as the vision tower takes them."""
        return ((images.to(self.device) - self.mean) / self.std).to(self.dtype)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Return the token ids of texts, shape (N, context length), int64, on the CPU.

        Too long a text is truncated and still ends with the end token; see `is_truncated`.
        """
        ids: Tensor = self.tokenizer(list(texts))
        return ids

    def is_truncated(self, text: str) -> bool:
        """Return whether a text has more tokens than the text tower reads."""
        return bool(len(self.tokenizer.encode(text)) + 2 > self.module.context_length)

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str], batch_size: int = 64) -> Tensor:
        """Return unit vectors of texts, shape (N, D), float32, on the device."""
        features = [
            self.module.encode_text(ids.to(self.device)).float()
            for ids in torch.split(self.tokenize(texts), batch_size)
        ]
        return nn.functional.normalize(torch.cat(features), dim=-1)

    @torch.inference_mode()
    def encode_image(self, images: Tensor) -> Tensor:
        """Return unit vectors (B, D), float32, of images (B, 3, S, S) of values in 0..1."""
        features: Tensor = self.module.encode_image(self.normalise(images)).float()
        return nn.functional.normalize(features, dim=-1)

    def unknown_words(self, text: str) -> list[str]:
        """Return the words outside the text tower's vocabulary; none when it is open."""
        return [] if self.vocabulary is None else self.vocabulary.unknown_words(text)


def build_clip(component: ClipComponent, dtype: torch.dtype = torch.float32) -> Any:
    """Return the architecture on the meta device, without values.

    Args:
        component: What the card says.
        dtype: Number format it will compute in; below float32 its normalisation layers still
            compute in float32.

    Raises:
        JobError: ``MODEL_INVALID`` when the configuration is not one of a plain CLIP.
    """
    config = _configuration(component.model)
    cast_dtype = None if dtype == torch.float32 else dtype
    try:
        with torch.device("meta"):
            return open_clip.CLIP(**config, cast_dtype=cast_dtype)
    except (TypeError, ValueError, AssertionError, ZeroDivisionError, RuntimeError) as error:
        raise _invalid("does not describe a CLIP model", str(error)) from error


def load_clip(
    component: ClipComponent,
    folder: Path,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    vocabulary: Vocabulary | None = None,
) -> ClipModel:
    """Return a CLIP model with its weights.

    Args:
        component: What the card says.
        folder: The card's folder.
        device: Where to compute.
        dtype: float32, float16 or bfloat16.
        vocabulary: Known words, None for any word.

    Raises:
        JobError: ``MODEL_MISSING`` or ``MODEL_INVALID``.
    """
    module = build_clip(component, dtype)
    tokenizer = _tokenizer(component, folder, module)
    state = read_state(folder / component.weights.file, component.weights)
    load_strictly(module, state, component.weights.file)
    if module.attn_mask is not None:
        # A checkpoint holds no causal mask, and this one was built without values.
        mask = torch.full(tuple(module.attn_mask.shape), float("-inf")).triu_(1)
        module.register_buffer("attn_mask", mask, persistent=False)
    refuse_meta_tensors(module, "CLIP")
    if dtype != torch.float32:
        convert_weights_to_lp(module, dtype)
    return ClipModel(
        module=module.to(device),
        mean=torch.tensor(component.mean, device=device).reshape(1, 3, 1, 1),
        std=torch.tensor(component.std, device=device).reshape(1, 3, 1, 1),
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        device=device,
        dtype=dtype,
    )


def _configuration(model: str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(model, str):
        named = None if ":" in model else open_clip.get_model_config(model)
        if named is None:
            raise _invalid(f"names {model!r}, which open_clip does not know")
        config = dict(named)
    else:
        config = dict(model)
    unknown = sorted(set(config) - _MODEL_KEYS)
    if unknown or not {"embed_dim", "vision_cfg", "text_cfg"} <= set(config):
        raise _invalid("lacks embed_dim, vision_cfg or text_cfg, or has others", str(unknown))
    for tower in ("vision_cfg", "text_cfg"):
        inner = config[tower]
        # Such keys would download towers.
        if not isinstance(inner, Mapping) or any(key.startswith(("hf_", "timm_")) for key in inner):
            raise _invalid(f"has a {tower} that is not a plain transformer's")
        config[tower] = dict(inner)
    return config


def _invalid(what: str, detail: str = "") -> JobError:
    return JobError(
        ErrorCode.MODEL_INVALID,
        f"The card's clip.model {what}.",
        "Write an open_clip model configuration, or the name of one of a plain CLIP.",
        detail,
    )


def _tokenizer(component: ClipComponent, folder: Path, module: Any) -> Any:
    choice = component.tokenizer
    length = choice.context_length or module.context_length
    if choice.file is None:
        tokenizer = SimpleTokenizer(context_length=length)
    else:
        tokenizer = _own_tokenizer(folder / choice.file, length)
    if tokenizer.vocab_size != module.vocab_size or length != module.context_length:
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"The tokenizer has {tokenizer.vocab_size} tokens and a context of {length}, the text "
            f"tower {module.vocab_size} and {module.context_length}.",
            "Use the tokenizer of the text tower; its merges file must not end with an empty line.",
        )
    return tokenizer


def _own_tokenizer(path: Path, length: int) -> Any:
    try:
        if path.stat().st_size > _LARGEST_MERGES_FILE:
            raise OSError(f"{path.name} is larger than any file of merges")
        return SimpleTokenizer(bpe_path=str(path), context_length=length)
    except FileNotFoundError as error:
        raise JobError(
            ErrorCode.MODEL_MISSING,
            f"The file {path.name} of the tokenizer is missing.",
            f"Download the model again, or put the file at {path}.",
        ) from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"The file {path.name} of the tokenizer cannot be read.",
            "Download the model again.",
            str(error),
        ) from error
