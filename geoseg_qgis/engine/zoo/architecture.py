"""Shapes of SAM 2 image models, named or written out.

The image models of SAM 2.0 and SAM 2.1 are the same four architectures with other weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from geoseg_qgis.engine.json_reader import STRICT, ListOf, Members, parse, read_object

ARCHITECTURES = Path(__file__).parent / "architectures"

# Members of SAM 2's own configurations in which all published image models agree; the loader is
# written for these values.
_FIXED = {
    "directly_add_no_mem_embed": True,
    "use_high_res_features_in_sam": True,
    "iou_prediction_use_sigmoid": True,
    "pred_obj_scores": True,
    "pred_obj_scores_mlp": True,
    "fpn_interp_model": "nearest",
    "scalp": 1,
    "q_pool": 3,
}
# Far above every published model, yet small enough to be built or refused quickly.
_WIDEST = 16_384
_DEEPEST = 1_000

_Width = Annotated[int, Field(ge=1, le=_WIDEST)]
_Multiple = Annotated[int, Field(ge=32, le=_WIDEST, multiple_of=32)]
_Depth = Annotated[int, Field(ge=1, le=_DEEPEST)]
_Number = Annotated[int, Field(ge=0, le=_DEEPEST)]
_Four = Field(min_length=4, max_length=4)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Sam2Architecture(Members):
    """What it takes to build a SAM 2 image model.

    Attributes:
        image_size: Side of the square input in pixels.
        embed_dim: Width of the first stage of the Hiera encoder.
        num_heads: Attention heads of the first stage.
        stages: Blocks per stage.
        global_att_blocks: Blocks with global attention.
        window_spec: Window side per stage, in tokens.
        window_pos_embed_bkg_spatial_size: Grid of the background position embedding.
        d_model: Width of the neck and the mask decoder.
        fpn_top_down_levels: Levels that receive top-down features.
        stability_delta: Logit offset of the single mask's stability.
        stability_threshold: Below it, the best of three masks replaces the single mask.
    """

    image_size: _Multiple = 1024
    embed_dim: _Width
    num_heads: _Width
    stages: Annotated[ListOf[_Depth], _Four]
    global_att_blocks: ListOf[_Number]
    window_spec: Annotated[ListOf[_Width], _Four]
    window_pos_embed_bkg_spatial_size: Annotated[ListOf[_Width], Field(min_length=2, max_length=2)]
    d_model: _Multiple = 256
    fpn_top_down_levels: ListOf[_Number] = (2, 3)
    stability_delta: float = 0.05
    stability_threshold: float = 0.98

    @model_validator(mode="before")
    @classmethod
    def _without_fixed_members(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        for name, value in _FIXED.items():
            if data.get(name) not in (None, value):
                raise ValueError(f"supports no {name} but {json.dumps(value)}")
        return {name: value for name, value in data.items() if name not in _FIXED}

    @model_validator(mode="after")
    def _fits_together(self) -> Sam2Architecture:
        if self.image_size % (4 * self.window_spec[0]):
            raise ValueError(
                f"has image_size {self.image_size}, not a multiple of {4 * self.window_spec[0]}"
            )
        if self.embed_dim % self.num_heads:
            raise ValueError("has an embed_dim that is not a multiple of num_heads")
        if any(block >= sum(self.stages) for block in self.global_att_blocks):
            raise ValueError("has global_att_blocks that name a block that does not exist")
        return self

    @property
    def channel_list(self) -> list[int]:
        """Widths of the encoder's outputs, deepest first."""
        return [self.embed_dim * 2**stage for stage in reversed(range(len(self.stages)))]


def _named(data: Any) -> Any:
    if not isinstance(data, str):
        return data
    names = sorted(path.stem for path in ARCHITECTURES.glob("*.json"))
    if data not in names:
        raise ValueError(f"must be an object or one of {', '.join(names)}, not {data!r}")
    return read_object(ARCHITECTURES / f"{data}.json")


NamedArchitecture = Annotated[Sam2Architecture, BeforeValidator(_named)]
"""An architecture, or the name of one in ``architectures/``."""


def parse_sam2_architecture(data: Any, where: str) -> Sam2Architecture:
    """Return an architecture from its JSON object or its name.

    Raises:
        JobError: ``MODEL_INVALID`` when a member does not fit or the name is unknown.
    """
    architecture: Sam2Architecture = parse(NamedArchitecture, data, where)
    return architecture
