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
from training.land_cover import BIT, partial_label
from training.segassess import train_preset as assess
from training.segassess.mask_tiles import MaskTiles
from training.trainer import Plan, Trainer
from training.unigeoseg import train_preset as refer
from training.unigeoseg.alignment import align_places
from training.unigeoseg.batches import Teacher
from training.unigeoseg.objectives import dense_only_losses, keep_half_precision, lesson_losses
from training.unigeoseg.stored_scenes import SIDE as SCENE_SIDE
from training.unigeoseg.stored_scenes import stored_scenes
from training.vocabulary import QuerySampler

Losses = Callable[[int], dict[str, Tensor]]
Run = tuple[Trainer, Losses]
ROAD = partial_label("road", "car")
SIDE = 300


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
    model = train_dino.SurfaceFeatures(network)
    trainer = Trainer(model, plan, {})
    crops = train_dino.crop_pairs(CropSampler(town(), 96, 2))
    return trainer, train_dino.DinoObjective(model, crops, 4, 2)


def sam2(plan: Plan) -> Run:
    torch.manual_seed(3)
    network = train_sam2.build()
    network.surfaces = train_sam2.SurfaceHead()
    trainer = Trainer(network, plan, {})
    return trainer, train_sam2.Sam2Objective(network, CropSampler(town(), 128, 3).batch, 1, 2, 3)


def unet(plan: Plan) -> Run:
    torch.manual_seed(4)
    classes = len(LEGENDS[train_unet.LEGEND])
    model = train_unet.UNet(classes, 8).to(memory_format=torch.channels_last)
    trainer = Trainer(model, plan, {})
    return trainer, train_unet.UNetObjective(model, CropSampler(town(), 64, 4).batch, 2)


def segassess(plan: Plan) -> Run:
    torch.manual_seed(5)
    network = assess.PresetNetwork(SegAssess(assess.BUILT_IN))
    trainer = Trainer(network.to(memory_format=torch.channels_last), plan, {})
    return trainer, assess.PresetObjective(network, MaskTiles(town(), 64, 5).batch, 1)


def unigeoseg(plan: Plan) -> Run:
    plan.folder.mkdir(parents=True, exist_ok=True)
    scenes = stored_scenes(plan.folder.parent / "scenes", (5,))
    tokenizer = refer.build_tokenizer(plan.folder, scenes)
    pupil = refer.build_pupil(tokenizer, 6, SCENE_SIDE)
    for module in pupil.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    pieces = split_dialogue(encode_template(UNIFIED, tokenizer))
    trainer = Trainer(pupil.train(), plan, {})
    keep_half_precision(pupil.model)
    crops = [CropSampler(town(), SCENE_SIDE, 6)]
    teacher = Teacher(scenes, crops, tokenizer, SCENE_SIDE, 6)

    def losses(_step: int) -> dict[str, Tensor]:
        one = teacher.lesson(1, 6, 1.0)
        align_places(pupil.model, [(one.pixels, one.requests, one.meaning)], pieces)
        read = dense_only_losses(pupil, one)
        asked = lesson_losses(pupil, teacher.lesson(1, 2, 0.5), pieces)
        return {**asked, "total": read["total"] + asked["total"]}

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
    done = 0.0
    if (folder / "checkpoint.pt").is_file():
        done = torch.load(folder / "checkpoint.pt", weights_only=True)["seconds"]
    trainer, losses = RUNS[name](Plan(folder, done / 60 + 1e-9, device=device))
    seen: list[dict[str, float]] = []

    def watched(step: int) -> dict[str, Tensor]:
        found = losses(step)
        seen.append({loss: float(value.detach()) for loss, value in found.items()})
        return found

    trainer.run(watched)
    (step,) = seen
    return trainer, step
