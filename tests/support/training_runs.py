"""A small run of every built-in model's training: a trainer and the losses of a step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from geoseg_qgis.engine.models.segassess import SegAssess
from geoseg_qgis.engine.models.unigeoseg.sequence import split_dialogue
from geoseg_qgis.engine.models.unigeoseg.template import UNIFIED, encode_template
from training import train_clip, train_dino, train_sam2, train_unet
from training.crops import CropSampler
from training.datasets import LabelledImage
from training.evaluate import LEGENDS
from training.land_cover import BIT, all_but, partial_label
from training.segassess import train as assess
from training.segassess.built_in import BUILT_IN
from training.segassess.mask_tiles import MaskTiles
from training.trainer import Plan, Trainer, has_checkpoint, read_checkpoint
from training.unigeoseg.alignment import align_places
from training.unigeoseg.built_in import build_network, build_tokenizer
from training.unigeoseg.scene_batches import SceneBatches
from training.unigeoseg.stored_scenes import SIDE as SCENE_SIDE
from training.unigeoseg.stored_scenes import stored_scenes
from training.unigeoseg.training_step import keep_half_precision, map_losses, step_losses
from training.vocabulary import QuerySampler

Losses = Callable[[int], dict[str, Tensor]]
Run = tuple[Trainer, Losses]
ROAD = partial_label("road", "car")
SIDE = 300
SMALL = 64
"""Side of crops and squares in pixels, the smallest that the networks take."""


def town() -> list[LabelledImage]:
    """Return one scene with a roof, a road and a pond in colours of their own."""
    labels = torch.full((SIDE, SIDE), BIT["grass"], dtype=torch.int32)
    labels[50:130, 60:160] = BIT["building"]
    labels[160:190] = ROAD
    labels[220:290, 180:280] = BIT["water"]
    pixels = 40 * torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    for channel, surface in enumerate((BIT["building"], ROAD, BIT["water"])):
        pixels[channel][labels == surface] += 180
    return [LabelledImage("dubai_landcover", "town", pixels.to(torch.uint8), labels, (0.8, 1.2))]


def one_building(label: int = BIT["building"]) -> LabelledImage:
    """Return an image with one bright rectangle of a label on ground without buildings."""
    labels = torch.full((SIDE, SIDE), all_but("building"), dtype=torch.int32)
    labels[100:200, 100:220] = label
    pixels = (labels == label).to(torch.uint8).mul(150).add(50).expand(3, -1, -1).contiguous()
    return LabelledImage("oam_buildings", "building", pixels, labels, (0.9, 1.1))


def clip(plan: Plan) -> Run:
    torch.manual_seed(1)
    model, tokenizer, _ = train_clip.build(plan.folder, 32, 64, 6)
    trainer = Trainer(model, plan, {})
    crops, queries = CropSampler(town(), 224, 1).batch, QuerySampler(1)
    return trainer, train_clip.ClipObjective(model, tokenizer, crops, queries, batch=2, seed=1)


def dino(plan: Plan) -> Run:
    torch.manual_seed(2)
    arguments = {**train_dino.ARGUMENTS, "embed_dim": 64, "depth": 4}
    network = timm.create_model(train_dino.MODEL, num_classes=0, **arguments)
    model = train_dino.LandCoverFeatures(network)
    trainer = Trainer(model, plan, {})
    crops = train_dino.crop_pairs(CropSampler(town(), SMALL, 2))
    return trainer, train_dino.DinoObjective(model, crops, 4, 2)


def sam2(plan: Plan) -> Run:
    torch.manual_seed(3)
    network = train_sam2.build()
    network.surfaces = train_sam2.LandCoverHead()
    trainer = Trainer(network, plan, {})
    return trainer, train_sam2.Sam2Objective(network, CropSampler(town(), SMALL, 3).batch, 1, 2, 3)


def unet(plan: Plan) -> Run:
    torch.manual_seed(4)
    classes = len(LEGENDS[train_unet.LEGEND])
    model = train_unet.UNet(classes, 8).to(memory_format=torch.channels_last)
    trainer = Trainer(model, plan, {})
    return trainer, train_unet.UNetObjective(model, CropSampler(town(), SMALL, 4).batch, 2)


def segassess(plan: Plan) -> Run:
    torch.manual_seed(5)
    network = assess.PresetNetwork(SegAssess(BUILT_IN))
    trainer = Trainer(network.to(memory_format=torch.channels_last), plan, {})
    return trainer, assess.PresetObjective(network, MaskTiles(town(), SMALL, 5).batch, 1)


def unigeoseg(plan: Plan) -> Run:
    plan.folder.mkdir(parents=True, exist_ok=True)
    scenes = stored_scenes(plan.folder.parent / "scenes", (5,))
    tokenizer = build_tokenizer(plan.folder, scenes)
    network = build_network(tokenizer, 6, SMALL)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    pieces = split_dialogue(encode_template(UNIFIED, tokenizer))
    trainer = Trainer(network.train(), plan, {})
    keep_half_precision(network.model)
    crops = [CropSampler(town(), SCENE_SIDE, 6)]
    batches = SceneBatches(scenes, crops, tokenizer, SMALL, 6)

    def losses(_step: int) -> dict[str, Tensor]:
        batch = batches.draw(1, 6, 1.0)
        align_places(network.model, [batch], pieces)
        maps = map_losses(network, batch)
        found = step_losses(network, batches.draw(1, 2, 0.5), pieces)
        return {**found, "total": maps["total"] + found["total"]}

    return trainer, losses


RUNS: dict[str, Callable[[Plan], Run]] = {
    "clip": clip,
    "dino": dino,
    "sam2": sam2,
    "unet": unet,
    "segassess": segassess,
    "unigeoseg": unigeoseg,
}


def one_step(name: str, folder: Path, device: torch.device) -> tuple[Trainer, dict[str, float]]:
    """Begin a run, or go on with it, for a single step that ends with a checkpoint.

    Returns:
        The trainer, and the losses of the step.
    """
    done = read_checkpoint(folder)["step"] if has_checkpoint(folder) else 0
    trainer, losses = RUNS[name](Plan(folder, steps=done + 1, device=device))
    seen: list[dict[str, float]] = []

    def watched(step: int) -> dict[str, Tensor]:
        found = losses(step)
        seen.append({loss: float(value.detach()) for loss, value in found.items()})
        return found

    trainer.run(watched)
    (step,) = seen
    return trainer, step
