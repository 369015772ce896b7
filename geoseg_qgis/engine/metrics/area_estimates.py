"""Areas of classes, corrected for the errors of the map (Olofsson et al. 2014).

Counting pixels of a map gives biased areas, as the map has errors. A sample of it whose class is
known tells how large they are; the classes of the map are the strata of the sample. Equations are
those of doi:10.1016/j.rse.2014.02.015.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.96
"""Half width of a 95 % interval in standard errors."""


@dataclass(frozen=True)
class AreaEstimates:
    """Estimates, one entry a class; half widths are those of 95 % intervals.

    NaN stands where a class of the map has fewer than two samples, which its errors need.

    Attributes:
        shares: Share of the whole area that each class truly has (equation 9).
        share_widths: Half widths (equation 10).
        users: User's accuracy (equation 2).
        user_widths: Half widths (equation 6).
        producers: Producer's accuracy (equation 3).
        producer_widths: Half widths (equation 7).
        overall: Overall accuracy (equation 1).
        overall_width: Half width (equation 5).
    """

    shares: NDArray[np.float64]
    share_widths: NDArray[np.float64]
    users: NDArray[np.float64]
    user_widths: NDArray[np.float64]
    producers: NDArray[np.float64]
    producer_widths: NDArray[np.float64]
    overall: float
    overall_width: float


def estimate_areas(counts: NDArray[np.integer], mapped: NDArray[np.floating]) -> AreaEstimates:
    """Return the estimates of a stratified random sample.

    Args:
        counts: Samples, (C, C), classes of the map in rows and true classes in columns.
        mapped: Area of each class of the map in any unit, (C,).

    Raises:
        ValueError: The shapes differ, or nothing is mapped.
    """
    number = counts.astype(np.float64)
    if number.shape != (len(mapped), len(mapped)):
        raise ValueError(f"{number.shape} samples do not fit {len(mapped)} classes.")
    total = float(np.sum(mapped))
    if total <= 0:
        raise ValueError("No class of the map has an area.")
    weight = np.asarray(mapped, dtype=np.float64) / total
    sampled = number.sum(axis=1)
    strata = weight > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = np.where(strata[:, None], number / sampled[:, None], 0.0)
        users = np.where(sampled > 0, np.diag(number) / sampled, np.nan)
        freedom = np.where(sampled > 1, sampled - 1, np.nan)
        user_variance = users * (1 - users) / freedom
        spread = np.where(strata[:, None], rates * (1 - rates) / freedom[:, None], 0.0)
        cells = np.where(strata[:, None], weight[:, None] * rates, 0.0)
        shares = cells.sum(axis=0)
        share_variance = (weight[:, None] ** 2 * spread).sum(axis=0)
        right = np.diag(cells)
        producers = right / shares
        own = weight**2 * (1 - producers) ** 2 * np.where(strata, user_variance, 0.0)
        others = (weight[:, None] ** 2 * spread).sum(axis=0) - np.diag(
            weight[:, None] ** 2 * spread
        )
        producer_variance = (own + producers**2 * others) / shares**2
        overall_variance = (weight**2 * np.where(strata, user_variance, 0.0)).sum()
    return AreaEstimates(
        shares,
        Z_95 * np.sqrt(share_variance),
        users,
        Z_95 * np.sqrt(user_variance),
        producers,
        Z_95 * np.sqrt(producer_variance),
        float(right.sum()),
        float(Z_95 * np.sqrt(overall_variance)),
    )
