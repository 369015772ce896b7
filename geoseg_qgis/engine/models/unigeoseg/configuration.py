"""Sizes of a UniGeoSeg network, read from a checkpoint's ``config.json``.

A published ``config.json`` names the sizes of the language model only; the mask decoder of every
published checkpoint has the sizes that are the defaults here. Smaller networks state theirs in the
sections ``vision`` and ``segmentation`` of the same file.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, Mapping

from pydantic.dataclasses import dataclass

from geoseg_qgis.engine.json_reader import LENIENT, ListOf, Members, parse
from geoseg_qgis.protocol.errors import ErrorCode, JobError

ConnectorKind = Literal["SparseConv_1", "MSCC", "swin_conv"]
CONNECTOR_KINDS: tuple[ConnectorKind, ...] = ("SparseConv_1", "MSCC", "swin_conv")


@dataclass(frozen=True, config=LENIENT)
class LanguageConfig(Members):
    """Sizes of the Phi language model."""

    vocab_size: int = 50297
    hidden_size: int = 2048
    intermediate_size: int = 8192
    num_hidden_layers: int = 24
    num_attention_heads: int = 32
    partial_rotary_factor: float = 0.5
    rope_theta: float = 10000.0
    layer_norm_eps: float = 1e-5
    max_position_embeddings: int = 2048


@dataclass(frozen=True, config=LENIENT)
class VisionConfig(Members):
    """Sizes of the Swin tower; the defaults are Swin-B with 12x12 windows.

    ``position_frequencies`` adds absolute positions to the patches; published towers have none.
    """

    image_size: int = 512
    embed_dim: int = 128
    depths: ListOf[int] = (2, 2, 18, 2)
    num_heads: ListOf[int] = (4, 8, 16, 32)
    window_size: int = 12
    position_frequencies: int = 0

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the four feature maps, strides 4, 8, 16 and 32."""
        return tuple(self.embed_dim * 2**stage for stage in range(len(self.depths)))


@dataclass(frozen=True, config=LENIENT)
class SegmentationConfig(Members):
    """Sizes of the description head, the pixel decoder and the mask decoder.

    Published networks have none of the following. ``position_frequencies`` adds absolute positions
    to the fine map: a small network has no room to learn them from the borders of the image.
    ``coordinate_frequencies`` adds sines and cosines to the coordinates of points and boxes. The
    first ``open_layers`` of the mask decoder are not masked: other objects that a sentence names
    lie outside of the first mask. With ``keep_small_answers`` masked attention reads a cell of a
    coarse level where any fine cell in it is foreground.
    """

    head_width: int = 512
    head_heads: int = 8
    head_dim: int = 64
    memory_slots: int = 4
    width: int = 256
    num_heads: int = 8
    encoder_layers: int = 6
    encoder_ffn: int = 1024
    sampling_points: int = 4
    decoder_layers: int = 9
    decoder_ffn: int = 2048
    num_queries: int = 100
    position_frequencies: int = 0
    coordinate_frequencies: int = 0
    open_layers: int = 0
    keep_small_answers: bool = False


@dataclasses.dataclass(frozen=True)
class UniGeoSegConfig:
    """All sizes of one network."""

    language: LanguageConfig = dataclasses.field(default_factory=LanguageConfig)
    vision: VisionConfig = dataclasses.field(default_factory=VisionConfig)
    segmentation: SegmentationConfig = dataclasses.field(default_factory=SegmentationConfig)
    connector: ConnectorKind = "SparseConv_1"

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> UniGeoSegConfig:
        """Read a checkpoint's configuration; fields that it lacks keep the published sizes.

        Raises:
            JobError: The file describes another kind of network.
        """
        where = "config.json"
        model_type = data.get("model_type", "llava_phi")
        if model_type != "llava_phi":
            raise JobError(
                ErrorCode.MODEL_INVALID,
                f"config.json describes a model of type {model_type!r}, not UniGeoSeg.",
                "Choose the folder of a UniGeoSeg checkpoint.",
            )
        if "vision" not in data and data.get("swin_type", "base") != "base":
            raise JobError(
                ErrorCode.MODEL_INVALID,
                f"config.json asks for a Swin tower of type {data['swin_type']!r}.",
                "Choose a checkpoint with the base tower, the only published one.",
            )
        connector = data.get("mm_projector_type", "SparseConv_1")
        if connector not in CONNECTOR_KINDS:
            raise JobError(
                ErrorCode.MODEL_INVALID,
                f"config.json asks for a connector of type {connector!r}.",
                f"Known connectors are {', '.join(CONNECTOR_KINDS)}.",
            )
        return cls(
            language=parse(LanguageConfig, _with_rope_parameters(data), where),
            vision=parse(VisionConfig, data.get("vision", {}), f"{where}: vision"),
            segmentation=parse(
                SegmentationConfig, data.get("segmentation", {}), f"{where}: segmentation"
            ),
            connector=connector,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the members of a ``config.json`` that ``from_json`` reads back unchanged."""
        return {
            "model_type": "llava_phi",
            "mask_decode_train": True,
            **dataclasses.asdict(self.language),
            "mm_projector_type": self.connector,
            "projector_outdim": self.language.hidden_size,
            "vision": dataclasses.asdict(self.vision),
            "segmentation": dataclasses.asdict(self.segmentation),
        }


def _with_rope_parameters(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Copy ``rope_parameters`` (files of transformers 5) to the names of older files."""
    return {**data, **(data.get("rope_parameters") or {})}
