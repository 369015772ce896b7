"""Land covers and partial labels.

Each data set has its own labels: one names five land covers, another only buildings. A partial
label is the set of land covers that a pixel may have, kept as a bit mask, so that all data sets
train one model. Zero means unknown: the pixel is ignored.

Example:
    >>> partial_label("tree", "grass")
    12
"""

from __future__ import annotations

from typing import Final

SURFACES: Final = (
    "building",
    "road",
    "tree",
    "grass",
    "water",
    "land",
    "car",
    "field",
    "other",
)
BIT: Final = {name: 1 << index for index, name in enumerate(SURFACES)}
UNKNOWN: Final = 0
ANY: Final = (1 << len(SURFACES)) - 1


def partial_label(*names: str) -> int:
    """Return the bit mask of the land covers that are possible."""
    mask = 0
    for name in names:
        mask |= BIT[name]
    return mask


def all_but(*names: str) -> int:
    """Return the bit mask of every land cover except the named ones."""
    return ANY & ~partial_label(*names)
