"""The networks of a card without their weights, and what each stage of a method holds with them.

Networks are built on PyTorch's meta device and run there on one batch of the size that the stage
takes, so nothing but names and shapes is needed: a preset can be weighed before its download.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geoseg_qgis.engine.zoo.card import ModelCard

from .device import default_dtype, prompts_per_batch, windows_per_batch
from .live_memory import peak_memory

META = torch.device("meta")
METHODS_WITH_MASKS = ("gumix", "mask_selection", "sam2", "clicks")

# What the open-vocabulary methods read when a card says nothing else: sides in pixels.
GUMIX_WINDOW = 336
GUMIX_DINO_SCALE = 2
GUMIX_POINTS = 32
FAST_WINDOW = 224
SELECTION_POINTS = 20

# Sizes that depend on the job or on the image, taken at the upper end of what is usual.
QUERIES = 64
REGIONS = 64
REQUESTS = 8
INSTRUCTION_WORDS = 96
OPENING_WORDS = 64

# The correlation of GUMix-RS: similarity, scores and their softmax in float32, and what is allowed.
_CORRELATION_BYTES = 13


class CardNetworks:
    """A card's networks on the meta device, each built when first asked for.

    Args:
        card: The preset's card.
        device: Where it would run; decides number formats and batches.
        folder: Where its files lie, if they do; sizes are then read from them.
    """

    def __init__(self, card: ModelCard, device: torch.device, folder: Path | None = None) -> None:
        self.card = card
        self.device = device
        self._folder = folder

    @cached_property
    def clip(self) -> Any:
        """open_clip's ``CLIP``, in the number format of the device."""
        from open_clip.model import convert_weights_to_lp  # noqa: PLC0415 - takes seconds

        from .clip import build_clip  # noqa: PLC0415 - as above

        if self.card.clip is None:
            return None
        dtype = default_dtype(self.device, "clip")
        module = build_clip(self.card.clip, dtype)
        if dtype != torch.float32:
            convert_weights_to_lp(module, dtype)
        return module.eval()

    @cached_property
    def dino(self) -> Any:
        """The ``Eva`` of timm."""
        from .dino import build_dino  # noqa: PLC0415 - importing timm takes seconds

        if self.card.dino is None:
            return None
        return build_dino(self.card.dino).to(default_dtype(self.device, "dino")).eval()

    @cached_property
    def sam2(self) -> Any:
        """A `Sam2Model` in float32, which its module is on every device."""
        from .sam2 import Sam2Model, build_sam2  # noqa: PLC0415 - the package may be absent

        if self.card.sam2 is None:
            return None
        module = build_sam2(self.card.sam2.model).to(META).eval()
        level = torch.ones(1, 3, 1, 1, device=META)
        return Sam2Model(module, self.card.sam2.model, level, level, META, torch.float32)

    @cached_property
    def segassess(self) -> Any:
        """A `SegAssess`; its weights are float32 on every device."""
        from .segassess.component import parse_segassess  # noqa: PLC0415 - as the others
        from .segassess.loading import stored_configuration  # noqa: PLC0415
        from .segassess.model import SegAssess  # noqa: PLC0415

        if "segassess" not in self.card.others:
            return None
        weights, settings = parse_segassess(self.card.others["segassess"])
        configuration = settings.configuration
        if configuration is None and self._folder is not None:
            configuration = stored_configuration(self._folder / weights.file)
        with META:
            return SegAssess(configuration).eval()

    @cached_property
    def unigeoseg(self) -> Any:
        """A `UniGeoSeg` whose tower and language model are in the number format of the device."""
        from .unigeoseg.checkpoint import CONFIG_FILE, read_config  # noqa: PLC0415 - as the others
        from .unigeoseg.configuration import UniGeoSegConfig  # noqa: PLC0415
        from .unigeoseg.model import UniGeoSeg  # noqa: PLC0415

        if self.card.unigeoseg is None:
            return None
        config = UniGeoSegConfig()
        place = None if self._folder is None else self._folder / self.card.unigeoseg.folder
        if place is not None and (place / CONFIG_FILE).is_file():
            config = read_config(place)
        with META:
            module = UniGeoSeg(config, with_language_head=False)
        return module.cast_backbone(default_dtype(self.device, "unigeoseg")).eval()

    def module(self, component: str) -> nn.Module | None:
        """Return a component's module; None for one that cannot be built from its card."""
        if component not in ("clip", "dino", "sam2", "segassess", "unigeoseg"):
            return None
        network = getattr(self, component)
        found: nn.Module | None = network.module if component == "sam2" else network
        return found

    def activations(self, method: str) -> int:
        """Return the most bytes that one batch of a method's stages holds besides the weights."""
        stages = []
        if method in METHODS_WITH_MASKS and self.sam2 is not None:
            stages.append(self._masks(method))
        if method == "gumix":
            stages.append(self._correlated_windows())
        if method in ("fast", "mask_selection"):
            stages.append(self._dense_windows())
        if method == "segassess":
            stages.append(self._assessed_tile())
        if method == "unigeoseg":
            stages.append(self._answers())
        return max(stages, default=0)

    def _correlated_windows(self) -> int:
        """GUMix-RS: DINOv3 on the enlarged windows, their correlation, CLIP with region tokens."""
        side = int(self.card.gumix.get("window", GUMIX_WINDOW))
        enlarged = side * int(self.card.gumix.get("dino_scale", GUMIX_DINO_SCALE))
        batch = windows_per_batch(self.device)
        images = self._images(batch, enlarged, self.dino.patch_embed.proj.weight.dtype)
        features = peak_memory(
            lambda: self.dino.forward_intermediates(
                images, indices=4, norm=True, output_fmt="NCHW", intermediates_only=True
            )
        )
        cells = (enlarged // int(self.dino.patch_embed.patch_size[0])) ** 2
        pairs = batch * cells**2
        kept = 4 * pairs + 4 * batch * cells * int(self.dino.embed_dim)
        trunk = kept + peak_memory(lambda: self._clip_blocks(batch, side, REGIONS))
        return max(features, _CORRELATION_BYTES * pairs, trunk) + self._scores(batch, side)

    def _dense_windows(self) -> int:
        """Dense CLIP: every block, then attention by alikeness, whose matrices are real."""
        patch = int(self.clip.visual.patch_size[0])
        side = -(-FAST_WINDOW // patch) * patch
        batch = windows_per_batch(self.device)

        def run() -> Tensor:
            tokens = self._clip_blocks(batch, side, 0)
            heads = self.clip.visual.transformer.resblocks[-1].attn.num_heads
            split = tokens.reshape(batch, -1, heads, tokens.shape[2] // heads).transpose(1, 2)
            similarity = split @ split.transpose(2, 3)
            return torch.softmax(similarity.float(), dim=-1).to(tokens.dtype)

        return peak_memory(run) + self._scores(batch, side)

    def _clip_blocks(self, batch: int, side: int, further: int) -> Tensor:
        visual = self.clip.visual
        count = (side // int(visual.patch_size[0])) ** 2 + 1 + further
        weight = visual.conv1.weight
        tokens = torch.zeros(batch, count, weight.shape[0], device=META, dtype=weight.dtype)
        for block in visual.transformer.resblocks:
            tokens = block(tokens)
        return tokens

    def _masks(self, method: str) -> int:
        """SAM 2: one tile encoded, then batches of prompts; found masks wait for their rivals."""
        model = self.sam2
        images = self._images(1, model.image_size, torch.float32)
        encoding = peak_memory(lambda: model.encode(images))
        with torch.inference_mode():
            embedding = model.encode(images)
            shared = model.share(embedding)
        batch = prompts_per_batch(self.device, model.prompt_bytes)
        prompts = torch.zeros(batch, 2, model.architecture.d_model, device=META)
        decoder = model.module.sam_mask_decoder
        held = sum(_size(part) for part in (embedding.image, embedding.quarter, embedding.eighth))

        def decode() -> object:
            from .sam2_decoder import decode_prompts  # noqa: PLC0415 - imported with the model

            return decode_prompts(decoder, shared, prompts, range(1))

        waiting = 2 * self._points(method) ** 2 * 4 * int(model.logits_size) ** 2
        return max(encoding, held + peak_memory(decode) + waiting)

    def _points(self, method: str) -> int:
        if method == "mask_selection":
            return SELECTION_POINTS
        if method != "gumix":
            return 0
        return int(self.card.gumix.get("proposals", {}).get("points_per_side", GUMIX_POINTS))

    def _assessed_tile(self) -> int:
        """SegAssess on one tile; its encoder holds far more than what follows."""
        from .segassess.component import parse_segassess  # noqa: PLC0415 - as in `segassess`

        settings = parse_segassess(self.card.others["segassess"])[1]
        images = self._images(1, settings.tile, torch.float32)
        return peak_memory(lambda: self.segassess.image_encoder(images))

    def _answers(self) -> int:
        """UniGeoSeg: a tile read, then a batch of requests on it."""
        model = self.unigeoseg
        width = model.config.language.hidden_size
        images = self._images(1, model.config.vision.image_size, torch.float32)
        reading = peak_memory(lambda: model.encode_image(images))
        with torch.inference_mode():
            features = model.encode_image(images)

        def answer() -> object:
            opening = torch.zeros(1, OPENING_WORDS, width, device=META).to(features.words.dtype)
            memory = model.model.remember(torch.cat([opening, features.words], dim=1))
            words = torch.zeros(REQUESTS, INSTRUCTION_WORDS, width, device=META)
            model.model.continue_from(memory, words, torch.ones_like(words[..., 0]).bool())
            query = torch.zeros(REQUESTS, 1, model.config.segmentation.width, device=META)
            return memory, model.predictor(features.expand(REQUESTS).pixels, query)

        return max(reading, peak_memory(answer))

    @staticmethod
    def _images(batch: int, side: int, dtype: torch.dtype) -> Tensor:
        return torch.zeros(batch, 3, side, side, device=META, dtype=dtype)

    @staticmethod
    def _scores(batch: int, side: int) -> int:
        """Images as they are read, and the scores of every query on every pixel, in float32."""
        return 4 * batch * side**2 * (3 + QUERIES)


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
