"""Shapes of SAM 2 image models, named or spelt out.

The image parts of SAM 2.0 and SAM 2.1 are the same four architectures; they differ in weights only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg_qgis.engine.json_reader import ObjectReader, read_object

ARCHITECTURES = Path(__file__).parent / "architectures"

# Published SAM 2 image models all have these; the loader is written for them.
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


@dataclass(frozen=True)
class Sam2Architecture:
    """What it takes to build a SAM 2 image model.

    Attributes:
        image_size: Side of the square input in pixels.
        embed_dim: Width of the first stage of the Hiera trunk.
        num_heads: Attention heads of the first stage.
        stages: Blocks per stage.
        global_att_blocks: Blocks with global attention.
        window_spec: Window side per stage, in tokens.
        window_pos_embed_bkg_spatial_size: Grid of the background position embedding.
        d_model: Width of the neck and the mask decoder.
        fpn_top_down_levels: Levels that receive top-down features.
        stability_delta: Logit offset of the single mask's stability.
        stability_threshold: Below it a single-mask answer falls back to the best of three.
    """

    image_size: int
    embed_dim: int
    num_heads: int
    stages: tuple[int, ...]
    global_att_blocks: tuple[int, ...]
    window_spec: tuple[int, ...]
    window_pos_embed_bkg_spatial_size: tuple[int, ...]
    d_model: int = 256
    fpn_top_down_levels: tuple[int, ...] = (2, 3)
    stability_delta: float = 0.05
    stability_threshold: float = 0.98

    @property
    def channel_list(self) -> list[int]:
        """Widths of the trunk's outputs, deepest first."""
        return [self.embed_dim * 2**stage for stage in reversed(range(len(self.stages)))]


def parse_sam2_architecture(data: Any, where: str) -> Sam2Architecture:
    """Return an architecture from its JSON object or from a name in ``architectures/``.

    Raises:
        JobError: ``MODEL_INVALID`` when a member does not fit or the name is unknown.
    """
    if isinstance(data, str):
        names = sorted(path.stem for path in ARCHITECTURES.glob("*.json"))
        if data not in names:
            reader = ObjectReader({}, where)
            raise reader.fail("model", f"is {data!r}, not one of {', '.join(names)}")
        data = read_object(ARCHITECTURES / f"{data}.json")
    reader = ObjectReader(data, where)
    for name, value in _FIXED.items():
        if reader.raw(name, value) != value:
            raise reader.fail(name, f"is not {value!r}, the only value supported")
    levels = reader.integers("fpn_top_down_levels") if "fpn_top_down_levels" in reader else (2, 3)
    architecture = Sam2Architecture(
        image_size=reader.integer("image_size", 1024, minimum=64),
        embed_dim=reader.integer("embed_dim", minimum=1),
        num_heads=reader.integer("num_heads", minimum=1),
        stages=reader.integers("stages", 4),
        global_att_blocks=reader.integers("global_att_blocks"),
        window_spec=reader.integers("window_spec", 4),
        window_pos_embed_bkg_spatial_size=reader.integers("window_pos_embed_bkg_spatial_size", 2),
        d_model=reader.integer("d_model", 256, minimum=32),
        fpn_top_down_levels=levels,
        stability_delta=reader.number("stability_delta", 0.05),
        stability_threshold=reader.number("stability_threshold", 0.98),
    )
    reader.finish()
    _check(architecture, reader)
    return architecture


def _check(architecture: Sam2Architecture, reader: ObjectReader) -> None:
    if min(architecture.stages) < 1:
        raise reader.fail("stages", "holds an empty stage")
    if min(architecture.window_spec) < 1:
        raise reader.fail("window_spec", "holds an empty window")
    if min(architecture.window_pos_embed_bkg_spatial_size) < 1:
        raise reader.fail("window_pos_embed_bkg_spatial_size", "is empty")
    step = max(32, 4 * architecture.window_spec[0])
    if architecture.image_size % 32 or architecture.image_size % (4 * architecture.window_spec[0]):
        raise reader.fail("image_size", f"is {architecture.image_size}, not a multiple of {step}")
    if architecture.d_model % 32:
        raise reader.fail("d_model", f"is {architecture.d_model}, not a multiple of 32")
    if architecture.embed_dim % architecture.num_heads:
        raise reader.fail("embed_dim", "is not a multiple of num_heads")
    if any(block >= sum(architecture.stages) for block in architecture.global_att_blocks):
        raise reader.fail("global_att_blocks", "names a block that does not exist")
