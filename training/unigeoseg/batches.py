"""Lessons of the built-in UniGeoSeg: pictures, what is asked of them, and the right answers.

Pictures are enlarged to the network's square as the method enlarges them, so that small things
cover several cells of the fine map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg_qgis.engine.methods.referring.unigeoseg.letterbox import Letterbox, normalise
from geoseg_qgis.engine.models.unigeoseg.coordinates import parse_coordinates
from geoseg_qgis.engine.models.unigeoseg.sequence import Request
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.template import encode_instruction
from geoseg_qgis.engine.models.unigeoseg.tokenizer import BytePairTokenizer
from training.crops import CropSampler, vary_colour

from .letterbox_augmentation import between_bars, draw_band
from .object_head import objects_at_cells
from .pixel_head import STRIDE, DenseTargets, at_cells, join_targets, partial_targets, scene_targets
from .queries import Asked, Asker, Mirror, draw_requests, reword
from .query_head import Meaning, meaning_of, unknown_meaning
from .stored_scenes import StoredScene
from .weak_labels import allowed_classes, ask_of_labels

REAL_SHARE = 0.2
VARIED_SHARE = 0.35
"""Share of generated pictures whose colours are varied."""
WIDE_SHARE = 0.2
"""Share of wide scenes among the generated pictures."""
BARRED_SHARE = 0.25
"""Share of pictures with bars, as extents have that are no squares."""
LOOKALIKE_WEIGHT = 2.0
"""Weight of cells that have a class of the answer without being meant."""
_BRIGHTEST = 255
_WHOLE = 1 - 1e-4


class Lesson(NamedTuple):
    """One step's material: B pictures with R requests each, and fine maps of S/4 cells a side."""

    pixels: Tensor
    """(B, 3, S, S) float32, normalised."""
    requests: list[list[Request]]
    answers: Tensor
    """(B, R, S/4, S/4) float32, the share of each cell that is meant."""
    known: Tensor
    """(B, R, S/4, S/4) float32, weight of each cell, 0 where the answer is not known."""
    facts: DenseTargets
    """At the cells of the fine map."""
    coarse_facts: DenseTargets
    """At the S/8 x S/8 cells of the finest of the coarse maps."""
    meaning: Meaning
    objects: Tensor
    """(B, S/4, S/4) int64, the number of the object at each cell, 0 for none."""

    def to(self, device: torch.device) -> Lesson:
        """Return the lesson on a device; requests are read where they are needed."""
        return Lesson(
            self.pixels.to(device),
            self.requests,
            self.answers.to(device),
            self.known.to(device),
            self.facts.to(device),
            self.coarse_facts.to(device),
            self.meaning.to(device),
            self.objects.to(device),
        )


class Teacher:
    """Draws lessons, endless and seeded.

    Args:
        scenes: Generated scenes.
        crops: Samplers of real pictures, which take turns at random; none for drawn ones alone.
        tokenizer: Encodes the requests.
        side: Side of the network's square in pixels.
        seed: Seed of every choice.
        wide: Generated scenes of more ground, if any.
    """

    def __init__(
        self,
        scenes: Sequence[StoredScene],
        crops: Sequence[CropSampler],
        tokenizer: BytePairTokenizer,
        side: int,
        seed: int,
        *,
        wide: Sequence[StoredScene] = (),
    ) -> None:
        self._scenes, self._wide = _with_askers(scenes), _with_askers(wide)
        self._crops = list(crops)
        self._tokenizer = tokenizer
        self._side = side
        self._cells = side // STRIDE
        self._random = np.random.default_rng(seed)

    def lesson(self, pictures: int, count: int, progress: float) -> Lesson:
        """Draw ``pictures`` with ``count`` requests each, for a progress of 0..1."""
        drawn: list[Lesson] = []
        while len(drawn) < pictures:
            real = self._crops and self._random.random() < REAL_SHARE
            made = self._real(count) if real else self._generated(count, progress)
            if made is not None:
                drawn.append(made)
        return Lesson(
            torch.cat([lesson.pixels for lesson in drawn]),
            [requests for lesson in drawn for requests in lesson.requests],
            torch.cat([lesson.answers for lesson in drawn]),
            torch.cat([lesson.known for lesson in drawn]),
            join_targets([lesson.facts for lesson in drawn]),
            join_targets([lesson.coarse_facts for lesson in drawn]),
            Meaning(*(torch.cat(parts) for parts in zip(*(one.meaning for one in drawn)))),
            torch.cat([lesson.objects for lesson in drawn]),
        )

    def _generated(self, count: int, progress: float) -> Lesson:
        random = self._random
        wide = self._wide and random.random() < WIDE_SHARE
        pool = self._wide if wide else self._scenes
        scene, asker = pool[int(random.integers(len(pool)))]
        band = draw_band(len(scene.classes), random) if random.random() < BARRED_SHARE else None
        if band is not None:
            scene = between_bars(scene, band)
            asker = Asker(scene)
        mirror = Mirror(bool(random.integers(2)), bool(random.integers(2)))
        # Sentences name the colours that were drawn, not what a variation made of them.
        varied = random.random() < VARIED_SHARE
        asked = draw_requests(asker, count, progress, random, mirror, attributes=not varied)
        image = np.ascontiguousarray(mirror.turn(scene.image))
        if varied:
            image = _as_image(vary_colour(_as_pixels(image), random))
            if band is not None:
                image[mirror.turn(band.outside(len(image)))] = 0
        answers = torch.from_numpy(np.stack([one.mask for one in asked]).astype(np.float32))
        shares = shares_of_cells(answers, self._cells)
        return Lesson(
            self._as_input(image),
            [[self._request(reword(one.text, random), one.task) for one in asked]],
            shares[None],
            _cell_weights(mirror.turn(scene.classes), asked, shares)[None],
            scene_targets(scene, mirror, self._cells, coloured=not varied),
            scene_targets(scene, mirror, self._cells // 2, coloured=not varied),
            meaning_of(scene, mirror, asked),
            objects_at_cells(scene, mirror, self._cells),
        )

    def _real(self, count: int) -> Lesson | None:
        crops = self._crops[int(self._random.integers(len(self._crops)))]
        batch = crops.batch(1)
        pixels, labels = batch.pixels[0], batch.labels[0]
        shown = 1.0
        if self._random.random() < BARRED_SHARE:
            band = draw_band(len(labels), self._random)
            bars = torch.from_numpy(band.outside(len(labels)))
            pixels, labels = pixels.masked_fill(bars, 0.0), labels.masked_fill(bars, 0)
            shown = band.breadth / len(labels)
        asked = ask_of_labels(labels, count, self._random, shown)
        if not asked:
            return None
        known = torch.stack([one.known for one in asked]).float()
        answers = torch.stack([one.answer for one in asked])
        return Lesson(
            self._as_input(_as_image(pixels)),
            [[self._request(reword(one.text, self._random), one.task) for one in asked]],
            shares_of_cells(answers, self._cells)[None],
            (shares_of_cells(known, self._cells) > _WHOLE).float()[None],
            partial_targets(allowed_classes(labels, self._cells)),
            partial_targets(allowed_classes(labels, self._cells // 2)),
            unknown_meaning(count),
            torch.zeros(1, self._cells, self._cells, dtype=torch.int64),
        )

    def _request(self, text: str, task: Task) -> Request:
        return Request(encode_instruction(text, self._tokenizer), task, parse_coordinates(text))

    def _as_input(self, image: NDArray[np.uint8]) -> Tensor:
        """Enlarge and normalise (H, H, 3) as the method does: (1, 3, S, S)."""
        height, width, _ = image.shape
        return normalise(Letterbox(height, width, self._side).place_image(image))


def _with_askers(scenes: Sequence[StoredScene]) -> list[tuple[StoredScene, Asker]]:
    return [(scene, Asker(scene)) for scene in scenes]


def shares_of_cells(masks: Tensor, cells: int) -> Tensor:
    """Average square masks (R, S, S), float32, over equal cells: (R, cells, cells)."""
    weights = _overlaps(masks.shape[-1], cells)
    return weights @ masks @ weights.T


def _overlaps(pixels: int, cells: int) -> Tensor:
    """Return the share of each cell that each pixel of a row covers, (cells, pixels)."""
    edges = torch.arange(cells + 1, dtype=torch.float64) * (pixels / cells)
    starts = torch.arange(pixels, dtype=torch.float64)
    covered = torch.minimum(edges[1:, None], starts + 1) - torch.maximum(edges[:-1, None], starts)
    return (covered.clamp(min=0) * (cells / pixels)).float()


def _cell_weights(classes: NDArray[np.uint8], asked: Sequence[Asked], shares: Tensor) -> Tensor:
    """Weigh what looks like the answer more than the rest, (R, h, w)."""
    small = at_cells(classes, shares.shape[-1])
    alike = np.stack([np.isin(small, np.unique(classes[one.mask])) for one in asked])
    missed = torch.from_numpy(alike) & (shares == 0)
    return 1.0 + (LOOKALIKE_WEIGHT - 1.0) * missed


def _as_pixels(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).float() / _BRIGHTEST


def _as_image(pixels: Tensor) -> NDArray[np.uint8]:
    whole = (pixels.clamp(0, 1) * _BRIGHTEST).round().to(torch.uint8)
    image: NDArray[np.uint8] = np.ascontiguousarray(whole.permute(1, 2, 0).numpy())
    return image
