"""SAM 2 as a predictor, with zoom-ins and mirror images where its card asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
from .predictions import Prediction, in_halves
from .prompted_objects import ObjectPrompt
from .zoom_in import ZOOM, Crop, blend_crop, crop_of_object, crops_of, prompt_in_crop

STABILITY_OFFSET = 1.0
"""Logits by which the threshold is moved to measure the stability of a mask, as published."""
_CENTRE_OF_PIXEL = 0.5
# Predictions of earlier turns that a tile keeps for an object that gets one more point.
_MOST_TURNS = 64


@dataclass(frozen=True)
class Sam2View:
    """A tile or a crop of it, mirrored and encoded.

    Attributes:
        mirror: How it is mirrored.
        side: Its side in pixels of the tile.
        embedding: Output of the encoder.
        shared: Input of the decoder that all prompts share.
    """

    mirror: Mirror
    side: int
    embedding: Sam2Embedding
    shared: SharedImage


@dataclass(frozen=True)
class Candidates:
    """The masks that SAM 2 predicts for one object, in main memory.

    Attributes:
        logits: (K, h, w).
        iou: (K,) predicted intersection over union.
        zoom: See `Prediction`.
    """

    logits: Tensor
    iou: Tensor
    zoom: int = 1


_TurnKey = tuple[Crop | None, MaskChoice, bytes, bytes]


@dataclass(frozen=True)
class Sam2Tile:
    """An encoded tile.

    Attributes:
        image: (1, 3, side, side) in 0..1.
        views: Of the whole tile (None) and of its crops so far.
        turns: Mean logits and predicted IoU of single objects after each of their points, so that
            one more point takes one turn more.
    """

    image: Tensor
    views: dict[Crop | None, list[Sam2View]]
    turns: dict[_TurnKey, tuple[Tensor, Tensor]] = field(default_factory=dict)


class Sam2Predictor:
    """SAM 2.

    A single point without a box is ambiguous: of three masks the one with the highest predicted
    IoU is taken. All other prompts get the mask for unambiguous prompts, or the best of the three
    where that one is unstable. A card may say that its predicted IoU is too coarse for points: then
    all of them get that mask. The score is the predicted IoU times the stability of the mask.

    Args:
        model: The network.
        batch: Prompts at once; None takes what suits the device.
        multimask: Whether points get the best of three masks.
        mirrors: Mirror images of a tile; logits and predicted IoU are means over them.
        zoom_in: Whether small objects are read twice as large, too; logits and predicted IoU are
            means of both.
        in_turn: Whether the points of an object are given one after another, each with the
            prediction before.
    """

    line_points = 5
    inner_points = 3
    takes_negative = True
    finest_pixels = True

    def __init__(
        self,
        model: Sam2Model,
        batch: int | None = None,
        *,
        multimask: bool = True,
        mirrors: Sequence[Mirror] = PLAIN,
        zoom_in: bool = False,
        in_turn: bool = False,
    ) -> None:
        self.tile = model.image_size
        self._mirrors = mirrors
        self._zoom_in = zoom_in
        self._in_turn = in_turn
        self._model = model
        self._multimask = multimask
        self._batch = batch or prompts_per_batch(model.device, model.prompt_bytes)

    @classmethod
    def check(cls, objects: Sequence[ObjectPrompt]) -> None:
        """Accept everything."""

    def encode(self, pixels: NDArray[np.uint8]) -> Sam2Tile:
        """Encode a tile of shape (3, side, side)."""
        image = torch.from_numpy(pixels)[None].float() / 255.0
        return Sam2Tile(image, {None: [self._view(image, mirror) for mirror in self._mirrors]})

    def crops_to_encode(self, tile: Sam2Tile) -> list[Crop]:
        """Return the crops that zoom-ins on further objects of a tile may still need."""
        if not self._zoom_in:
            return []
        return [crop for crop in crops_of(self.tile) if crop not in tile.views]

    def encode_crop(self, tile: Sam2Tile, crop: Crop) -> None:
        """Encode a crop of a tile, unless it is already."""
        if crop not in tile.views:
            down, across = slice(crop.top, crop.bottom), slice(crop.left, crop.right)
            # Mirrors steady the prediction on the tile; on a crop they add nothing.
            tile.views[crop] = [self._view(tile.image[..., down, across], Mirror())]

    def predict(
        self, tile: Sam2Tile, objects: Sequence[ObjectPrompt]
    ) -> Iterator[tuple[ObjectPrompt, Prediction]]:
        """Yield objects with their predictions, grouped by their numbers of points and boxes."""
        for members in _alike(objects):
            choice = self._choice(members[0])
            for start in range(0, len(members), self._batch):
                batch = members[start : start + self._batch]
                masks = in_halves(batch, partial(self._decode, tile, None, choice))
                if self._zoom_in:
                    self._add_zoom_ins(tile, choice, batch, masks)
                yield from zip(batch, map(_best_mask, masks))

    def _choice(self, item: ObjectPrompt) -> MaskChoice:
        if item.areas:
            return MaskChoice.STABLE
        if not self._multimask:
            return MaskChoice.SINGLE
        single = len(item.points) == 1
        return MaskChoice.THREE if single else MaskChoice.STABLE

    def _add_zoom_ins(
        self,
        tile: Sam2Tile,
        choice: MaskChoice,
        objects: Sequence[ObjectPrompt],
        masks: list[Candidates],
    ) -> None:
        """Replace the masks of small objects by means with those of zoom-ins."""
        groups: dict[tuple[Crop, int], list[int]] = {}
        for row, (item, found) in enumerate(zip(objects, masks)):
            crop = crop_of_object(item, _best_mask(found).logits, self.tile)
            if crop is not None:
                points = len(prompt_in_crop(item, crop).points)
                groups.setdefault((crop, points), []).append(row)
        for (crop, _), rows in groups.items():
            self.encode_crop(tile, crop)
            near = [prompt_in_crop(objects[row], crop) for row in rows]
            zoomed = in_halves(near, partial(self._decode, tile, crop, choice))
            for row, mask in zip(rows, zoomed):
                logits = blend_crop(masks[row].logits, mask.logits, crop, self.tile)
                masks[row] = Candidates(logits, (masks[row].iou + mask.iou) / 2, ZOOM)

    def _view(self, image: Tensor, mirror: Mirror) -> Sam2View:
        embedding = self._model.encode(mirror.tensor(image))
        return Sam2View(mirror, image.shape[-1], embedding, self._model.share(embedding))

    def _decode(
        self, tile: Sam2Tile, crop: Crop | None, choice: MaskChoice, objects: Sequence[ObjectPrompt]
    ) -> list[Candidates]:
        """Return the mean masks over some views; each turn starts from the mean before."""
        prompts = _batch(objects)
        count = prompts.points.shape[1]
        in_turn = self._in_turn and count > 1 and prompts.boxes is None
        first = 1 if in_turn else count
        logits, iou = self._turn(tile, crop, choice, prompts.first(first), None)
        for turn in range(2, count + 1) if in_turn else ():
            rows = torch.arange(len(iou), device=iou.device)
            best = logits[rows, iou.argmax(dim=1)][:, None]
            logits, iou = self._turn(tile, crop, choice, prompts.first(turn), best)
        # One transfer for all objects, which are treated one by one from here on.
        return [Candidates(*pair) for pair in zip(logits.cpu(), iou.cpu())]

    def _turn(
        self,
        tile: Sam2Tile,
        crop: Crop | None,
        choice: MaskChoice,
        prompts: _Prompts,
        before: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return mean logits and predicted IoU over the views of a tile or crop after one turn."""

        def predict() -> tuple[Tensor, Tensor]:
            views = tile.views[crop]
            return _mean([self._predict_view(view, prompts, choice, before) for view in views])

        if not self._in_turn or prompts.boxes is not None or len(prompts.points) > 1:
            return predict()
        key = (crop, choice, prompts.points.tobytes(), prompts.on_object.tobytes())
        if key not in tile.turns:
            if len(tile.turns) >= _MOST_TURNS:
                tile.turns.clear()
            tile.turns[key] = predict()
        return tile.turns[key]

    def _predict_view(
        self, view: Sam2View, prompts: _Prompts, choice: MaskChoice, before: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return logits, mirrored back, and predicted IoU of one view.

        Args:
            view: The view.
            prompts: Of N objects.
            choice: Which masks to predict.
            before: Logits (N, 1, h, w) of the turn before, None in the first.
        """
        mirror = view.mirror
        # For the model the middle of one of its pixels has integer coordinates.
        middle = _CENTRE_OF_PIXEL * view.side / self.tile
        predict = partial(self._model.predict, view.embedding, choice=choice, shared=view.shared)
        if prompts.boxes is not None:
            corners = [mirror.box(tuple(box), view.side) for box in prompts.boxes.tolist()]
            predict = partial(predict, boxes=_moved(np.array(corners), middle))
        if prompts.points.shape[1]:
            points = _moved(mirror.points(prompts.points, view.side), middle)
            labels = torch.from_numpy(prompts.on_object).int()
            predict = partial(predict, points=points, labels=labels)
        if before is not None:
            predict = partial(predict, masks=mirror.tensor(before))
        output = predict()
        return mirror.tensor(output.logits), output.iou


def sam2_predictor(models: LoadedPreset) -> Sam2Predictor:
    """Return the SAM 2 of a preset, set up as its card says.

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
        zoom_in=component.closer,
        in_turn=component.in_turn,
    )


@dataclass(frozen=True)
class _Prompts:
    """The prompts of N objects with P points each.

    Attributes:
        points: (N, P, 2), in the order in which they are given to the network.
        on_object: (N, P), True for positive points.
        boxes: (N, 4), None without boxes.
    """

    points: NDArray[np.float64]
    on_object: NDArray[np.bool_]
    boxes: NDArray[np.float64] | None

    def first(self, count: int) -> _Prompts:
        """Return them with the first ``count`` points."""
        return _Prompts(self.points[:, :count], self.on_object[:, :count], self.boxes)


def _batch(objects: Sequence[ObjectPrompt]) -> _Prompts:
    points = np.stack([item.points for item in objects])
    on_object = np.stack([item.on_object for item in objects])
    # The first point lies on the object, as in training; the others keep their order.
    first = on_object & (on_object.cumsum(axis=1) == 1)
    order = np.argsort(~first, axis=1, kind="stable")
    boxes = [item.box for item in objects if item.box is not None]
    return _Prompts(
        np.take_along_axis(points, order[..., None], axis=1),
        np.take_along_axis(on_object, order, axis=1),
        np.array(boxes) if boxes else None,
    )


def _mean(predictions: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    logits, iou = (torch.stack(values).mean(0) for values in zip(*predictions))
    return logits, iou


def _moved(coordinates: NDArray[np.float64], by: float) -> Tensor:
    return torch.from_numpy(coordinates - by).float()


def _alike(objects: Sequence[ObjectPrompt]) -> Iterator[list[ObjectPrompt]]:
    """Yield objects with the same number of points; padding would change the predictions."""
    groups: dict[tuple[int, bool], list[ObjectPrompt]] = {}
    for item in objects:
        groups.setdefault((len(item.points), bool(item.areas)), []).append(item)
    yield from groups.values()


def _best_mask(masks: Candidates) -> Prediction:
    """Return the mask with the highest predicted IoU."""
    best = int(masks.iou.argmax())
    chosen = masks.logits[best]
    score = float(masks.iou[best]) * float(stability(chosen, STABILITY_OFFSET, nan=0.0))
    return Prediction(chosen.numpy(), min(max(score, 0.0), 1.0), masks.zoom)
