"""Batches of drawn scenes and of crops of weakly labelled images.

Images are enlarged to the network's square as the method enlarges them, so that small objects cover
several cells of the fine map.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg_qgis.engine.models.unigeoseg.template import Tokenizer
from training.crops import CropSampler, vary_colour

from .batches import Batch, Facts, encode_request, join_batches, network_input
from .letterbox_augmentation import draw_bars, with_bars
from .object_head import objects_at_cells
from .pixel_head import STRIDE, at_cells, partial_pixel_targets, pixel_targets
from .queries import Mirror, RequestSampler, SceneRequest, draw_requests, reword
from .query_head import query_targets, unknown_query_targets
from .stored_scenes import StoredScene
from .weak_labels import allowed_classes, weak_requests

WEAK_SHARE = 0.2
"""Share of weakly labelled images."""
VARIED_SHARE = 0.35
"""Share of drawn scenes whose colours are varied."""
WIDE_SHARE = 0.2
"""Share of wide scenes among the drawn ones."""
BARRED_SHARE = 0.25
"""Share of images with bars, as extents have that are no squares."""
LOOKALIKE_WEIGHT = 2.0
"""Weight of cells that have a class of the mask without being meant."""
_WHITE = 255
_WHOLE = 1 - 1e-4


class SceneBatches:
    """Draws batches of scenes and crops, endless and seeded.

    Args:
        scenes: Drawn scenes.
        crops: Samplers of weakly labelled images, which take turns at random; none for drawn scenes
            alone.
        tokenizer: Encodes the requests.
        side: Side of the network's square in pixels.
        seed: Seed of every choice.
        wide: Drawn scenes of more ground, if any.
        barred_share: Share of images with bars.
        wide_share: Share of wide scenes among the drawn ones, if there are any.
    """

    def __init__(
        self,
        scenes: Sequence[StoredScene],
        crops: Sequence[CropSampler],
        tokenizer: Tokenizer,
        side: int,
        seed: int,
        *,
        wide: Sequence[StoredScene] = (),
        barred_share: float = BARRED_SHARE,
        wide_share: float = WIDE_SHARE,
    ) -> None:
        self._scenes = [(scene, RequestSampler(scene)) for scene in scenes]
        self._wide = [(scene, RequestSampler(scene)) for scene in wide]
        self._crops = list(crops)
        self._tokenizer = tokenizer
        self._side = side
        self._cells = side // STRIDE
        self._random = np.random.default_rng(seed)
        self._barred_share = barred_share
        self._wide_share = wide_share

    def draw(self, images: int, requests: int, progress: float) -> Batch:
        """Draw ``images`` with ``requests`` about each, for a progress of 0..1."""
        drawn: list[Batch] = []
        while len(drawn) < images:
            weak = self._crops and self._random.random() < WEAK_SHARE
            one = self.draw_weak(requests) if weak else self._draw_scene(requests, progress)
            if one is not None:
                drawn.append(one)
        return join_batches(drawn)

    def _draw_scene(self, count: int, progress: float) -> Batch:
        random = self._random
        wide = self._wide and random.random() < self._wide_share
        pool = self._wide if wide else self._scenes
        scene, sampler = pool[int(random.integers(len(pool)))]
        bars = draw_bars(len(scene.classes), random) if self._is_barred() else None
        if bars is not None:
            scene = with_bars(scene, bars)
            sampler = RequestSampler(scene)
        mirror = Mirror(bool(random.integers(2)), bool(random.integers(2)))
        # Sentences name the colours that were drawn, not what a variation made of them.
        varied = random.random() < VARIED_SHARE
        requests = draw_requests(sampler, count, progress, random, mirror, attributes=not varied)
        image = np.ascontiguousarray(mirror.turn(scene.image))
        if varied:
            image = _as_image(vary_colour(_as_pixels(image), random))
            if bars is not None:
                image[mirror.turn(bars.mask(len(image)))] = 0
        masks = torch.from_numpy(np.stack([one.mask for one in requests]).astype(np.float32))
        shares = cell_shares(masks, self._cells)
        return Batch(
            network_input(image, self._side),
            [[encode_request(reword(r.text, random), r.task, self._tokenizer) for r in requests]],
            shares[None],
            _cell_weights(mirror.turn(scene.classes), requests, shares)[None],
            Facts(
                pixel_targets(scene, mirror, self._cells, coloured=not varied),
                pixel_targets(scene, mirror, self._cells // 2, coloured=not varied),
                query_targets(scene, mirror, requests),
                objects_at_cells(scene, mirror, self._cells),
            ),
        )

    def draw_weak(self, count: int) -> Batch | None:
        """Draw a crop of a weakly labelled image, or None where too little is known."""
        crops = self._crops[int(self._random.integers(len(self._crops)))]
        batch = crops.batch(1)
        pixels, labels = batch.pixels[0], batch.labels[0]
        shown = 1.0
        if self._is_barred():
            bars = draw_bars(len(labels), self._random)
            covered = torch.from_numpy(bars.mask(len(labels)))
            pixels, labels = pixels.masked_fill(covered, 0.0), labels.masked_fill(covered, 0)
            shown = bars.kept / len(labels)
        requests = weak_requests(labels, count, self._random, shown)
        if not requests:
            return None
        known = torch.stack([one.known for one in requests]).float()
        texts = [(reword(one.text, self._random), one.task) for one in requests]
        return Batch(
            network_input(_as_image(pixels), self._side),
            [[encode_request(text, task, self._tokenizer) for text, task in texts]],
            cell_shares(torch.stack([one.mask for one in requests]), self._cells)[None],
            (cell_shares(known, self._cells) > _WHOLE).float()[None],
            Facts(
                partial_pixel_targets(allowed_classes(labels, self._cells)),
                partial_pixel_targets(allowed_classes(labels, self._cells // 2)),
                unknown_query_targets(count),
                torch.zeros(1, self._cells, self._cells, dtype=torch.int64),
            ),
        )

    def _is_barred(self) -> bool:
        return bool(self._random.random() < self._barred_share)


def cell_shares(masks: Tensor, cells: int) -> Tensor:
    """Average square masks (R, S, S), float32, over equal cells: (R, cells, cells)."""
    weights = _overlaps(masks.shape[-1], cells)
    return weights @ masks @ weights.T


def _overlaps(pixels: int, cells: int) -> Tensor:
    """Return the share of each cell that each pixel of a row covers, (cells, pixels)."""
    edges = torch.arange(cells + 1, dtype=torch.float64) * (pixels / cells)
    starts = torch.arange(pixels, dtype=torch.float64)
    covered = torch.minimum(edges[1:, None], starts + 1) - torch.maximum(edges[:-1, None], starts)
    return (covered.clamp(min=0) * (cells / pixels)).float()


def _cell_weights(
    classes: NDArray[np.uint8], requests: Sequence[SceneRequest], shares: Tensor
) -> Tensor:
    """Return weights (R, h, w), larger where a cell only looks like the mask."""
    small = at_cells(classes, shares.shape[-1])
    alike = np.stack([np.isin(small, np.unique(classes[one.mask])) for one in requests])
    missed = torch.from_numpy(alike) & (shares == 0)
    return 1.0 + (LOOKALIKE_WEIGHT - 1.0) * missed


def _as_pixels(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).float() / _WHITE


def _as_image(pixels: Tensor) -> NDArray[np.uint8]:
    whole = (pixels.clamp(0, 1) * _WHITE).round().to(torch.uint8)
    image: NDArray[np.uint8] = np.ascontiguousarray(whole.permute(1, 2, 0).numpy())
    return image
