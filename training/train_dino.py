"""Train the built-in DINO: `python -m training.train_dino --data FOLDER`.

Labels pull the patch features of one class together and push classes apart; two colourings of one
crop must agree whether labelled or not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
import torch
from torch import Tensor
from torch.nn import functional

from geoseg_qgis.engine.methods.open_vocabulary.gumix.settings import GumixSettings

from .affinity import affinity_loss, cell_labels
from .clickable_objects import NAMED
from .command import add_scene_options, begin_run, read_options, run_parser
from .crops import Batch, CropSampler
from .datasets import GENERATED_SHARE, load_images
from .device import device_of, half_precision
from .exported_networks import DINO
from .generated import generated_scenes
from .land_cover import SURFACES
from .losses import partial_cross_entropy
from .model_pages import write_run_page
from .prefetching import prefetch
from .trainer import mean_losses

MODEL = "vit_small_patch16_dinov3_qkvb"
ARGUMENTS: dict[str, Any] = {
    "embed_dim": 128,
    "depth": 6,
    "num_heads": 2,
    "num_reg_tokens": 2,
    "patch_size": 8,
}
MEAN = (0.430, 0.411, 0.296)
STD = (0.213, 0.156, 0.143)
LAYERS = 4
LAYER_SCALE = 0.3
SAMPLED_CELLS = 1024


class LandCoverFeatures(torch.nn.Module):
    """The network with one linear land cover classifier for each of its last blocks.

    Args:
        network: timm `Eva` without a head.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        for block in network.blocks:
            torch.nn.init.constant_(block.gamma_1, LAYER_SCALE)
            torch.nn.init.constant_(block.gamma_2, LAYER_SCALE)
        width = network.embed_dim
        self.heads = torch.nn.ModuleList(
            torch.nn.Linear(width, len(SURFACES)) for _ in range(LAYERS)
        )

    def layers(self, pixels: Tensor) -> list[Tensor]:
        """Return the normalised patch tokens (B, N, D) of the last blocks."""
        maps = self.network.forward_intermediates(
            pixels, indices=LAYERS, norm=True, intermediates_only=True
        )
        return [each.flatten(2).transpose(1, 2).float() for each in maps]


def fuse(layers: list[Tensor]) -> Tensor:
    """Return (B, N, D) unit sums of unit layer features with the method's base weights."""
    weights = torch.tensor(GumixSettings().layer_weights, device=layers[0].device).softmax(0)
    parts = [w * functional.normalize(x, dim=-1) for w, x in zip(weights, layers)]
    return functional.normalize(torch.stack(parts).sum(0), dim=-1)


def crop_pairs(crops: CropSampler) -> Callable[[int], tuple[Batch, Tensor]]:
    """Return what draws so many crops, and the first quarter of them in other colours."""

    def draw(count: int) -> tuple[Batch, Tensor]:
        batch = crops.batch(count)
        return batch, crops.recolour(batch.clean[: count // 4])

    return draw


class DinoObjective:
    """The loss of one step.

    Args:
        model: Network with land cover heads.
        crops: Draws so many crops, and the first quarter of them in other colours.
        batch: Crops a step.
        seed: Seed of the cell choice.
    """

    def __init__(
        self,
        model: LandCoverFeatures,
        crops: Callable[[int], tuple[Batch, Tensor]],
        batch: int,
        seed: int,
    ) -> None:
        self.model = model
        self.crops = crops
        self.batch = batch
        self.generator = torch.Generator().manual_seed(seed)
        self.device = device_of(model)
        self._mean = torch.tensor(MEAN, device=self.device)[:, None, None]
        self._std = torch.tensor(STD, device=self.device)[:, None, None]
        self._bits = torch.tensor([1 << n for n in range(len(SURFACES))], device=self.device)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Return the named losses of one step."""
        del step
        batch, second = self.crops(self.batch)
        pixels = torch.cat([batch.pixels, second]).to(self.device)
        pixels = (pixels - self._mean) / self._std
        with half_precision(self.device):
            layers = self.model.layers(pixels)
        fused = fuse(layers)
        cells = batch.labels.shape[-1] // ARGUMENTS["patch_size"]
        labels = cell_labels(batch.labels, cells).flatten().to(self.device)
        sample = self._some(len(labels), SAMPLED_CELLS)
        known = _is_named(labels)
        features = fused[: self.batch].flatten(0, 1)
        half = self.batch // 4
        losses = {
            "affinity": affinity_loss(features[sample], labels[sample], known[sample]),
            "inside": self._inside(fused[: self.batch], labels.view(self.batch, -1)),
            "surface": self._surface(layers, labels),
            "colour": 1 - (fused[:half] * fused[self.batch :]).sum(-1).mean(),
        }
        losses["total"] = (
            losses["affinity"] + 0.5 * losses["inside"] + losses["surface"] + losses["colour"]
        )
        return losses

    def _some(self, count: int, kept: int) -> Tensor:
        """Draw ``kept`` different indices below ``count``."""
        return torch.randperm(count, generator=self.generator)[:kept].to(self.device)

    def _inside(self, fused: Tensor, labels: Tensor) -> Tensor:
        """Return the affinity loss of the pairs inside single images."""
        keep = self._some(fused.shape[1], 256)
        return torch.stack(
            [
                affinity_loss(image[keep], mask[keep], _is_named(mask[keep]))
                for image, mask in zip(fused, labels)
            ]
        ).mean()

    def _surface(self, layers: list[Tensor], labels: Tensor) -> Tensor:
        positive = (labels[:, None] & self._bits) != 0
        return torch.stack(
            [
                partial_cross_entropy(head(tokens[: self.batch]).flatten(0, 1).float(), positive)
                for head, tokens in zip(self.model.heads, layers)
            ]
        ).mean()


def _is_named(labels: Tensor) -> Tensor:
    """Return which masks are classes of a legend, so that equal ones show the same class."""
    return torch.isin(labels, torch.tensor(NAMED, device=labels.device))


def main(arguments: list[str] | None = None) -> None:
    """Train from the command line."""
    parser = run_parser(__doc__, out="dino", minutes=12, batch=8, rate=1.5e-3, seed=2)
    add_scene_options(parser, GENERATED_SHARE, fixed=True)
    options = read_options(parser, arguments)
    network = timm.create_model(MODEL, num_classes=0, **ARGUMENTS)
    model = LandCoverFeatures(network)
    trainer = begin_run(options, model, arguments=ARGUMENTS)
    seed = trainer.stage_seed(options.seed)
    scenes = load_images(options.data, "train")
    scenes += generated_scenes(options.out.parent / "scenes", options.scenes)
    crops = prefetch(lambda n: crop_pairs(CropSampler(scenes, 224, n)), seed, options.device)
    objective = DinoObjective(model, crops, options.batch, seed)
    trainer.run(objective)
    trainer.finish()
    unseen = crop_pairs(CropSampler(load_images(options.data, "validation"), 224, 0))
    judge = DinoObjective(model, unseen, options.batch, seed=0)
    write_run_page(options.out, DINO, validation=mean_losses(judge))


if __name__ == "__main__":
    main()
