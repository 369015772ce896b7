"""Train the built-in SegAssess network on labelled scenes.

`python -m training.segassess.foreign_maps --data FOLDER` first computes the
class maps of the built-in image and text encoder, then
`python -m training.segassess.train --data FOLDER --minutes 60` trains.
A stopped run goes on from its last checkpoint. `evaluate` beside this module scores the result.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from geoseg_qgis.engine.models.segassess import (
    SegAssess,
    SegAssessOutput,
    save_segassess,
)
from training.command import add_scene_options, begin_run, read_options, run_parser
from training.datasets import load_images
from training.device import device_of, half_precision
from training.exported_networks import SEGASSESS
from training.generated import generated_scenes
from training.land_cover import BIT, SURFACES
from training.losses import compatible, partial_cross_entropy, rarity
from training.model_pages import write_run_page
from training.prefetching import prefetch
from training.trainer import Trainer, read_checkpoint

from .built_in import BUILT_IN, TILE
from .foreign_maps import stored_maps
from .losses import LossOptions, segassess_losses
from .mask_tiles import GENERATED_SHARE, KINDS, MaskTileBatch, MaskTiles

STRIDE = 4
LOSSES = LossOptions(class_weights=(0.6, 1.6, 0.4, 2.0), as_published=False, edge_weight=0.2)


class PresetNetwork(nn.Module):
    """The network to train, and a head that names land covers from its image features.

    The head is not exported. It lets every labelled pixel train the encoder, while a mask is about
    one kind of object only.
    """

    def __init__(self, model: SegAssess) -> None:
        super().__init__()
        self.assess = model
        self.surfaces = nn.Conv2d(model.configuration.decoder_width // 8, len(SURFACES), 1)

    def forward(self, images: Tensor, masks: Tensor) -> tuple[SegAssessOutput, Tensor]:
        """Return the assessment (S / 2) and land cover logits (B, C, S / 4, S / 4) as float32.

        Half of the resolution is still twice that of the decoder, and a quarter of the work.
        """
        encoded = self.assess.image_encoder(images)
        details = self.assess.mask_decoder.details(encoded)
        size = (masks.shape[-2] // 2, masks.shape[-1] // 2)
        output = self.assess.assess(encoded, details, masks, size)
        return output, self.surfaces(details).float()


class PresetObjective:
    """The losses of one step.

    Args:
        network: To be trained.
        tiles: Draws a number of tiles.
        batch: Tiles a step.
    """

    def __init__(
        self, network: PresetNetwork, tiles: Callable[[int], MaskTileBatch], batch: int
    ) -> None:
        self._network = network.train()
        self._tiles = tiles
        self._batch = batch
        self._device = device_of(network)
        self._bits = torch.tensor([BIT[name] for name in SURFACES], device=self._device)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Return the named losses of a step; ``total`` is to be minimised."""
        batch = self._tiles(self._batch).to(self._device)
        images = batch.images.contiguous(memory_format=torch.channels_last)
        with half_precision(self._device):
            output, surfaces = self._network(images, batch.masks)
        # One pixel of four stands for a cell, each in turn, which keeps outlines in place.
        row, column = step // 2 % 2, step % 2
        masks, truth, valid = (
            tensor[..., row::2, column::2] for tensor in (batch.masks, batch.truth, batch.valid)
        )
        losses = segassess_losses(output, masks, truth, LOSSES, valid).named()
        losses["surfaces"] = self._surface_loss(surfaces, batch.labels)
        losses["total"] = losses["total"] + losses["surfaces"]
        return losses

    def _surface_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        fine = labels[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].flatten()
        rows = logits.permute(0, 2, 3, 1).flatten(0, 2)
        return partial_cross_entropy(
            rows, compatible(fine, self._bits), rarity(fine, exponent=0.45, limit=5.0)
        )


def averaged(trainer: Trainer) -> SegAssess:
    """Return the network with the averaged weights of a run, in eval mode."""
    network = PresetNetwork(SegAssess(BUILT_IN))
    network.load_state_dict(trainer.average)
    return network.assess.eval()


def load_run(run: Path) -> SegAssess:
    """Return the network with the averaged weights of a run's last checkpoint, in eval mode."""
    state = read_checkpoint(run)
    network = PresetNetwork(SegAssess(BUILT_IN))
    network.load_state_dict(state["average"])
    return network.assess.eval()


def main(arguments: list[str] | None = None) -> None:
    """Train from the command line."""
    parser = run_parser(__doc__, out="segassess", minutes=25, batch=8, rate=1e-3, seed=1)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    add_scene_options(parser, GENERATED_SHARE, fixed=True)
    parser.add_argument(
        "--without-maps", action="store_true", help="train without maps of CLIP (make assess-maps)"
    )
    options = read_options(parser, arguments)
    network = PresetNetwork(SegAssess(BUILT_IN)).to(memory_format=torch.channels_last)
    trainer = begin_run(options, network)
    runs = options.out.parent
    scenes = load_images(options.data, "train")
    maps = [stored_maps(runs / "foreign", scene) for scene in scenes]
    mapped = sum(one is not None for one in maps)
    if not mapped and not options.without_maps:
        parser.error(f"There are no maps in {runs / 'foreign'}: make them, or give --without-maps.")
    logging.getLogger(__name__).info("%d of %d images have maps of CLIP", mapped, len(maps))
    generated = generated_scenes(runs / "scenes", options.scenes)
    maps += [None] * len(generated)
    seed = trainer.stage_seed(options.seed)

    def source(seed: int) -> Callable[[int], MaskTileBatch]:
        return MaskTiles(scenes + generated, TILE, seed, options.kinds, maps).batch

    tiles = prefetch(source, seed, options.device)
    trainer.run(PresetObjective(network, tiles, options.batch))
    save_segassess(averaged(trainer), options.out / "segassess.safetensors")
    write_run_page(options.out, SEGASSESS)


if __name__ == "__main__":
    main()
