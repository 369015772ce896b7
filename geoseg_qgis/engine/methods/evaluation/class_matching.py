"""Which classes of a result and a reference are the same: by name, by number or by a mapping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from geoseg_qgis.engine.metrics.boundary import LEFT_OUT
from geoseg_qgis.protocol.legend import MAXIMUM_CLASSES

from .class_mapping import MatchedClass, ignored_values, read_mapping, unmatched
from .layer_classes import NO_CLASS, LayerClasses, Value


@dataclass(frozen=True)
class Matching:
    """How values become classes.

    Attributes:
        classes: The classes, numbered from 1.
        ignored: Values of the reference that are left out.
        manner: How they were matched, for messages.
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


def match_classes(
    result: LayerClasses, reference: LayerClasses, mapping: str, ignore: str
) -> Matching:
    """Match the classes of a result with those of a reference.

    Args:
        result: Classes of the result.
        reference: Classes of the reference.
        mapping: ``result, result = reference; ...``, see `EvaluateTask`; empty to match by name
            where both have names, else by number.
        ignore: Values of the reference that are left out, see `EvaluateTask`.

    Raises:
        JobError: ``INVALID_CLASSES`` for a mapping or values that do not fit, and when result and
            reference have no class in common.
    """
    mapped = read_mapping(mapping, result, reference) if mapping.strip() else []
    ignored = ignored_values(reference, ignore, mapped)
    kept = replace(
        reference, values=tuple(value for value in reference.values if value not in ignored)
    )
    if mapped:
        groups, manner = mapped, "by the mapping"
    else:
        groups, manner = _match_freely(result, kept, NO_CLASS not in ignored)
    if not groups:
        raise unmatched("Neither the result nor the reference holds a class here.")
    if len(groups) > MAXIMUM_CLASSES:
        raise unmatched(f"Result and reference hold {len(groups)} different classes.")
    return Matching(tuple(groups), ignored, manner)


def _match_freely(
    result: LayerClasses, reference: LayerClasses, rest_counts: bool
) -> tuple[list[MatchedClass], str]:
    layers = (result, reference)
    by_name = all(layer.has_names for layer in layers)
    rest: set[tuple[int, Value]] = set()
    for number, layer in enumerate(layers):
        other = layers[1 - number]
        for value in layer.classes:
            if layer.is_rest(value) and not _is_in(
                layer, value, other, by_name=by_name, taken=number == 0 and rest_counts
            ):
                rest.add((number, value))
    groups = _group(layers, by_name, rest)
    if not any(group.is_shared for group in groups):
        groups = _pair_only_classes(groups, layers)
        return groups, "as the only class of each"
    return groups, "by name" if by_name else "by number"


def _is_in(
    layer: LayerClasses, value: Value, other: LayerClasses, *, by_name: bool, taken: bool
) -> bool:
    if by_name:
        return any(layer.words(value) & other.words(candidate) for candidate in other.classes)
    # By number, a result's "background" must not take class 1 of a mask whose 0 is background.
    return value in other.classes and not taken


def _group(
    layers: Sequence[LayerClasses], by_name: bool, rest: set[tuple[int, Value]]
) -> list[MatchedClass]:
    groups: list[MatchedClass] = []
    known: list[set[str]] = []
    for number, layer in enumerate(layers):
        for value in layer.classes:
            if (number, value) in rest:
                continue
            words = layer.words(value) if by_name else frozenset({str(value)})
            index = next((i for i, others in enumerate(known) if others & words), len(groups))
            if index == len(groups):
                groups.append(MatchedClass("", [], []))
                known.append(set())
            known[index] |= words
            (groups[index].reference if number else groups[index].result).append(value)
    for group in groups:
        group.name = _name(group, *layers)
    return groups


def _name(group: MatchedClass, result: LayerClasses, reference: LayerClasses) -> str:
    for layer, values in ((result, group.result), (reference, group.reference)):
        for value in values:
            if layer.names.get(value):
                return layer.name(value)
    return str((group.result or group.reference)[0])


def _pair_only_classes(
    groups: list[MatchedClass], layers: tuple[LayerClasses, LayerClasses]
) -> list[MatchedClass]:
    """Match the only class of the result with the only one of the reference."""
    result, reference = layers
    first = [group for group in groups if group.result]
    second = [group for group in groups if group.reference]
    if not first or not second:
        return groups
    if len(first) == len(second) == 1 and not all(layer.has_names for layer in layers):
        pair = MatchedClass("", first[0].result, second[0].reference)
        pair.name = _name(pair, result, reference)
        return [pair]
    example = f"{result.name(first[0].result[0])} = {reference.name(second[0].reference[0])}"
    raise unmatched(
        f"No class of the result is in the reference: the result holds {result.listed()}; "
        f"the reference holds {reference.listed()}.",
        f"Say which belong together under Mapping, such as {example}; or choose the field that "
        "holds the class.",
    )
