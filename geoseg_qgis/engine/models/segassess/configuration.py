"""Sizes of a SegAssess network."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from geoseg_qgis.engine.json_reader import STRICT, Count, ListOf, Members, Size

PromptResampling = Literal["bilinear", "average"]
Stem = Literal["patches", "convolutions"]


@dataclass(frozen=True, config=STRICT)
class SegAssessConfiguration(Members):
    """Sizes of the encoder and the decoder; the defaults are the published ViT-B network.

    The image size is not among them: the same weights serve any size.

    Attributes:
        encoder_width: Channels of the vision transformer.
        encoder_depth: Number of transformer blocks.
        encoder_heads: Attention heads of a block.
        global_blocks: The four blocks that attend over the whole image; the others use windows.
        window: Side of an attention window, in patches.
        stored_grid: Side of the stored position table, in patches.
        patch: Side of a patch, in pixels.
        decoder_width: Channels of the prompt encoder and the mask decoder.
        decoder_depth: Two-way transformer layers.
        decoder_heads: Attention heads of the two-way transformer.
        decoder_hidden: Hidden width of its feed-forward layers.
        score_hidden: Hidden width of the unused score head that checkpoints hold.
        prompt_resampling: How the mask embedding reaches the patch grid. ``bilinear`` is the
            published network and samples only the central quarter of each patch; ``average``
            uses every mask pixel and needs weights trained with it.
        stem: How pixels become patches. ``patches`` is the published network: one projection.
            ``convolutions`` halves the image four times and also passes image and mask at a quarter
            of the resolution to the decoder; small networks train much faster with it.
    """

    encoder_width: Size = 768
    encoder_depth: Size = 12
    encoder_heads: Size = 12
    global_blocks: ListOf[Count] = (2, 5, 8, 11)
    window: Size = 14
    stored_grid: Size = 64
    patch: Size = 16
    decoder_width: Size = 256
    decoder_depth: Size = 2
    decoder_heads: Size = 8
    decoder_hidden: Size = 2048
    score_hidden: Size = 256
    prompt_resampling: PromptResampling = "bilinear"
    stem: Stem = "patches"

    def __post_init__(self) -> None:
        """Check that the sizes fit together.

        Raises:
            ValueError: A width is not divisible by its heads, the global blocks are wrong, or the
                patches do not suit the stem.
        """
        if self.encoder_width % self.encoder_heads or self.encoder_width % 16:
            raise ValueError("encoder_width must be divisible by encoder_heads and by 16")
        if (self.decoder_width // 2) % self.decoder_heads or self.decoder_width % 8:
            raise ValueError("half of decoder_width must be divisible by decoder_heads")
        blocks = self.global_blocks
        if len(blocks) != 4 or list(blocks) != sorted(set(blocks)):
            raise ValueError("global_blocks must name four different blocks in rising order")
        if blocks[-1] != self.encoder_depth - 1:
            raise ValueError("the last block must attend globally")
        if self.stem == "convolutions" and self.patch != 16:
            raise ValueError("a stem of convolutions makes patches of 16 pixels")

    def to_json(self) -> dict[str, Any]:
        """Return the sizes as a JSON object."""
        return dataclasses.asdict(self) | {"global_blocks": list(self.global_blocks)}
