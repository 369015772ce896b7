"""Which class of a result stands for which class of a reference: by names, numbers or a mapping.

Value 0 stands for pixels without a class: 0 in a raster, outside of all polygons.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from geoseg_qgis.engine.metrics.boundary import LEFT_OUT
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.legend import EVERYTHING_ELSE, MAXIMUM_CLASSES

NO_CLASS = 0
REST_NAMES = frozenset({"background", "unclassified", "no class", EVERYTHING_ELSE})
IGNORE_NOTHING = "none"
_OFTEN_IGNORED = 255
_SHOWN = 8

Value = int | str


@dataclass(frozen=True)
class ClassSide:
    """The classes that a result or a reference holds.

    Attributes:
        title: ``result`` or ``reference``, for sentences.
        values: Values that occur or are declared, `NO_CLASS` included where it occurs.
        names: Names of values, synonyms included; the first one is shown.
        is_raster: Whether it is a raster, whose 0 may also mean "not mapped".
    """

    title: str
    values: tuple[Value, ...]
    names: Mapping[Value, tuple[str, ...]] = field(default_factory=dict)
    is_raster: bool = True

    @property
    def classes(self) -> tuple[Value, ...]:
        """The values but for "no class", numbers first."""
        return tuple(sorted(set(self.values) - {NO_CLASS}, key=_rank))

    def label(self, value: Value) -> str:
        """Return what people call a value: ``1 (building)``, or the name alone."""
        if value == NO_CLASS:
            return "0" if self.is_raster else "outside of polygons"
        names = self.names.get(value, ())
        return f"{value} ({names[0]})" if names and names[0] != str(value) else str(value)

    def words(self, value: Value) -> frozenset[str]:
        """Return the names of a value, its number when it has none, in lower case."""
        return frozenset(_plain(name) for name in self.names.get(value, ()) or (str(value),))

    def is_rest(self, value: Value) -> bool:
        """Return whether a value is named as that what belongs to no class."""
        return bool(self.words(value) & REST_NAMES)

    def find(self, word: str) -> Value | None:
        """Return the value that a name or number stands for; any number is fine in a raster."""
        for value in self.classes:
            if _plain(word) in self.words(value) | {_plain(str(value))}:
                return value
        number = int(word) if re.fullmatch(r"-?\d+", word) else None
        return number if self.is_raster or number == NO_CLASS else None

    def listed(self) -> str:
        """Return its classes as a list for a sentence."""
        labels = [self.label(value) for value in self.classes]
        more = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
        return (", ".join(labels[:_SHOWN]) + more) or "no class"


@dataclass
class MatchedClass:
    """One class of the comparison and the values that stand for it on each side."""

    name: str
    result: list[Value]
    reference: list[Value]

    @property
    def is_shared(self) -> bool:
        """Whether both sides have it."""
        return bool(self.result and self.reference)


@dataclass(frozen=True)
class Matching:
    """How values become classes.

    Attributes:
        classes: The classes, numbered from 1.
        ignored: Values of the reference that are left out.
        manner: How they were matched, for people.
    """

    classes: tuple[MatchedClass, ...]
    ignored: frozenset[Value]
    manner: str

    def result_code(self, value: Value) -> int:
        """Return the class of a value of the result, 0 for none."""
        return self._code(value, lambda item: item.result)

    def reference_code(self, value: Value) -> int:
        """Return the class of a value of the reference, 0 for none, 255 when it is left out."""
        if value in self.ignored:
            return LEFT_OUT
        return self._code(value, lambda item: item.reference)

    def _code(self, value: Value, members: Callable[[MatchedClass], list[Value]]) -> int:
        numbers = [n for n, item in enumerate(self.classes, start=1) if value in members(item)]
        return numbers[0] if numbers else NO_CLASS


def match_classes(result: ClassSide, reference: ClassSide, mapping: str, ignore: str) -> Matching:
    """Match the classes of a result with those of a reference.

    Args:
        result: What the result holds.
        reference: What the reference holds.
        mapping: ``result, result = reference; ...``, see `EvaluateTask`; empty to match by name
            where both sides have names, else by number.
        ignore: Values of the reference that are left out, see `EvaluateTask`.

    Raises:
        JobError: ``INVALID_CLASSES`` for a mapping or values that do not fit, and when no class
            is on both sides.
    """
    mapped = _read_mapping(mapping, result, reference) if mapping.strip() else []
    ignored = _ignored_values(reference, ignore, mapped)
    kept = ClassSide(
        reference.title,
        tuple(value for value in reference.values if value not in ignored),
        reference.names,
        reference.is_raster,
    )
    if mapped:
        groups, manner = mapped, "by the mapping"
    else:
        groups, manner = _match_freely(result, kept, NO_CLASS not in ignored)
    if not groups:
        raise _unmatched("Neither the result nor the reference holds a class here.")
    if len(groups) > MAXIMUM_CLASSES:
        raise _unmatched(f"Result and reference hold {len(groups)} different classes.")
    return Matching(tuple(groups), ignored, manner)


def _match_freely(
    result: ClassSide, reference: ClassSide, rest_counts: bool
) -> tuple[list[MatchedClass], str]:
    by_name = all(any(side.names.get(v) for v in side.classes) for side in (result, reference))
    rest: set[tuple[int, Value]] = set()
    sides = (result, reference)
    for number, side in enumerate(sides):
        other = sides[1 - number]
        for value in side.classes:
            if side.is_rest(value) and not _has_partner(
                side, value, other, by_name=by_name, taken=number == 0 and rest_counts
            ):
                rest.add((number, value))
    groups = _group(sides, by_name, rest)
    if not any(group.is_shared for group in groups):
        groups = _pair_only_classes(groups, sides)
        return groups, "as the only class of each"
    return groups, "by name" if by_name else "by number"


def _has_partner(
    side: ClassSide, value: Value, other: ClassSide, *, by_name: bool, taken: bool
) -> bool:
    if by_name:
        return any(side.words(value) & other.words(candidate) for candidate in other.classes)
    # By number, a result's "background" must not take class 1 of a mask whose 0 is background.
    return value in other.classes and not taken


def _group(
    sides: Sequence[ClassSide], by_name: bool, rest: set[tuple[int, Value]]
) -> list[MatchedClass]:
    groups: list[MatchedClass] = []
    known: list[set[str]] = []
    for number, side in enumerate(sides):
        for value in side.classes:
            if (number, value) in rest:
                continue
            words = side.words(value) if by_name else frozenset({str(value)})
            index = next((i for i, others in enumerate(known) if others & words), len(groups))
            if index == len(groups):
                groups.append(MatchedClass("", [], []))
                known.append(set())
            known[index] |= words
            (groups[index].reference if number else groups[index].result).append(value)
    for group in groups:
        group.name = _name(group, *sides)
    return groups


def _name(group: MatchedClass, result: ClassSide, reference: ClassSide) -> str:
    for side, values in ((result, group.result), (reference, group.reference)):
        for value in values:
            if side.names.get(value):
                return side.names[value][0]
    return str((group.result or group.reference)[0])


def _pair_only_classes(
    groups: list[MatchedClass], sides: tuple[ClassSide, ClassSide]
) -> list[MatchedClass]:
    """Match the only class of the result with the only one of the reference."""
    result, reference = sides
    first = [group for group in groups if group.result]
    second = [group for group in groups if group.reference]
    if not first or not second:
        return groups
    named = [any(side.names.get(v) for v in side.classes) for side in sides]
    if len(first) == len(second) == 1 and not all(named):
        pair = MatchedClass("", first[0].result, second[0].reference)
        pair.name = _name(pair, result, reference)
        return [pair]
    example = f"{_word(result, first[0].result[0])} = {_word(reference, second[0].reference[0])}"
    raise _unmatched(
        "No class of the result is in the reference: the result holds "
        f"{result.listed()}; the reference holds {reference.listed()}.",
        f"Say which belong together under Mapping, such as {example}; or choose the field that "
        "holds the class.",
    )


def _word(side: ClassSide, value: Value) -> str:
    return (side.names.get(value) or (str(value),))[0]


def _read_mapping(mapping: str, result: ClassSide, reference: ClassSide) -> list[MatchedClass]:
    groups: list[MatchedClass] = []
    for pair in _split_mapping(mapping):
        name = next((word for side in pair for word in side if not _is_number(word)), pair[0][0])
        found = [
            [_find(side, word) for word in words]
            for side, words in zip((result, reference), pair, strict=True)
        ]
        groups.append(MatchedClass(name, *found))
    for side, members in (
        (result, [value for group in groups for value in group.result]),
        (reference, [value for group in groups for value in group.reference]),
    ):
        twice = [value for value in members if members.count(value) > 1]
        if twice:
            raise _unmatched(
                f"The mapping names {side.label(twice[0])} of the {side.title} twice.",
                "Let every value stand for one class.",
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
            raise _unmatched(
                f"{part.strip()!r} in the mapping does not read result = reference.",
                "Write values or names of the result, =, those of the reference: "
                "building, house = 1; road = 2, 3.",
            )
        pairs.append(sides)
    return pairs


def _find(side: ClassSide, word: str) -> Value:
    value = side.find(word)
    if value is None:
        raise _unmatched(
            f"The mapping names {word!r}, which the {side.title} does not hold.",
            f"The {side.title} holds {side.listed()}.",
        )
    return value


def _ignored_values(
    reference: ClassSide, ignore: str, mapped: Sequence[MatchedClass]
) -> frozenset[Value]:
    named = {value for group in mapped for value in group.reference}
    words = [word.strip() for word in re.split(r"[,;\n]", ignore) if word.strip()]
    if words:
        if [_plain(word) for word in words] == [IGNORE_NOTHING]:
            return frozenset()
        return frozenset(_find_ignored(reference, word) for word in words) - named
    ignored: set[Value] = set()
    classes = [value for value in reference.classes if value != _OFTEN_IGNORED]
    if classes and reference.is_raster and not reference.names.get(_OFTEN_IGNORED):
        ignored.add(_OFTEN_IGNORED)
    if reference.is_raster and len(classes) > 1:
        ignored.add(NO_CLASS)
    return frozenset(ignored) - named


def _find_ignored(reference: ClassSide, word: str) -> Value:
    value = reference.find(word)
    if value is not None:
        return value
    if _is_number(word):
        return int(word)
    raise _unmatched(
        f"{word!r} is to be ignored, but the reference does not hold it.",
        f"The reference holds {reference.listed()}; 0 stands for pixels without a class.",
    )


def _is_number(word: str) -> bool:
    return re.fullmatch(r"-?\d+", word) is not None


def _plain(word: str) -> str:
    return " ".join(word.lower().split())


def _rank(value: Value) -> tuple[bool, int, str]:
    return isinstance(value, str), value if isinstance(value, int) else 0, str(value)


def _unmatched(
    message: str, hint: str = "Check that both layers hold classes and overlap."
) -> JobError:
    return JobError(ErrorCode.INVALID_CLASSES, message, hint)
