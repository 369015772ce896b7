"""The networks that answer prompts, behind one face: read a tile once, then answer objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....protocol.errors import ErrorCode, JobError
from ...models.device import prompts_per_batch
from ...models.ladder import MemoryLadder, Work
from ...models.preset import LoadedPreset
from ...models.sam2 import MaskChoice, Sam2Embedding, Sam2Model, stability
from ...models.sam2_decoder import DecoderOutput, SharedImage
from ..unigeoseg import Segmenter, TileEmbedding
from ..unigeoseg.letterbox import Letterbox
from .mirrors import FOUR, PLAIN, Mirror
from .objects import ObjectPrompt

STABILITY_OFFSET = 1.0
UNIGEOSEG_POINTS = 3
_LEAST_PROBABILITY = 1e-6
_CENTRE_OF_PIXEL = 0.5

Item = TypeVar("Item")
Answered = TypeVar("Answered")


@dataclass(frozen=True)
class Answer:
    """What a network says about one object.

    Attributes:
        logits: Cells over the whole tile, shape (h, w), float32; positive on the object.
        score: How sure the network is, 0..1.
    """

    logits: NDArray[np.float32]
    score: float


class Answerer(Protocol):
    """A network that answers prompts.

    Attributes:
        tile: Side of its tiles in pixels.
        line_points: Points that a line becomes.
        inner_points: Points that it wants inside of a polygon, beside the box round it.
        takes_negative: Whether it takes points that are not on the object.
        wants_detail: Whether it finds most on the finest pixels that its card allows, not on those
            that the card prefers.
    """

    tile: int
    line_points: int
    inner_points: int
    takes_negative: bool
    wants_detail: bool

    @classmethod
    def check(cls, objects: Sequence[ObjectPrompt]) -> None:
        """Refuse objects that it cannot answer, before anything is computed.

        Raises:
            JobError: ``INVALID_JOB``, naming the method that can.
        """

    def read(self, pixels: NDArray[np.uint8]) -> Any:
        """Read a tile of shape (3, side, side) and return what `answer` takes."""

    def answer(
        self, tile: Any, objects: Sequence[ObjectPrompt]
    ) -> Iterator[tuple[ObjectPrompt, Answer]]:
        """Yield objects, given in pixels of the tile, with their answers, in any order."""


@dataclass(frozen=True)
class Sam2View:
    """A tile as SAM 2 sees it in one mirror."""

    mirror: Mirror
    embedding: Sam2Embedding
    shared: SharedImage


class Sam2Answerer:
    """SAM 2.

    A single point without a box is ambiguous: of three masks the one that the network rates
    highest is taken, unless its card says that its ratings are too coarse for that. All other
    prompts are answered with its mask for unambiguous prompts, or the best of the three where that
    one is unstable. The score is the predicted intersection over union times the stability of the
    mask.

    Args:
        model: The network.
        batch: Prompts at once; None takes what suits the device.
        multimask: Whether a single point is answered with the best of three masks.
        mirrors: Ways to look at a tile; logits and ratings are means over them.
    """

    line_points = 5
    inner_points = 3
    takes_negative = True
    wants_detail = True

    def __init__(
        self,
        model: Sam2Model,
        batch: int | None = None,
        *,
        multimask: bool = True,
        mirrors: Sequence[Mirror] = PLAIN,
    ) -> None:
        self.tile = model.image_size
        self._mirrors = mirrors
        self._model = model
        self._for_one_point = MaskChoice.THREE if multimask else MaskChoice.SINGLE
        self._batch = batch or prompts_per_batch(model.device, model.prompt_bytes)

    @classmethod
    def check(cls, objects: Sequence[ObjectPrompt]) -> None:
        """Accept everything."""

    def read(self, pixels: NDArray[np.uint8]) -> list[Sam2View]:
        """Encode a tile."""
        image = torch.from_numpy(pixels)[None].float() / 255.0
        views = []
        for mirror in self._mirrors:
            embedding = self._model.encode(mirror.tensor(image))
            views.append(Sam2View(mirror, embedding, self._model.share(embedding)))
        return views

    def answer(
        self, tile: list[Sam2View], objects: Sequence[ObjectPrompt]
    ) -> Iterator[tuple[ObjectPrompt, Answer]]:
        """Yield objects with their answers, prompts of equal make together."""
        # Padding would change the answers, so objects are batched with those like them.
        alike: dict[tuple[int, int, bool], list[ObjectPrompt]] = {}
        for item in objects:
            make = (len(item.positive), len(item.negative), bool(item.areas))
            alike.setdefault(make, []).append(item)
        for members in alike.values():
            for start in range(0, len(members), self._batch):
                batch = members[start : start + self._batch]
                yield from zip(batch, in_halves(batch, lambda part: self._decode(tile, part)))

    def _decode(self, tile: list[Sam2View], objects: Sequence[ObjectPrompt]) -> list[Answer]:
        outputs = [self._seen(view, objects) for view in tile]
        logits = torch.stack([output.logits for output in outputs]).mean(0)
        iou = torch.stack([output.iou for output in outputs]).mean(0)
        return list(_best_masks(logits, iou))

    def _seen(self, view: Sam2View, objects: Sequence[ObjectPrompt]) -> DecoderOutput:
        """Return what one view answers, turned back."""
        mirror = view.mirror
        points = np.stack([np.concatenate([item.positive, item.negative]) for item in objects])
        marks = [[1] * len(item.positive) + [0] * len(item.negative) for item in objects]
        boxes = [mirror.box(item.box, self.tile) for item in objects if item.box is not None]
        single = not boxes and points.shape[1] == 1
        output = self._model.predict(
            view.embedding,
            points=_as_places(mirror.points(points, self.tile)) if points.shape[1] else None,
            labels=torch.tensor(marks, dtype=torch.int32) if points.shape[1] else None,
            boxes=_as_places(np.array(boxes)) if boxes else None,
            choice=self._for_one_point if single else MaskChoice.STABLE,
            shared=view.shared,
        )
        return DecoderOutput(mirror.tensor(output.logits), output.iou, output.object_score)


def sam2_answerer(models: LoadedPreset) -> Sam2Answerer:
    """Return the SAM 2 of a preset as its card wants it to be asked.

    Raises:
        JobError: The preset has none, or its weights are missing or damaged.
    """
    model, component = models.sam2, models.card.sam2
    if component is None:
        return Sam2Answerer(model)
    mirrors = FOUR if component.mirrors else PLAIN
    return Sam2Answerer(model, multimask=component.multimask, mirrors=mirrors)


def _as_places(coordinates: NDArray[np.float64]) -> Tensor:
    """Return coordinates of pixel areas as the model takes them: whole numbers are centres."""
    return torch.from_numpy(coordinates - _CENTRE_OF_PIXEL).float()


def _best_masks(logits: Tensor, iou: Tensor) -> Iterator[Answer]:
    """Yield of masks (N, K, h, w) and their ratings (N, K) the best rated of each prompt."""
    best = iou.argmax(dim=1)
    rows = torch.arange(len(best), device=best.device)
    chosen, rated = logits[rows, best], iou[rows, best]
    scores = (rated * stability(chosen, STABILITY_OFFSET, nan=0.0)).clamp(0.0, 1.0)
    for mask, score in zip(chosen.cpu().numpy(), scores.tolist(), strict=True):
        yield Answer(mask, score)


class UniGeoSegAnswerer:
    """UniGeoSeg: one to three positive points, or a box; polygons and their like are boxes.

    The score is the mean probability of the mask.

    Args:
        segmenter: The network and its words.
    """

    line_points = UNIGEOSEG_POINTS
    inner_points = 0
    takes_negative = False
    wants_detail = False

    def __init__(self, segmenter: Segmenter) -> None:
        self.tile = segmenter.side
        self._segmenter = segmenter

    @classmethod
    def check(cls, objects: Sequence[ObjectPrompt]) -> None:
        """Refuse negative prompts and more than three points an object."""
        negative = sum(len(item.negative) > 0 for item in objects)
        if negative:
            raise JobError(
                ErrorCode.INVALID_JOB,
                f"UniGeoSeg takes no negative prompts, as {negative} of {len(objects)} objects "
                "would need.",
                "Use the method sam2, which takes them, or leave the label field empty.",
            )
        crowded = sum(len(item.positive) > UNIGEOSEG_POINTS and not item.areas for item in objects)
        if crowded:
            raise JobError(
                ErrorCode.INVALID_JOB,
                f"UniGeoSeg takes up to {UNIGEOSEG_POINTS} points an object, not as many as "
                f"{crowded} of {len(objects)} objects have.",
                "Use the method sam2, or fewer points for each object.",
            )

    def read(self, pixels: NDArray[np.uint8]) -> TileEmbedding:
        """Read a tile with the vision tower."""
        return self._segmenter.embed(np.ascontiguousarray(pixels.transpose(1, 2, 0)))

    def answer(
        self, tile: TileEmbedding, objects: Sequence[ObjectPrompt]
    ) -> Iterator[tuple[ObjectPrompt, Answer]]:
        """Yield objects with their answers."""
        size = self._segmenter.batch_size
        for start in range(0, len(objects), size):
            batch = objects[start : start + size]
            yield from zip(batch, in_halves(batch, lambda part: self._ask(tile, part)))

    def _ask(self, tile: TileEmbedding, objects: Sequence[ObjectPrompt]) -> list[Answer]:
        letterbox: Letterbox = tile.letterbox
        requests = []
        for item in objects:
            points = None if item.areas else [(x, y) for x, y in item.positive.tolist()]
            request = self._segmenter.request(
                letterbox.height, letterbox.width, points=points, box=item.box
            )
            requests.append(request)
        return [
            Answer(_logits(result.probability), result.score)
            for result in self._segmenter.answer(tile, requests)
        ]


def _logits(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    share = np.clip(probability, _LEAST_PROBABILITY, 1.0 - _LEAST_PROBABILITY)
    return np.log(share / (1.0 - share)).astype(np.float32)


def in_halves(
    items: Sequence[Item], run: Callable[[Sequence[Item]], list[Answered]]
) -> list[Answered]:
    """Run a batch, in halves when memory does not suffice.

    Raises:
        JobError: ``OUT_OF_MEMORY`` when not even one item fits.
    """
    return MemoryLadder().run(Work(run, "One prompt"), items)
