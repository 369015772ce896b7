"""Train the built-in SAM 2: `python -m training.train_sam2 --data FOLDER`.

The network takes 512 x 512 pixels. Training uses smaller crops, placed anywhere in that square:
positions are encoded as if the crop were part of a whole image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from geoseg_qgis.engine.models import sam2
from geoseg_qgis.engine.zoo.architecture import Sam2Architecture

from .clickable_objects import Target, colour_regions, label_components, with_labelled_objects
from .command import add_scene_options, add_start_option, begin_run, read_options, run_parser
from .crops import Batch, CropSampler
from .datasets import LabelledImage, load_images
from .device import device_of, half_precision
from .exported_networks import SAM2
from .generated import generated_scenes
from .land_cover import BIT, SURFACES
from .losses import compatible, partial_cross_entropy
from .model_pages import write_run_page
from .prefetching import prefetch
from .simulated_prompts import Prompts, PromptSampler
from .trainer import mean_losses, read_checkpoint

ARCHITECTURE = Sam2Architecture(
    image_size=512,
    embed_dim=32,
    num_heads=1,
    stages=(1, 2, 3, 1),
    global_att_blocks=(4,),
    window_spec=(8, 4, 8, 4),
    window_pos_embed_bkg_spatial_size=(8, 8),
    d_model=128,
)
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
CROP = 256
TOKEN = 16
LABEL_SHARE = 0.8
POSITION_GAIN = 2.0
OBJECT_SHARE = 0.35
CORRECTIONS = 2
SURFACE_SHARE = 0.5
REAL_SHARES = {
    "oam_buildings": 0.40,
    "spacenet_linz_buildings": 0.15,
    "neon_tree_boxes": 0.15,
    "dubai_landcover": 0.15,
    "aerial_cars": 0.08,
    "s2_korea_10m": 0.07,
}
"""Sets that outline single objects weigh more here than those that paint whole areas."""
CLOSER = 1.8
CLOSEST = 3.0
"""Factor and limit of the zoom, compared with networks that name land covers."""


def build() -> Any:
    """Return the network with random values."""
    network = sam2.new_sam2(ARCHITECTURE)
    trunk = network.image_encoder.trunk
    torch.nn.init.trunc_normal_(trunk.pos_embed, std=0.02)
    torch.nn.init.trunc_normal_(trunk.pos_embed_window, std=0.02)
    _attend_to_clicks(network.sam_mask_decoder.transformer)
    for name, parameter in network.named_parameters():
        if name in ("no_obj_ptr", "no_obj_embed_spatial") or name.startswith("obj_ptr_proj"):
            parameter.requires_grad_(requires_grad=False)
    return network


def _attend_to_clicks(transformer: Any) -> None:
    """Start every cross-attention from similar positions, which would take long to learn."""
    attentions = [transformer.final_attn_token_to_image]
    for layer in transformer.layers:
        attentions += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    for attention in attentions:
        with torch.no_grad():
            attention.q_proj.weight.mul_(POSITION_GAIN)
            attention.k_proj.weight.copy_(attention.q_proj.weight)


def zoomed_in(scene: LabelledImage) -> LabelledImage:
    """Return a scene whose crops show objects as large as the plugin shows them."""
    low, high = scene.zoom
    return replace(scene, zoom=(low, max(high, min(CLOSEST, high * CLOSER))))


class LandCoverHead(torch.nn.Module):
    """Names the land cover of every fourth pixel from the encoder's three levels, in training only.

    Every pixel trains it, while a click trains one object: features become useful sooner.
    """

    def __init__(self) -> None:
        super().__init__()
        width = ARCHITECTURE.d_model
        self.classify = torch.nn.Conv2d(width // 8 + width // 4 + width, len(SURFACES), 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Return logits (B, K, h, w) of the `SURFACES`, from levels (B, C, h / 2^i, w / 2^i)."""
        size = levels[0].shape[-2:]
        raised = [functional.interpolate(level, size=size, mode="bilinear") for level in levels]
        logits: Tensor = self.classify(torch.cat(raised, dim=1))
        return logits


def surface_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of land covers with partial labels.

    Args:
        logits: (B, K, h, w).
        labels: (B, S, S) int64 bit masks, S a multiple of h.
    """
    step = labels.shape[-1] // logits.shape[-1]
    values = labels[:, step // 2 :: step, step // 2 :: step].flatten()
    bits = torch.tensor([BIT[name] for name in SURFACES], device=labels.device)
    return partial_cross_entropy(logits.movedim(1, -1).flatten(0, 2), compatible(values, bits))


class Sam2Objective:
    """The loss of one step.

    Args:
        network: The package's `SAM2Base`, with a `LandCoverHead` as its `surfaces`.
        crops: Draws so many crops.
        batch: Crops a step.
        prompts: Prompts a crop.
        seed: Seed of targets and prompts.
    """

    def __init__(
        self,
        network: Any,
        crops: Callable[[int], Batch],
        batch: int,
        prompts: int,
        seed: int,
    ) -> None:
        self.network = network
        self.crops = crops
        self.batch = batch
        self.count = prompts
        self.random = np.random.default_rng(seed)
        self.sampler = PromptSampler(self.random)
        self.device = device_of(network)
        self._mean = torch.tensor(MEAN, device=self.device)[:, None, None]
        self._std = torch.tensor(STD, device=self.device)[:, None, None]

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Return the named losses of one step."""
        del step
        batch = self.crops(self.batch)
        targets: list[tuple[int, Target]] = []
        for index in range(self.batch):
            chosen = self._targets(batch.clean[index], batch.labels[index])
            targets.extend((index, target) for target in chosen)
        prompts = self.sampler.prompts(targets)
        pixels, labels = batch.pixels.to(self.device), batch.labels.to(self.device)
        with half_precision(self.device):
            features = self.network.forward_image((pixels - self._mean) / self._std)
        levels = [level.float() for level in features["backbone_fpn"]]
        rounds = []
        place, previous = self._place(levels[-1].shape[-1]), None
        for turn in range(1 + CORRECTIONS):
            if previous is not None:
                found = functional.interpolate(previous, size=prompts.masks.shape[-2:]) > 0
                prompts = self.sampler.corrected(prompts, found[:, 0].cpu().numpy())
            sent = prompts.to(self.device)
            logits, iou, objectness = self._decode(levels, sent, place, previous)
            rounds.append(_losses(logits, iou, objectness, sent))
            previous = logits[:, :1].detach()
            rounds[-1][f"iou_of_round_{turn + 1}"] = rounds[-1].pop("measured_iou")
        losses = {name: value for turn in rounds for name, value in turn.items()}
        losses["surfaces"] = surface_loss(self.network.surfaces(levels), labels)
        # Most users see the first mask alone.
        losses["total"] = 0.5 * rounds[0]["total"] + sum(turn["total"] for turn in rounds) / (
            2 * len(rounds)
        )
        losses["total"] = losses["total"] + SURFACE_SHARE * losses["surfaces"]
        return losses

    def _targets(self, pixels: Tensor, labels: Tensor) -> list[Target]:
        components = label_components(labels, self.random)
        regions = colour_regions(pixels, self.random)
        chosen = []
        for _ in range(self.count):
            use_label = components and (not regions or self.random.random() < LABEL_SHARE)
            pool = components if use_label else regions
            if not pool:
                continue
            sizes = np.array([target.mask.sum() for target in pool], np.float64) ** 0.5
            chosen.append(pool[int(self.random.choice(len(pool), p=sizes / sizes.sum()))])
        return chosen

    def _place(self, cells: int) -> tuple[int, int]:
        """Draw where the crop lies in the network's square: column and row of its first cell."""
        free = ARCHITECTURE.image_size // TOKEN - cells
        left, top = (int(n) for n in self.random.integers(0, free + 1, 2))
        return left, top

    def _decode(
        self,
        levels: list[Tensor],
        prompts: Prompts,
        place: tuple[int, int],
        previous: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        quarter, eighth, image = levels
        image = image + self.network.no_mem_embed.reshape(1, -1, 1, 1)
        cells = image.shape[-1]
        left, top = place
        offset = torch.tensor([left, top], dtype=torch.float32, device=self.device) * TOKEN
        encoder = self.network.sam_prompt_encoder
        sparse, _ = encoder(points=(prompts.points + offset, prompts.marks), boxes=None, masks=None)
        position = encoder.get_dense_pe()[:, :, top : top + cells, left : left + cells]
        if previous is None:
            none = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
            dense = none.expand(len(prompts.image), -1, cells, cells)
        else:
            _, dense = encoder(points=None, boxes=None, masks=previous.clamp(-32, 32))
        logits, iou, _, objectness = self.network.sam_mask_decoder.predict_masks(
            image_embeddings=image[prompts.image],
            image_pe=position,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            repeat_image=False,
            high_res_features=[quarter[prompts.image], eighth[prompts.image]],
        )
        return logits, iou, objectness


def _losses(logits: Tensor, iou: Tensor, objectness: Tensor, prompts: Prompts) -> dict[str, Tensor]:
    size = logits.shape[-2:]
    target = functional.interpolate(prompts.masks[:, None], size=size, mode="area")
    known = functional.interpolate(prompts.known[:, None], size=size, mode="area")
    mask_loss = _cross_entropy(logits, target, known) + _dice(logits, target, known)
    best = mask_loss[:, 1:].argmin(1)
    single = mask_loss[:, 0].mean()
    multiple = mask_loss[:, 1:].gather(1, best[:, None]).mean()
    with torch.no_grad():
        truth = _intersection_over_union(logits, target, known)
    losses = {
        "single": single,
        "multiple": multiple,
        "iou": functional.smooth_l1_loss(iou, truth, beta=0.1),
        "objectness": functional.softplus(-objectness).mean(),
        "measured_iou": truth[:, 0].mean(),
    }
    losses["total"] = single + 0.5 * multiple + 0.5 * losses["iou"] + 0.02 * losses["objectness"]
    return losses


def _cross_entropy(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Return the cross-entropy (N, K), half from the object and half from its surroundings."""
    inside, outside = target * known, (1 - target) * known
    lost = (functional.softplus(-logits) * inside).sum((2, 3)) / inside.sum((2, 3)).clamp_min(1)
    spilt = (functional.softplus(logits) * outside).sum((2, 3)) / outside.sum((2, 3)).clamp_min(1)
    return OBJECT_SHARE * lost + (1 - OBJECT_SHARE) * spilt


def _dice(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    probability = logits.sigmoid() * known
    overlap = (probability * target).sum((2, 3))
    return 1 - (2 * overlap + 1) / (probability.sum((2, 3)) + (target * known).sum((2, 3)) + 1)


def _intersection_over_union(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    found = (logits > 0) & (known > 0.5)
    wanted = (target > 0.5) & (known > 0.5)
    common = (found & wanted).sum((2, 3)).float()
    return common / (found | wanted).sum((2, 3)).clamp_min(1)


def main(arguments: list[str] | None = None) -> None:
    """Train from the command line."""
    parser = run_parser(__doc__, out="sam2", minutes=20, batch=4, rate=1e-3, seed=3)
    parser.add_argument("--prompts", type=int, default=8, help="prompts a crop")
    add_scene_options(parser, 0.5)
    add_start_option(parser)
    options = read_options(parser, arguments)
    network = build()
    network.surfaces = LandCoverHead()
    if options.start:
        network.load_state_dict(read_checkpoint(options.start)["average"], strict=False)
    architecture = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(ARCHITECTURE).items()
    }
    trainer = begin_run(options, network, architecture=architecture)
    seed = trainer.stage_seed(options.seed)
    scenes = load_images(options.data, "train")
    scenes += generated_scenes(options.out.parent / "scenes", options.scenes)
    scenes = [zoomed_in(with_labelled_objects(scene)) for scene in scenes]

    def source(seed: int) -> Callable[[int], Batch]:
        return CropSampler(scenes, CROP, seed, options.generated, REAL_SHARES).batch

    crops = prefetch(source, seed, options.device)
    objective = Sam2Objective(network, crops, options.batch, options.prompts, seed)
    trainer.run(objective)
    trainer.finish()
    unseen = [with_labelled_objects(scene) for scene in load_images(options.data, "validation")]
    sampler = CropSampler(unseen, CROP, 0, 0.0, REAL_SHARES)
    judge = Sam2Objective(network, sampler.batch, options.batch, options.prompts, seed=0)
    write_run_page(options.out, SAM2, validation=mean_losses(judge))


if __name__ == "__main__":
    main()
