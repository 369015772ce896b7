"""The classes that a class raster or a layer of class polygons holds: values and names.

Value 0 is no class: 0 in a raster, and what is outside of all polygons.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from geoseg_qgis.protocol.legend import EVERYTHING_ELSE

NO_CLASS = 0
# The usual value of pixels that nobody looked at.
IGNORED = 255
REST_NAMES = frozenset({"background", "unclassified", "no class", EVERYTHING_ELSE})
_SHOWN = 8

Value = int | str


@dataclass(frozen=True)
class LayerClasses:
    """The classes that a layer holds.

    Attributes:
        title: ``result``, ``reference`` or ``mask``, for messages.
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
        """The values without "no class", numbers first."""
        return tuple(sorted(set(self.values) - {NO_CLASS}, key=_rank))

    @property
    def has_names(self) -> bool:
        """Whether any of its classes has a name."""
        return any(self.names.get(value) for value in self.classes)

    def name(self, value: Value) -> str:
        """Return the name of a value, or the value itself where it has none."""
        return (self.names.get(value) or (str(value),))[0]

    def label(self, value: Value) -> str:
        """Return a value with its name to show: ``1 (building)``, or the name alone."""
        if value == NO_CLASS:
            return "0" if self.is_raster else "outside of polygons"
        name = self.name(value)
        return f"{value} ({name})" if name and name != str(value) else str(value)

    def words(self, value: Value) -> frozenset[str]:
        """Return the names of a value, its number when it has none, in lower case."""
        return frozenset(plain_name(name) for name in self.names.get(value, ()) or (str(value),))

    def is_rest(self, value: Value) -> bool:
        """Return whether the name of a value means that a pixel belongs to no class."""
        return bool(self.words(value) & REST_NAMES)

    def find(self, word: str) -> Value | None:
        """Return the value that a name or number stands for; any number is fine in a raster."""
        for value in self.classes:
            if plain_name(word) in self.words(value) | {plain_name(str(value))}:
                return value
        number = int(word) if is_number(word) else None
        return number if self.is_raster or number == NO_CLASS else None

    def listed(self) -> str:
        """Return its classes as a list for a sentence."""
        labels = [self.label(value) for value in self.classes]
        more = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
        return (", ".join(labels[:_SHOWN]) + more) or "no class"


def plain_name(word: str) -> str:
    """Return a name in lower case, with single spaces."""
    return " ".join(word.lower().split())


def is_number(word: str) -> bool:
    """Return whether a word is a whole number."""
    return re.fullmatch(r"-?\d+", word) is not None


def _rank(value: Value) -> tuple[bool, int, str]:
    return isinstance(value, str), value if isinstance(value, int) else 0, str(value)
