"""The classes of a mask that are assessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from geoseg_qgis.engine.methods.evaluation.layer_classes import LayerClasses, Value
from geoseg_qgis.protocol.errors import ErrorCode, JobError

PLAIN_CLASS = "object"
# 0 is no class and 255 is not covered.
_MOST_CLASSES = 254


@dataclass(frozen=True)
class MaskClass:
    """One class of the mask: its number from 1, its value in the layer, its name."""

    number: int
    value: Value
    name: str


def choose_classes(layer: LayerClasses, wanted: Sequence[str], name: str) -> tuple[MaskClass, ...]:
    """Return the classes to assess, numbered from 1.

    Args:
        layer: Classes of the mask.
        wanted: Values or names; empty for all.
        name: Name of the mask, for messages.

    Raises:
        JobError: ``INVALID_CLASSES``.
    """
    values = layer.classes
    if wanted:
        found = {word: layer.find(word) for word in wanted}
        missing = [word for word, value in found.items() if value not in layer.classes]
        if missing:
            raise JobError(
                ErrorCode.INVALID_CLASSES,
                f"The mask {name!r} has no class {missing[0]!r}.",
                f"It has {layer.listed()}.",
            )
        values = tuple(value for value in layer.classes if value in found.values())
    if len(values) > _MOST_CLASSES:
        raise JobError(
            ErrorCode.INVALID_CLASSES,
            f"The mask {name!r} has {len(values)} classes.",
            "Choose a class raster or the field of the class, or name the classes to assess.",
        )
    return tuple(
        MaskClass(number, value, layer.name(value)) for number, value in enumerate(values, start=1)
    )


def name_only_class(classes: tuple[MaskClass, ...]) -> tuple[MaskClass, ...]:
    """Name the only class of a plain mask, where it has a number only."""
    if len(classes) == 1 and classes[0].name == str(classes[0].value):
        return (replace(classes[0], name=PLAIN_CLASS),)
    return classes
