"""Train the built-in CLIP: `python -m training.train_clip --data FOLDER`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from .bytepair import learn_merges, write_merges
from .colours import with_roof_colours
from .command import add_scene_options, add_start_option, begin_run, read_options, run_parser
from .crops import Batch, CropSampler
from .datasets import load_images
from .dense_clip import (
    encode_tokens,
    fast_cosines,
    image_embedding,
    mixed_embeddings,
    plain_embeddings,
    text_embeddings,
)
from .device import device_of, half_precision
from .evaluate import clip_network, evaluate
from .exported_networks import CLIP
from .generated import generated_scenes
from .land_cover import ANY
from .losses import area_targets, compatible, partial_cross_entropy, rarity, soft_cross_entropy
from .model_pages import write_run_page
from .prefetching import prefetch
from .regions import random_regions, region_affinity
from .sizes import building_sizes
from .trainer import read_checkpoint
from .vocabulary import QuerySampler, corpus_words

LOGIT_SCALE = 40.0
CONTEXT_LENGTH = 32
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
FINE_SIDE = 56
REGIONS = 8
FAST_EVERY = 2


def clip_config(
    vocabulary: int, patch: int = 16, width: int = 192, layers: int = 6
) -> dict[str, Any]:
    """Return the arguments of `open_clip.CLIP`."""
    return {
        "embed_dim": 128,
        "vision_cfg": {
            "layers": layers,
            "width": width,
            "head_width": 64,
            "mlp_ratio": 4.0,
            "patch_size": patch,
            "image_size": 224,
        },
        "text_cfg": {
            "context_length": CONTEXT_LENGTH,
            "vocab_size": vocabulary,
            "width": 128,
            "heads": 4,
            "layers": 3,
        },
        "quick_gelu": False,
    }


class ClipObjective:
    """The loss of one step.

    Args:
        model: `open_clip.CLIP`.
        tokenizer: Its tokenizer.
        crops: Draws so many crops.
        texts: Source of queries.
        batch: Crops a step.
        seed: Seed of region choices.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        crops: Callable[[int], Batch],
        texts: QuerySampler,
        *,
        batch: int,
        seed: int,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.crops = crops
        self.texts = texts
        self.batch = batch
        self.cells = model.visual.grid_size[0]
        self.generator = torch.Generator().manual_seed(seed)
        self.device = device_of(model)
        self._mean = torch.tensor(MEAN, device=self.device)[:, None, None]
        self._std = torch.tensor(STD, device=self.device)[:, None, None]

    def __call__(self, step: int) -> dict[str, torch.Tensor]:
        """Return the named losses of one step."""
        batch = self.crops(self.batch)
        queries = self.texts.queries()
        # A colour is one of the roof as it is, not of the roof as it was recoloured.
        seen = batch.clean if queries.coloured else batch.pixels
        regions = random_regions(seen, batch.labels, self.cells, REGIONS, self.generator)
        colour = functional.adaptive_avg_pool2d(seen, self.cells).flatten(2).transpose(1, 2)
        affinity = region_affinity(regions, colour - colour.mean(1, keepdim=True), 2.0)
        stride = batch.labels.shape[-1] // FINE_SIDE
        sizes = building_sizes(batch.labels)[:, stride // 2 :: stride, stride // 2 :: stride]
        labels = with_roof_colours(batch.clean, batch.labels, stride) | sizes
        drawn = (seen, labels, regions, affinity)
        pixels, labels, regions, affinity = (tensor.to(self.device) for tensor in drawn)
        visual = self.model.visual
        with half_precision(self.device):
            pixels = (pixels - self._mean) / self._std
            encoded = encode_tokens(visual, pixels, regions, REGIONS)
            texts = text_embeddings(self.model, self.tokenizer, queries.sentences).float()
            cosines = {
                "plain": plain_embeddings(visual, encoded) @ texts.T,
                "mixed": mixed_embeddings(visual, encoded, regions, affinity) @ texts.T,
            }
            if step % FAST_EVERY == 0:
                cosines["fast"] = fast_cosines(visual, encoded, texts)
            image = image_embedding(visual, encoded) @ texts.T
        surfaces = torch.tensor(queries.surfaces, device=self.device)
        return self._losses(cosines, image, labels, surfaces)

    def _losses(
        self,
        cosines: dict[str, torch.Tensor],
        image: torch.Tensor,
        labels: torch.Tensor,
        surfaces: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        positive = compatible(labels, surfaces).flatten(0, 2)
        weights = rarity(labels.flatten() & ANY)
        losses = {
            name: partial_cross_entropy(self._logits(cosine), positive, weights)
            for name, cosine in cosines.items()
        }
        total = torch.stack(list(losses.values())).sum()
        targets = area_targets(positive.view(len(labels), -1, len(surfaces)))
        losses["image"] = soft_cross_entropy(LOGIT_SCALE * image.float(), targets)
        losses["total"] = total + 0.2 * losses["image"]
        return losses

    def _logits(self, cosine: torch.Tensor) -> torch.Tensor:
        flat = cosine.float().transpose(1, 2)
        maps = flat.reshape(*flat.shape[:2], self.cells, self.cells)
        maps = functional.interpolate(maps, size=(FINE_SIDE, FINE_SIDE), mode="bilinear")
        return LOGIT_SCALE * maps.flatten(2).transpose(1, 2).flatten(0, 1)


def build(
    folder: Path, patch: int, width: int, layers: int, start: Path | None = None
) -> tuple[Any, Any, dict[str, Any]]:
    """Return model, tokenizer and configuration.

    The words are those that the run began with, else those of a run to start from, else new ones.
    """
    import open_clip  # noqa: PLC0415 - slow import

    folder.mkdir(parents=True, exist_ok=True)
    pieces = folder / "bpe.txt.gz"
    if start and not pieces.exists():
        shutil.copyfile(start / pieces.name, pieces)
    elif not pieces.exists():
        write_merges(pieces, learn_merges(corpus_words()))
    tokenizer = open_clip.SimpleTokenizer(str(pieces), context_length=CONTEXT_LENGTH)
    config = clip_config(tokenizer.vocab_size, patch, width, layers)
    model = open_clip.CLIP(**config)
    if start:
        state = read_checkpoint(start)
        model.load_state_dict(state["average"])
    return model, tokenizer, config


def main(arguments: list[str] | None = None) -> None:
    """Train from the command line."""
    parser = run_parser(__doc__, out="clip", minutes=25, batch=16, rate=1e-3, seed=1)
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=6)
    add_scene_options(parser, 0.45)
    parser.add_argument("--estates", type=int, default=40, help="drawn scenes of desert halls")
    add_start_option(parser)
    options = read_options(parser, arguments)
    model, tokenizer, config = build(
        options.out, options.patch, options.width, options.layers, options.start
    )
    drawn = options.generated if options.scenes or options.estates else 0.0
    trainer = begin_run(options, model, config=config, generated=drawn)
    seed = trainer.stage_seed(options.seed)
    scenes = load_images(options.data, "train")
    drawn = options.out.parent / "scenes"
    scenes += generated_scenes(drawn, options.scenes)
    scenes += generated_scenes(drawn, options.estates, "desert estate")

    def source(seed: int) -> Callable[[int], Batch]:
        return CropSampler(scenes, 224, seed, options.generated).batch

    crops = prefetch(source, seed, options.device)
    objective = ClipObjective(
        model, tokenizer, crops, QuerySampler(seed), batch=options.batch, seed=seed
    )
    trainer.run(objective)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    trainer.finish()
    network = clip_network(model.cpu(), tokenizer, "fast", mean, std)
    found = evaluate(network, load_images(options.data, "validation"), {"oam_buildings": 0.5})
    validation = {f"{name}, mean IoU": score.mean for name, score in found.items()}
    write_run_page(options.out, CLIP, validation=validation)


if __name__ == "__main__":
    main()
