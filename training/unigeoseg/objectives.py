"""What the built-in UniGeoSeg is trained to do with a lesson: the losses of one step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.pixel_decoder import NUM_LEVELS
from geoseg_qgis.engine.models.unigeoseg.sequence import Piece
from training.device import as_products, device_of, half_precision

from .batches import Lesson
from .object_head import ObjectMeans, object_loss
from .pixel_head import DenseReading, dense_loss
from .query_head import LandmarkReading, MeaningReading, landmark_loss, meaning_loss
from .shared import SharedAnswer, answer_all

DENSE_WEIGHT = 1.0
COARSE_WEIGHT = 0.5
MEANING_WEIGHT = 0.5
MASK_WEIGHT = 5.0
DICE_WEIGHT = 5.0
OBJECT_WEIGHT = 2.0
LAST_WEIGHT = 3.0
"""Weight of the mask that counts; those before it weigh 1."""
RAREST_SHARE = 1 / 1024
"""Share of the picture below which an answer's cells get no more weight."""
READINGS = ("reading.", "coarse_reading.", "meaning.")
"""How the names of weights begin that no export takes, and that would spoil what has learnt."""
GENTLE_READINGS = ("landmark.",)
"""Those that no export takes and that have no effect at first."""


class Pupil(nn.Module):
    """The network, and what is read of its maps and queries while it learns."""

    def __init__(self, model: UniGeoSeg) -> None:
        super().__init__()
        self.model = model
        self.reading = DenseReading(model.config.segmentation.width)
        self.coarse_reading = DenseReading(model.config.segmentation.width)
        self.meaning = MeaningReading(model.config.segmentation.width)
        self.landmark = LandmarkReading(model.config.segmentation.width)
        self.looked = min(model.config.segmentation.open_layers, NUM_LEVELS)
        """Layers after which the query has seen all that the words name."""


def keep_half_precision(model: UniGeoSeg) -> None:
    """Let the tower's sums stay in the products' precision, which saves most conversions."""

    def halve(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(as_products(value) for value in inputs)

    model.model.vision_tower.layers[0].register_forward_pre_hook(halve)


def lesson_losses(pupil: Pupil, lesson: Lesson, pieces: Sequence[Piece]) -> dict[str, Tensor]:
    """Return the losses of one lesson, named; ``total`` is to be minimised."""
    device = device_of(pupil)
    lesson = lesson.to(device)
    with sdpa_kernel(SDPBackend.MATH), half_precision(device):
        answer = answer_all(pupil.model, lesson.pixels, pieces, lesson.requests)
    losses = _read_losses(pupil, lesson, answer)
    mask = dice = chosen = torch.zeros((), device=device)
    means = ObjectMeans(lesson.objects)
    meant, objects = means.of(lesson.answers), means.of(lesson.known)
    weights = [1.0] * (len(answer.masks) - 1) + [LAST_WEIGHT]
    for weight, logits in zip(weights, answer.masks, strict=True):
        cross_entropy, overlap = cell_losses(logits.float(), lesson.answers, lesson.known)
        mask, dice = mask + weight * cross_entropy, dice + weight * overlap
        last_chosen = object_loss(logits.float(), means, meant, objects)
        chosen = chosen + weight * last_chosen
    mask, dice, chosen = (loss / sum(weights) for loss in (mask, dice, chosen))
    total = losses["total"] + MASK_WEIGHT * mask + DICE_WEIGHT * dice + OBJECT_WEIGHT * chosen
    last = {"last_dice": overlap, "last_objects": last_chosen}
    return {**losses, "mask": mask, "dice": dice, "objects": chosen, **last, "total": total}


def reading_losses(pupil: Pupil, lesson: Lesson, pieces: Sequence[Piece]) -> dict[str, Tensor]:
    """Return the losses of a lesson from which the readings alone learn.

    Fresh readings of a network that has learnt before would spoil it until they fit.
    """
    device = device_of(pupil)
    lesson = lesson.to(device)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), half_precision(device):
        answer = answer_all(pupil.model, lesson.pixels, pieces, lesson.requests)
    return _read_losses(pupil, lesson, answer)


def _read_losses(pupil: Pupil, lesson: Lesson, answer: SharedAnswer) -> dict[str, Tensor]:
    with half_precision(device_of(pupil)):
        read = pupil.reading(answer.pixels.mask_features)
        coarse = pupil.coarse_reading(answer.pixels.multi_scale[-1])
        meant = pupil.meaning([answer.queries[0], answer.queries[-1]])
        kinds, places = pupil.landmark(answer.queries[0], answer.queries[pupil.looked])
    dense = dense_loss(read, lesson.facts)
    coarse_dense = dense_loss(coarse, lesson.coarse_facts)
    meaning = meaning_loss(meant, lesson.meaning)
    landmark = landmark_loss(kinds, places, lesson.meaning)
    total = DENSE_WEIGHT * dense + COARSE_WEIGHT * coarse_dense
    total = total + MEANING_WEIGHT * (meaning + landmark)
    return {
        "dense": dense,
        "coarse_dense": coarse_dense,
        "meaning": meaning,
        "landmark": landmark,
        "total": total,
    }


def dense_only_losses(pupil: Pupil, lesson: Lesson) -> dict[str, Tensor]:
    """Return the losses of a lesson whose requests are not asked."""
    device = device_of(pupil)
    lesson = lesson.to(device)
    with half_precision(device):
        features = pupil.model.encode_image(lesson.pixels)
        read = pupil.reading(features.pixels.mask_features)
        coarse = pupil.coarse_reading(features.pixels.multi_scale[-1])
    dense = dense_loss(read, lesson.facts)
    coarse_dense = dense_loss(coarse, lesson.coarse_facts)
    total = DENSE_WEIGHT * dense + COARSE_WEIGHT * coarse_dense
    return {"dense": dense, "coarse_dense": coarse_dense, "total": total}


def cell_losses(logits: Tensor, answers: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Compare logits (B, R, h, w) with shares of cells, weighted by ``known``.

    In the cross entropy the cells of an answer weigh up to 32 times more, the rarer they are.

    Returns:
        Mean cross entropy and mean Dice loss.
    """
    wrong = nn.functional.binary_cross_entropy_with_logits(logits, answers, reduction="none")
    # Small answers would drown in their surroundings, and nothing is the easiest answer.
    total = known.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    share = (answers * known).sum(dim=(2, 3), keepdim=True) / total
    rare = share.clamp(min=RAREST_SHARE).rsqrt()
    weights = known * (1 + (rare - 1) * answers)
    amount = weights.sum(dim=(2, 3)).clamp(min=1)
    cross_entropy = ((wrong * weights).sum(dim=(2, 3)) / amount).mean()
    found = logits.sigmoid() * known
    wanted = answers * known
    overlap = 2 * (found * wanted).sum(dim=(2, 3)) + 1
    size = found.sum(dim=(2, 3)) + wanted.sum(dim=(2, 3)) + 1
    return cross_entropy, (1 - overlap / size).mean()
