"""What each method needs of a preset: the components that it cannot do without.

Methods of open-vocabulary segmentation say so in their cards (`protocol.methods`). Regions may come
from the user, so that SAM 2 is not always among the needs.
"""

from __future__ import annotations

from collections.abc import Mapping

from geoseg_qgis.protocol.methods import read_methods

_OTHER_TASKS: Mapping[str, tuple[str, ...]] = {
    "sam2": ("sam2",),
    "clicks": ("language", "sam2"),
    "segassess": ("segassess",),
    "unigeoseg": ("unigeoseg",),
    "sam3": ("sam3",),
}


def method_needs() -> dict[str, tuple[str, ...]]:
    """Return the name of every method and the components that it needs."""
    return {**{card.name: card.needs for card in read_methods().cards}, **_OTHER_TASKS}


def foreign_methods() -> dict[str, tuple[str, ...]]:
    """Return those of the methods that lie outside the package, and their needs."""
    return {card.name: card.needs for card in read_methods().cards if card.foreign}
