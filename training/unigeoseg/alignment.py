"""Tying the places that queries know to the places of the fine map, in closed form.

Queries learn where their object lies long before masks make use of it: a mask is a product of query
and feature, so neither side gains anything from a place before the other has it. A least-squares
fit from what queries are compared with to the waves of the place gives both sides at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.position_encoding import fourier_features
from geoseg_qgis.engine.models.unigeoseg.sequence import Piece
from training.device import device_of, half_precision

from .batches import Batch
from .forward import predict

_SHRINKAGE = 20.0
MIN_EXPLAINED = 0.12
"""Share of the variance below which a wave gets no weight."""
_HELD_OUT = 5


@torch.no_grad()
def align_places(
    model: UniGeoSeg,
    batches: Iterable[Batch],
    pieces: Sequence[Piece],
    gain: float = 1.5,
) -> list[float]:
    """Set the positions of the mask features so that a query selects the place it knows.

    Args:
        model: A network with positions in its fine map, trained so far that queries know places.
        batches: Of drawn scenes, whose facts say where objects are.
        pieces: The split dialogue.
        gain: Logits that a full match of one wave adds.

    Returns:
        Share of the variance of each wave that queries explain on batches held out; waves that they
        do not explain get no weight.

    Raises:
        ValueError: The network has no positions in its fine map, or a batch has no facts.
    """
    positions = model.pixel_decoder.mask_positions
    if positions is None:
        raise ValueError("The network has no positions in its fine map.")
    positions.mix.weight.zero_()
    training = model.training
    model.eval()
    known: list[Tensor] = []
    waves: list[Tensor] = []
    device = device_of(model)
    for batch in batches:
        if batch.facts is None:
            raise ValueError("Alignment needs batches of drawn scenes.")
        targets = batch.facts.queries
        places = targets.places.to(device)
        with half_precision(device):
            predicted = predict(model, batch.pixels.to(device), pieces, batch.requests)
            compared = [
                model.predictor.mask_embed(model.predictor.decoder_norm(query))
                for query in (predicted.queries[0], predicted.queries[-1])
            ]
        single = ~places[..., 0].isnan()
        places = places.nan_to_num(0.0)
        codes = [fourier_features(places[..., axis], positions.frequencies) for axis in (0, 1)]
        code = torch.cat(codes, dim=-1)
        # Before it has read the image, a query knows only the places that its words state.
        stated = single & targets.stated.to(device)
        for values, placed in zip(compared, (stated, single), strict=True):
            known.append(values.float().flatten(0, 1))
            waves.append((code * placed[..., None]).flatten(0, 1))
    model.train(training)
    weights, explained = fit_waves(torch.cat(known), torch.cat(waves))
    positions.mix.weight.copy_(gain * weights * (explained > MIN_EXPLAINED))
    return [float(share) for share in explained]


def fit_waves(known: Tensor, waves: Tensor) -> tuple[Tensor, Tensor]:
    """Fit waves (N, W) by vectors (N, C).

    Rows of zeros are requests without a place; they are fitted as zeros.

    Returns:
        Weights (C, W), and the share of the variance of each wave that they explain, (W,).
    """
    placed = waves.abs().sum(dim=1) > 0
    centred = waves - placed[:, None] * waves[placed].mean(dim=0)
    rows = torch.cat([known, known.new_ones(len(known), 1)], dim=1)
    numbers = torch.arange(len(rows), device=rows.device)
    held_out = numbers >= len(rows) * (_HELD_OUT - 1) // _HELD_OUT
    identity = torch.eye(rows.shape[1], device=rows.device)
    ridge = _SHRINKAGE * known.var(dim=0).mean() * identity
    seen = rows[~held_out]
    solution = torch.linalg.solve(seen.T @ seen + ridge, seen.T @ centred[~held_out])
    test = held_out & placed
    missed = (rows[test] @ solution - centred[test]).square().mean(dim=0)
    explained = 1 - missed / centred[test].square().mean(dim=0).clamp(min=1e-9)
    return solution[:-1], explained
