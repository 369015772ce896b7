"""The parameters MAPPING and IGNORE: which values make one class, and which are left out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .layer_classes import IGNORED, NO_CLASS, LayerClasses, Value, is_number, plain_name

IGNORE_NOTHING = "none"


@dataclass
class MatchedClass:
    """One class of the comparison, and its values in result and reference."""

    name: str
    result: list[Value]
    reference: list[Value]

    @property
    def is_shared(self) -> bool:
        """Whether both have it."""
        return bool(self.result and self.reference)


def read_mapping(mapping: str, result: LayerClasses, reference: LayerClasses) -> list[MatchedClass]:
    """Return the classes of a mapping such as ``building, house = 1; road = 2, 3``.

    Raises:
        JobError: ``INVALID_CLASSES`` for a mapping that cannot be read or names unknown values.
    """
    groups: list[MatchedClass] = []
    for pair in _split_mapping(mapping):
        name = next((word for words in pair for word in words if not is_number(word)), pair[0][0])
        found = [
            [_find(layer, word) for word in words]
            for layer, words in zip((result, reference), pair, strict=True)
        ]
        groups.append(MatchedClass(name, *found))
    for layer, members in (
        (result, [value for group in groups for value in group.result]),
        (reference, [value for group in groups for value in group.reference]),
    ):
        twice = [value for value in members if members.count(value) > 1]
        if twice:
            raise unmatched(
                f"The mapping names {layer.label(twice[0])} of the {layer.title} twice.",
                "Name every value once.",
            )
    return groups


def _split_mapping(mapping: str) -> list[list[list[str]]]:
    """Return the words on both sides of each ``=``."""
    pairs = []
    for part in re.split(r"[;\n]", mapping):
        if not part.strip():
            continue
        sides = [[word.strip() for word in side.split(",")] for side in part.split("=")]
        if len(sides) != 2 or not all(word for side in sides for word in side):
            raise unmatched(
                f"{part.strip()!r} in the mapping does not read result = reference.",
                "Write values or names of the result, =, and those of the reference: "
                "building, house = 1; road = 2, 3.",
            )
        pairs.append(sides)
    return pairs


def _find(layer: LayerClasses, word: str) -> Value:
    value = layer.find(word)
    if value is None:
        raise unmatched(
            f"The mapping names {word!r}, which the {layer.title} does not hold.",
            f"The {layer.title} holds {layer.listed()}.",
        )
    return value


def ignored_values(
    reference: LayerClasses, ignore: str, mapped: Sequence[MatchedClass]
) -> frozenset[Value]:
    """Return the values of the reference that are left out, see `EvaluateTask`.

    Raises:
        JobError: ``INVALID_CLASSES`` for a name that the reference does not have.
    """
    named = {value for group in mapped for value in group.reference}
    words = [word.strip() for word in re.split(r"[,;\n]", ignore) if word.strip()]
    if words:
        if [plain_name(word) for word in words] == [IGNORE_NOTHING]:
            return frozenset()
        return frozenset(_find_ignored(reference, word) for word in words) - named
    ignored: set[Value] = set()
    classes = [value for value in reference.classes if value != IGNORED]
    if classes and reference.is_raster and not reference.names.get(IGNORED):
        ignored.add(IGNORED)
    if reference.is_raster and len(classes) > 1:
        ignored.add(NO_CLASS)
    return frozenset(ignored) - named


def _find_ignored(reference: LayerClasses, word: str) -> Value:
    value = reference.find(word)
    if value is not None:
        return value
    if is_number(word):
        return int(word)
    raise unmatched(
        f"{word!r} is to be ignored, but the reference does not hold it.",
        f"The reference holds {reference.listed()}; 0 stands for pixels without a class.",
    )


def unmatched(
    message: str, hint: str = "Check that both layers hold classes and overlap."
) -> JobError:
    """Return the error for classes that do not match."""
    return JobError(ErrorCode.INVALID_CLASSES, message, hint)
