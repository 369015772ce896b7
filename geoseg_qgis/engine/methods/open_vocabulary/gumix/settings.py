"""Settings of GUMix-RS: every constant of the method in one frozen object.

`GumixSettings.paper()` reproduces the published method, `GumixSettings.geo()` is the variant for
rasters: id 0 alone means "unsegmented", padding and nodata take no part, flat windows stay finite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from pydantic.dataclasses import dataclass

from geoseg_qgis.engine.json_reader import STRICT, changed

SPATIAL_BLOCKS_BY_DEPTH = {12: 5, 24: 12, 32: 28}


@dataclass(frozen=True, config=STRICT)
class ProposalSettings:
    """Automatic mask generation of SAM 2 as the method asks for it.

    Attributes:
        points_per_side: Side of the square grid of single positive clicks.
        predicted_iou_threshold: A mask is kept when its predicted IoU is above this.
        stability_threshold: A mask is kept when its stability score is at least this.
        stability_offset: Offset of the mask logits for the stability score.
        mask_threshold: Mask logit above which a pixel belongs to the mask.
        box_overlap_threshold: IoU of two boxes above which the worse mask is dropped.
    """

    points_per_side: int = 32
    predicted_iou_threshold: float = 0.4
    stability_threshold: float = 0.4
    stability_offset: float = 1.0
    mask_threshold: float = 0.0
    box_overlap_threshold: float = 0.7


@dataclass(frozen=True, config=STRICT)
class GumixSettings:
    """Constants and switches of GUMix-RS.

    Attributes:
        network_size: Side in pixels of the square into which a whole image is fitted.
        pixel_mean: Mean of the CLIP normalisation, RGB, 0..255.
        pixel_std: Standard deviation of the CLIP normalisation, RGB, 0..255.
        scales: Enlargements between which each pixel is routed, ascending.
        window: Side of a sliding window, pixels.
        stride: Step between windows, pixels.
        pad_multiple: Windows are padded to a multiple of this, pixels.
        padding_id: Region id of padded pixels when `padding_is_region`.
        clip_mean: CLIP mean in unit range, undone before DINO.
        clip_std: CLIP standard deviation in unit range, undone before DINO.
        dino_scale: Enlargement of a window for DINO.
        dino_mean: Mean of the DINO normalisation, unit range.
        dino_std: Standard deviation of the DINO normalisation, unit range.
        layer_weights: Base weight of each of the last DINO blocks, first to last.
        layer_sensitivities: How a block's weight grows with the geometric complexity.
        complexity_minimum_area: Regions with fewer pixels have complexity 0.
        complexity_epsilon: Added to the area.
        cluster_epsilon: Largest cosine distance (below the greatest cosine) that merges regions.
        attention_temperature: Factor on the similarity before the softmax.
        spatial_weight: Weight of the mean of intermediate blocks.
        semantic_weight: Weight of the region tokens.
        spatial_block_count: Blocks in the spatial branch, 0 for the rule by depth.
        entropy_epsilon: Smallest probability inside the logarithm of the entropy.
        normalisation_epsilon: Added to a range before dividing by it.
        geometry_weight: Weight of the geometry preference in the routing score.
        uncertainty_weight: Weight of the entropy in the routing score.
        logit_scale: Factor on the cosines before the final softmax.
        probability_threshold: Below this greatest probability a pixel is background.
        background_index: Class index of such pixels.
        proposals: Settings of the SAM 2 masks.
        first_id_is_unsegmented: The smallest id of a window means "unsegmented" (the published
            behaviour), else id 0 alone does.
        padding_is_region: Padding takes part as a region (published), else as invalid pixels.
        diagonal_always_allowed: Every cell may attend to itself, which keeps flat windows finite.
        feathered: Overlapping windows are weighted by linear ramps, which hides seams; else they
            have the same weight (published).
    """

    network_size: int = 448
    pixel_mean: tuple[float, ...] = (122.771, 116.746, 104.094)
    pixel_std: tuple[float, ...] = (68.501, 66.632, 70.323)
    scales: tuple[float, ...] = (1.0, 1.5)
    window: int = 336
    stride: int = 112
    pad_multiple: int = 56
    padding_id: int = 10000
    clip_mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    clip_std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
    dino_scale: int = 2
    dino_mean: tuple[float, ...] = (0.430, 0.411, 0.296)
    dino_std: tuple[float, ...] = (0.213, 0.156, 0.143)
    layer_weights: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4)
    layer_sensitivities: tuple[float, ...] = (0.5, 0.2, -0.2, -0.5)
    complexity_minimum_area: int = 20
    complexity_epsilon: float = 1e-6
    cluster_epsilon: float = 0.2
    attention_temperature: float = 4.0
    spatial_weight: float = 1.0
    semantic_weight: float = 0.5
    spatial_block_count: int = 0
    entropy_epsilon: float = 1e-6
    normalisation_epsilon: float = 1e-6
    geometry_weight: float = 1.0
    uncertainty_weight: float = 1.0
    logit_scale: float = 40.0
    probability_threshold: float = 0.0
    background_index: int = 0
    proposals: ProposalSettings = field(default_factory=ProposalSettings)
    first_id_is_unsegmented: bool = True
    padding_is_region: bool = True
    diagonal_always_allowed: bool = False
    feathered: bool = False

    def __post_init__(self) -> None:
        if len(self.layer_weights) != len(self.layer_sensitivities):
            raise ValueError("layer_weights and layer_sensitivities must have the same length.")
        if not self.scales or list(self.scales) != sorted(set(self.scales)):
            raise ValueError("scales must be ascending and different from each other.")
        for name in ("network_size", "window", "stride", "pad_multiple", "dino_scale"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1.")

    @classmethod
    def paper(cls) -> GumixSettings:
        """The settings of the published method."""
        return cls()

    @classmethod
    def geo(cls) -> GumixSettings:
        """The settings for rasters: explicit id 0, invalid padding, finite flat windows, ramps."""
        return cls(
            first_id_is_unsegmented=False,
            padding_is_region=False,
            diagonal_always_allowed=True,
            feathered=True,
        )

    def with_overrides(self, overrides: Mapping[str, Any]) -> GumixSettings:
        """A copy with values from a model card's JSON object.

        Args:
            overrides: Field names and values; `proposals` may be an object of its own fields.

        Returns:
            The changed settings.

        Raises:
            JobError: ``MODEL_INVALID`` when a name is unknown or a value does not fit.
        """
        return changed(self, overrides, "card.gumix")

    def spatial_blocks(self, depth: int) -> range:
        """Indices of the CLIP blocks whose mean is the spatial branch (paper: 2..29 of 32).

        Args:
            depth: Number of CLIP blocks.

        Returns:
            The block indices, ending at the third last block.

        Raises:
            ValueError: The network is too shallow for the number of blocks asked for.
        """
        count = self.spatial_block_count or SPATIAL_BLOCKS_BY_DEPTH.get(depth, depth - 4)
        if count < 1 or depth - 2 - count < 0:
            raise ValueError(
                f"A CLIP network of {depth} blocks has no {count} blocks for the spatial branch; "
                "set spatial_block_count between 1 and the depth minus 2."
            )
        return range(depth - 2 - count, depth - 2)
