"""SAM 2 answers prompts, on a whole tile and, where its card says so, closer and in mirrors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg_qgis.engine.models.device import prompts_per_batch
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.models.sam2 import MaskChoice, Sam2Embedding, Sam2Model, stability
from geoseg_qgis.engine.models.sam2_decoder import SharedImage

from .mirrors import FOUR, PLAIN, Mirror
from .predictions import Answer, in_halves
from .prompted_objects import ObjectPrompt
from .zoom_in import ZOOM, Part, blended, part_to_see, seen_in

STABILITY_OFFSET = 1.0
_CENTRE_OF_PIXEL = 0.5


@dataclass(frozen=True)
class Sam2View:
    """What SAM 2 sees of a tile or a part of it in one mirror.

    Attributes:
        mirror: How it is turned.
        side: Side in pixels of the tile.
        embedding: What the encoder made of it.
        shared: What its prompts share.
    """

    mirror: Mirror
    side: int
    embedding: Sam2Embedding
    shared: SharedImage


@dataclass(frozen=True)
class Candidates:
    """What SAM 2 answers about one object, in the machine's own memory.

    Attributes:
        logits: (K, h, w).
        iou: (K,) ratings.
        fineness: See `Answer`.
    """

    logits: Tensor
    iou: Tensor
    fineness: int = 1


@dataclass(frozen=True)
class Sam2Tile:
    """A tile as SAM 2 sees it.

    Attributes:
        image: (1, 3, side, side) in 0..1.
        views: Of the whole tile (None) and of the parts that were looked at closer.
    """

    image: Tensor
    views: dict[Part | None, list[Sam2View]]


class Sam2Predictor:
    """SAM 2.

    A single point without a box is ambiguous: of three masks the one that the network rates
    highest is taken. All other prompts are answered with its mask for unambiguous prompts, or the
    best of the three where that one is unstable. A card may say that its ratings are too coarse
    for points: then that mask answers all of them. The score is the predicted intersection over
    union times the stability of the mask.

    Args:
        model: The network.
        batch: Prompts at once; None takes what suits the device.
        multimask: Whether the best of three masks may answer points.
        mirrors: Ways to look at a tile; logits and ratings are means over them.
        closer: Whether small objects are seen twice as large, too; logits and ratings are means
            of both.
        in_turn: Whether several points are asked one after another, each with the answer before.
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
        closer: bool = False,
        in_turn: bool = False,
    ) -> None:
        self.tile = model.image_size
        self._mirrors = mirrors
        self._closer = closer
        self._in_turn = in_turn
        self._model = model
        self._multimask = multimask
        self._batch = batch or prompts_per_batch(model.device, model.prompt_bytes)

    @classmethod
    def check(cls, objects: Sequence[ObjectPrompt]) -> None:
        """Accept everything."""

    def read(self, pixels: NDArray[np.uint8]) -> Sam2Tile:
        """Encode a tile."""
        image = torch.from_numpy(pixels)[None].float() / 255.0
        return Sam2Tile(image, {None: [self._view(image, mirror) for mirror in self._mirrors]})

    def answer(
        self, tile: Sam2Tile, objects: Sequence[ObjectPrompt]
    ) -> Iterator[tuple[ObjectPrompt, Answer]]:
        """Yield objects with their answers, prompts of equal make together."""
        for members in _alike(objects):
            choice = self._choice(members[0])
            for start in range(0, len(members), self._batch):
                batch = members[start : start + self._batch]
                masks = in_halves(batch, partial(self._decode, tile.views[None], choice))
                if self._closer:
                    self._add_closer_looks(tile, choice, batch, masks)
                yield from zip(batch, map(_best_mask, masks))

    def _choice(self, item: ObjectPrompt) -> MaskChoice:
        if item.areas:
            return MaskChoice.STABLE
        if not self._multimask:
            return MaskChoice.SINGLE
        single = len(item.points) == 1
        return MaskChoice.THREE if single else MaskChoice.STABLE

    def _add_closer_looks(
        self,
        tile: Sam2Tile,
        choice: MaskChoice,
        objects: Sequence[ObjectPrompt],
        masks: list[Candidates],
    ) -> None:
        """Replace the masks of small objects by means with closer looks at them."""
        together: dict[tuple[Part, int], list[int]] = {}
        for row, (item, found) in enumerate(zip(objects, masks)):
            part = part_to_see(item, _best_mask(found).logits, self.tile)
            if part is not None:
                make = (part, len(seen_in(item, part).points))
                together.setdefault(make, []).append(row)
        for (part, _), rows in together.items():
            if part not in tile.views:
                below, across = slice(part.top, part.bottom), slice(part.left, part.right)
                # Mirrors steady the whole tile's answer; four closer looks are no better than one.
                tile.views[part] = [self._view(tile.image[..., below, across], Mirror())]
            near = [seen_in(objects[row], part) for row in rows]
            closer = in_halves(near, partial(self._decode, tile.views[part], choice))
            for row, close in zip(rows, closer):
                logits = blended(masks[row].logits, close.logits, part, self.tile)
                masks[row] = Candidates(logits, (masks[row].iou + close.iou) / 2, ZOOM)

    def _view(self, image: Tensor, mirror: Mirror) -> Sam2View:
        embedding = self._model.encode(mirror.tensor(image))
        return Sam2View(mirror, image.shape[-1], embedding, self._model.share(embedding))

    def _decode(
        self, views: Sequence[Sam2View], choice: MaskChoice, objects: Sequence[ObjectPrompt]
    ) -> list[Candidates]:
        """Return the means of what some views answer; each turn goes on from the mean before."""
        asked = _asked(objects)
        count = asked.points.shape[1]
        in_turn = self._in_turn and count > 1 and asked.boxes is None
        first = asked.first(1) if in_turn else asked
        logits, iou = _mean([self._seen(view, first, choice, None) for view in views])
        for turn in range(2, count + 1) if in_turn else ():
            rows = torch.arange(len(iou), device=iou.device)
            best = logits[rows, iou.argmax(dim=1)][:, None]
            following = asked.first(turn)
            logits, iou = _mean([self._seen(view, following, choice, best) for view in views])
        # One transfer for all: what follows looks at each object singly.
        return [Candidates(*pair) for pair in zip(logits.cpu(), iou.cpu())]

    def _seen(
        self, view: Sam2View, asked: _Asked, choice: MaskChoice, before: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the logits, turned back, and ratings of one view, after an answer (N, 1, h, w)."""
        mirror = view.mirror
        # The model takes the middle of its own pixels as whole numbers.
        middle = _CENTRE_OF_PIXEL * view.side / self.tile
        ask = partial(self._model.predict, view.embedding, choice=choice, shared=view.shared)
        if asked.boxes is not None:
            corners = [mirror.box(tuple(box), view.side) for box in asked.boxes.tolist()]
            ask = partial(ask, boxes=_moved(np.array(corners), middle))
        if asked.points.shape[1]:
            places = _moved(mirror.points(asked.points, view.side), middle)
            ask = partial(ask, points=places, labels=torch.from_numpy(asked.on_object).int())
        if before is not None:
            ask = partial(ask, masks=mirror.tensor(before))
        output = ask()
        return mirror.tensor(output.logits), output.iou


def sam2_predictor(models: LoadedPreset) -> Sam2Predictor:
    """Return the SAM 2 of a preset as its card wants it to be asked.

    Raises:
        JobError: The preset has none, or its weights are missing or damaged.
    """
    model, component = models.sam2, models.card.sam2
    if component is None:
        return Sam2Predictor(model)
    mirrors = FOUR if component.mirrors else PLAIN
    return Sam2Predictor(
        model,
        multimask=component.multimask,
        mirrors=mirrors,
        closer=component.closer,
        in_turn=component.in_turn,
    )


@dataclass(frozen=True)
class _Asked:
    """What N objects with as many points each are asked by.

    Attributes:
        points: (N, P, 2), in the order in which they are asked.
        on_object: (N, P).
        boxes: (N, 4), None when they have none.
    """

    points: NDArray[np.float64]
    on_object: NDArray[np.bool_]
    boxes: NDArray[np.float64] | None

    def first(self, count: int) -> _Asked:
        """Return it with so many of its points."""
        return _Asked(self.points[:, :count], self.on_object[:, :count], self.boxes)


def _asked(objects: Sequence[ObjectPrompt]) -> _Asked:
    points = np.stack([item.points for item in objects])
    on_object = np.stack([item.on_object for item in objects])
    # What is asked first lies on the object, as in training; all else keeps its order.
    first = on_object & (on_object.cumsum(axis=1) == 1)
    order = np.argsort(~first, axis=1, kind="stable")
    boxes = [item.box for item in objects if item.box is not None]
    return _Asked(
        np.take_along_axis(points, order[..., None], axis=1),
        np.take_along_axis(on_object, order, axis=1),
        np.array(boxes) if boxes else None,
    )


def _mean(answers: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    logits, iou = (torch.stack(parts).mean(0) for parts in zip(*answers))
    return logits, iou


def _moved(coordinates: NDArray[np.float64], by: float) -> Tensor:
    return torch.from_numpy(coordinates - by).float()


def _alike(objects: Sequence[ObjectPrompt]) -> Iterator[list[ObjectPrompt]]:
    """Yield objects with as many points; padding would change the answers."""
    together: dict[tuple[int, bool], list[ObjectPrompt]] = {}
    for item in objects:
        make = (len(item.points), bool(item.areas))
        together.setdefault(make, []).append(item)
    yield from together.values()


def _best_mask(masks: Candidates) -> Answer:
    """Return the best rated of some masks."""
    best = int(masks.iou.argmax())
    chosen = masks.logits[best]
    score = float(masks.iou[best]) * float(stability(chosen, STABILITY_OFFSET, nan=0.0))
    return Answer(chosen.numpy(), min(max(score, 0.0), 1.0), masks.fineness)
