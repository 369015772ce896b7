"""DINOv3 vision transformers of timm, loaded from any of the three published key layouts.

``timm`` is the library's own; ``meta`` that of the original release; ``huggingface`` that of the
transformers library. Meta's files mask the key bias and hold rotary periods rounded to bfloat16;
the periods of a file replace timm's own, so that the outputs are equal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models.eva import checkpoint_filter_fn
from torch import Tensor, nn

from geoseg_qgis.engine.zoo.card import DinoComponent, DinoLayout
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .weights import State, load_strictly, read_state, refuse_meta_tensors

_ARGUMENTS = {
    "act_layer",
    "depth",
    "embed_dim",
    "img_size",
    "init_values",
    "mlp_ratio",
    "num_heads",
    "num_reg_tokens",
    "patch_size",
    "rope_temperature",
    "swiglu_mlp",
}
_NAME = re.compile(r"vit_[a-z0-9_]*dinov3[a-z0-9_]*")
_QKV = re.compile(r"blocks\.\d+\.attn\.qkv\.bias")

_HUGGINGFACE_STEM = {
    "embeddings.cls_": "cls_",
    "embeddings.register_tokens": "reg_token",
    "embeddings.patch_embeddings.": "patch_embed.proj.",
}
_HUGGINGFACE_BLOCK = {
    "attention.o_proj.": "attn.proj.",
    "layer_scale1.lambda1": "gamma_1",
    "layer_scale2.lambda1": "gamma_2",
    "mlp.down_proj.": "mlp.fc2.",
    "mlp.gate_proj.": "mlp.fc1_g.",
}
_HUGGINGFACE_PROJECTION = re.compile(r"attention\.([qkv])_proj\.(weight|bias)")
_HUGGINGFACE_LAYER = re.compile(r"(?:model\.)?layer\.(\d+)\.(.+)")


@dataclass(frozen=True)
class DinoModel:
    """A DINOv3 model ready to encode.

    Attributes:
        module: timm's ``Eva`` without a head.
        mean: Per channel of images in 0..1, shape (1, 3, 1, 1).
        std: Per channel of images in 0..1, shape (1, 3, 1, 1).
        device: Device of the module.
        dtype: Its number format; rotary angles are computed in float32 in any case.
    """

    module: Any
    mean: Tensor
    std: Tensor
    device: torch.device
    dtype: torch.dtype

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return int(self.module.patch_embed.patch_size[0])

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return len(self.module.blocks)

    @property
    def embed_dim(self) -> int:
        """Width of a patch's features."""
        return int(self.module.embed_dim)

    def normalise(self, images: Tensor) -> Tensor:
        """Return images of values in 0..1, shape (B, 3, H, W), as the module takes them."""
        return ((images.to(self.device) - self.mean) / self.std).to(self.dtype)

    @torch.inference_mode()
    def last_layers(self, images: Tensor, count: int = 4) -> list[Tensor]:
        """Return patch features of the last blocks, each through the final normalisation.

        Args:
            images: Normalised images, shape (B, 3, H, W), H and W multiples of the patch size.
            count: Number of blocks.

        Returns:
            ``count`` tensors, first block first, shape (B, H/p * W/p, C), in `dtype`. Class and
            register tokens are left out.
        """
        features: list[Tensor] = self.module.forward_intermediates(
            images, indices=count, norm=True, output_fmt="NLC", intermediates_only=True
        )
        return features


def build_dino(component: DinoComponent) -> Any:
    """Return the architecture on the meta device, without values.

    Raises:
        JobError: ``MODEL_INVALID`` when the name or an argument is not one of a DINOv3 model.
    """
    if not _NAME.fullmatch(component.model) or not timm.is_model(component.model):
        raise _invalid(f"model {component.model!r} is no DINOv3 model of timm")
    unknown = sorted(set(component.arguments) - _ARGUMENTS)
    if unknown:
        raise _invalid(f"argument {unknown[0]!r} is not one of {', '.join(sorted(_ARGUMENTS))}")
    try:
        with torch.device("meta"):
            module: Any = timm.create_model(
                component.model, pretrained=False, num_classes=0, **component.arguments
            )
    except (TypeError, ValueError, AssertionError, ZeroDivisionError, RuntimeError) as error:
        raise _invalid("arguments do not fit the model", str(error)) from error
    if module.embed_dim % module.blocks[0].attn.num_heads:
        raise _invalid("arguments do not fit the model: num_heads does not divide embed_dim")
    return module


def load_dino(
    component: DinoComponent,
    folder: Path,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> DinoModel:
    """Return a DINOv3 model with its weights.

    Args:
        component: What the card says.
        folder: The card's folder.
        device: Where to compute.
        dtype: float32, float16 or bfloat16.

    Raises:
        JobError: ``MODEL_MISSING`` or ``MODEL_INVALID``.
    """
    module = build_dino(component)
    state = read_state(folder / component.weights.file, component.weights)
    periods = state.get("rope_embed.periods")
    layout: Any = component.weights.layout
    load_strictly(module, to_timm_layout(state, layout, module), component.weights.file)
    _compute_buffers(module)
    refuse_meta_tensors(module, "DINOv3")
    module.to(device=device, dtype=dtype)
    # After the conversion, because timm recomputes the periods when the number format changes.
    _set_periods(module, periods, component.round_rope_periods)
    return DinoModel(
        module=module,
        mean=torch.tensor(component.mean, device=device).reshape(1, 3, 1, 1),
        std=torch.tensor(component.std, device=device).reshape(1, 3, 1, 1),
        device=device,
        dtype=dtype,
    )


def _compute_buffers(module: Any) -> None:
    """Compute what checkpoints do not hold: zero key biases and rotary periods."""
    for layer in module.modules():
        for name, buffer in list(layer.named_buffers(recurse=False)):
            if buffer.is_meta:
                zeros = torch.zeros_like(buffer, device="cpu")
                layer.register_buffer(name, zeros, persistent=False)
    module.rope.reset_parameters()


def _set_periods(module: Any, periods: Tensor | None, round_them: bool) -> None:
    own = module.rope.periods
    if periods is None:
        if not round_them:
            return
        periods = own.bfloat16()
    if periods.shape != own.shape:
        raise _invalid(f"has rotary periods of shape {list(periods.shape)}")
    own.copy_(periods.to(own))


def to_timm_layout(state: State, layout: DinoLayout, module: nn.Module) -> State:
    """Return tensors under the names timm gives them.

    Args:
        state: Tensors of a file in ``layout``.
        layout: Key layout of ``state``.
        module: The timm model.

    Raises:
        JobError: ``MODEL_INVALID`` when the file has query or value biases and the model none.
    """
    if layout == "huggingface":
        state = _from_huggingface(state)
    if layout == "timm":
        return state
    wanted = module.state_dict()
    if "blocks.0.attn.q_bias" not in wanted:
        state = _without_zero_biases(state)
    if layout == "huggingface":
        return state
    converted: State = checkpoint_filter_fn(state, module)
    return converted


def _without_zero_biases(state: State) -> State:
    """Drop the biases of queries, keys and values, all of which must be zero."""
    names = [
        name
        for name in state
        if _QKV.fullmatch(name) or name.endswith((".attn.q_bias", ".attn.v_bias"))
    ]
    for name in names:
        # Meta masks the key third of the bias, so it never counts.
        biases = state[name].chunk(3) if _QKV.fullmatch(name) else (state[name],)
        used = [biases[0], biases[-1]]
        if any(bool(bias.nan_to_num().any()) for bias in used):
            raise _invalid(
                "model has no query and value biases, but the file holds some; "
                "use the model's name that ends in _qkvb"
            )
    return {name: tensor for name, tensor in state.items() if name not in names}


def _from_huggingface(state: State) -> State:
    result: State = {}
    for name, tensor in state.items():
        match = _HUGGINGFACE_LAYER.fullmatch(name)
        if match:
            block, rest = f"blocks.{match.group(1)}.", match.group(2)
            result.update(_huggingface_block(block, rest, tensor, state, name))
        elif name == "embeddings.mask_token" or name.endswith("inv_freq"):
            continue
        else:
            result[_renamed(name, _HUGGINGFACE_STEM)] = tensor
    return result


def _huggingface_block(block: str, rest: str, tensor: Tensor, state: State, name: str) -> State:
    projection = _HUGGINGFACE_PROJECTION.fullmatch(rest)
    if projection:
        letter, kind = projection.groups()
        if kind == "bias":
            return {f"{block}attn.{letter}_bias": tensor}
        if letter != "q":
            return {}
        stem = name.removesuffix("q_proj.weight")
        stack = [state[key] for each in "qkv" if (key := f"{stem}{each}_proj.weight") in state]
        return {f"{block}attn.qkv.weight": torch.cat(stack)}
    gated = name.replace("up_proj", "gate_proj") in state
    renaming = {**_HUGGINGFACE_BLOCK, "mlp.up_proj.": "mlp.fc1_x." if gated else "mlp.fc1."}
    return {block + _renamed(rest, renaming): tensor}


def _renamed(name: str, renaming: Mapping[str, str]) -> str:
    for old, new in renaming.items():
        name = name.replace(old, new)
    return name


def _invalid(what: str, detail: str = "") -> JobError:
    return JobError(
        ErrorCode.MODEL_INVALID,
        f"The card's dino {what}.",
        "Correct the member dino of the model's card.",
        detail,
    )
