"""One training step of UniGeoSeg: from a batch to its losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geoseg_qgis.engine.models.unigeoseg.configuration import SegmentationConfig
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.pixel_decoder import NUM_LEVELS, PixelFeatures
from geoseg_qgis.engine.models.unigeoseg.sequence import Piece
from training.device import as_products, device_of, half_precision
from training.trainer import Losses

from .batches import Batch, Facts
from .forward import Predictions, predict
from .losses import LossSettings, cell_losses, language_loss, mask_losses
from .object_head import ObjectMeans, object_loss
from .pixel_head import PixelHead, pixel_loss
from .query_head import LandmarkHead, QueryHead, landmark_loss, query_loss

FINE_WEIGHT = 1.0
COARSE_WEIGHT = 0.5
QUERY_WEIGHT = 0.5
MASK_WEIGHT = 5.0
DICE_WEIGHT = 5.0
OBJECT_WEIGHT = 2.0
LAST_WEIGHT = 3.0
"""Weight of the last mask, which counts; those before it weigh 1."""
HEADS = "heads."
"""Start of the names of weights that are not exported."""
HARMLESS_HEADS = "heads.landmark."
"""Start of the names of those among them that have no effect at first."""


class Heads(nn.Module):
    """Auxiliary heads on the maps and the queries."""

    def __init__(self, config: SegmentationConfig) -> None:
        super().__init__()
        self.fine = PixelHead(config.width)
        self.coarse = PixelHead(config.width)
        self.query = QueryHead(config.width)
        self.landmark = LandmarkHead(config.width)
        self.landmark_layer = min(config.open_layers, NUM_LEVELS)
        """Decoder layers after which a query has read all that the words name."""


class TrainedNetwork(nn.Module):
    """The network and, where scenes are drawn, the auxiliary heads that learn beside it.

    Args:
        model: The network.
        with_heads: Whether to add the heads, for batches that have facts.
    """

    def __init__(self, model: UniGeoSeg, with_heads: bool = True) -> None:
        super().__init__()
        self.model = model
        self.heads = Heads(model.config.segmentation) if with_heads else None


def keep_half_precision(model: UniGeoSeg) -> None:
    """Keep the tower's sums in the precision of products, which saves most conversions."""

    def halve(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(as_products(value) for value in inputs)

    model.model.vision_tower.layers[0].register_forward_pre_hook(halve)


def step_losses(
    network: TrainedNetwork,
    batch: Batch,
    pieces: Sequence[Piece],
    settings: LossSettings | None = None,
) -> Losses:
    """Return the losses of a batch, named; ``total`` is to be minimised.

    Masks are compared cell by cell where the batch has weights, else on points as published. A
    network with a language head learns the words of the answer, and heads learn the facts.
    """
    batch = batch.to(device_of(network))
    predicted = _predict(network, batch, pieces)
    if batch.weights is None:
        losses = point_losses(predicted, batch.masks, settings or LossSettings())
    else:
        losses = _cell_losses(predicted, batch, batch.weights)
    if network.model.lm_head is not None:
        words = network.model.lm_head(predicted.states)
        losses["language"] = language_loss(words, predicted.labels)
        losses["total"] = losses["total"] + losses["language"]
    if batch.facts is not None:
        found = _head_losses(network, predicted, batch.facts)
        losses = {**losses, **found, "total": losses["total"] + found["total"]}
    return losses


def head_losses(network: TrainedNetwork, batch: Batch, pieces: Sequence[Piece]) -> Losses:
    """Return the losses of a batch from which the heads alone learn.

    New heads of a trained network would harm it until they fit.
    """
    batch = batch.to(device_of(network))
    with torch.no_grad():
        predicted = _predict(network, batch, pieces)
    return _head_losses(network, predicted, _facts_of(batch))


def map_losses(network: TrainedNetwork, batch: Batch) -> Losses:
    """Return the losses of the maps alone, without any request."""
    batch = batch.to(device_of(network))
    with half_precision(device_of(network)):
        pixels = network.model.encode_image(batch.pixels).pixels
    return _map_losses(network, pixels, _facts_of(batch))


def point_losses(
    predicted: Predictions, masks: Tensor, settings: LossSettings, points: Tensor | None = None
) -> Losses:
    """Return the published losses of masks; arguments as in `mask_losses`."""
    mask, dice = mask_losses(predicted.masks, masks, settings, points=points)
    return {"mask": mask, "dice": dice, "total": mask + dice}


def _predict(network: TrainedNetwork, batch: Batch, pieces: Sequence[Piece]) -> Predictions:
    with half_precision(device_of(network)):
        return predict(network.model, batch.pixels, pieces, batch.requests)


def _cell_losses(predicted: Predictions, batch: Batch, weights: Tensor) -> Losses:
    mask = dice = chosen = batch.masks.new_zeros(())
    means = ObjectMeans(_facts_of(batch).objects)
    meant, others = means.of(batch.masks), means.of(weights)
    shares = [1.0] * (len(predicted.masks) - 1) + [LAST_WEIGHT]
    for share, logits in zip(shares, predicted.masks, strict=True):
        cross_entropy, overlap = cell_losses(logits.float(), batch.masks, weights)
        by_object = object_loss(logits.float(), means, meant, others)
        mask, dice = mask + share * cross_entropy, dice + share * overlap
        chosen = chosen + share * by_object
    mask, dice, chosen = (loss / sum(shares) for loss in (mask, dice, chosen))
    total = MASK_WEIGHT * mask + DICE_WEIGHT * dice + OBJECT_WEIGHT * chosen
    last = {"last_dice": overlap, "last_objects": by_object}
    return {"mask": mask, "dice": dice, "objects": chosen, **last, "total": total}


def _map_losses(network: TrainedNetwork, pixels: PixelFeatures, facts: Facts) -> Losses:
    heads = _heads_of(network)
    with half_precision(device_of(network)):
        fine, coarse = heads.fine(pixels.mask_features), heads.coarse(pixels.multi_scale[-1])
    losses = {"fine": pixel_loss(fine, facts.fine), "coarse": pixel_loss(coarse, facts.coarse)}
    total = FINE_WEIGHT * losses["fine"] + COARSE_WEIGHT * losses["coarse"]
    return {**losses, "total": total}


def _head_losses(network: TrainedNetwork, predicted: Predictions, facts: Facts) -> Losses:
    heads, queries = _heads_of(network), predicted.queries
    losses = _map_losses(network, predicted.pixels, facts)
    with half_precision(device_of(network)):
        known = heads.query([queries[0], queries[-1]])
        kinds, places = heads.landmark(queries[0], queries[heads.landmark_layer])
    losses["query"] = query_loss(known, facts.queries)
    losses["landmark"] = landmark_loss(kinds, places, facts.queries)
    losses["total"] = losses["total"] + QUERY_WEIGHT * (losses["query"] + losses["landmark"])
    return losses


def _heads_of(network: TrainedNetwork) -> Heads:
    if network.heads is None:
        raise ValueError("The network has no heads for the facts of drawn scenes.")
    return network.heads


def _facts_of(batch: Batch) -> Facts:
    if batch.facts is None:
        raise ValueError("The batch has no facts. Draw it from scenes.")
    return batch.facts
