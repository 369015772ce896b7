"""What each method needs of a preset: the components that it cannot do without.

Methods of open-vocabulary segmentation say so in their cards (`protocol.methods`). Regions may come
from the user, so that SAM 2 is not always among the needs.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping

from geoseg_qgis.protocol.methods import VARIABLE, MethodCard, read_methods

_OTHER_TASKS: Mapping[str, tuple[str, ...]] = {
    "sam2": ("sam2",),
    "clicks": ("language", "sam2"),
    "segassess": ("segassess",),
    "unigeoseg": ("unigeoseg",),
    "sam3": ("sam3",),
}


def method_needs() -> dict[str, tuple[str, ...]]:
    """Return the name of every method and the components that it needs."""
    return {**{card.name: card.needs for card in _cards()}, **_OTHER_TASKS}


def foreign_methods() -> dict[str, tuple[str, ...]]:
    """Return those of the methods that lie outside the package, and their needs."""
    return {card.name: card.needs for card in _cards() if card.foreign}


def _cards() -> tuple[MethodCard, ...]:
    return _cards_in(os.environ.get(VARIABLE, ""))


@functools.cache
def _cards_in(_folders: str) -> tuple[MethodCard, ...]:
    """Return the method cards, which every model card that is read asks for."""
    return read_methods().cards
