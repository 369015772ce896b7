"""Changing frozen settings by the values of a JSON object, strictly."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, cast

SettingsT = TypeVar("SettingsT")


def override(settings: SettingsT, changes: Mapping[str, Any], prefix: str = "") -> SettingsT:
    """A copy of a settings dataclass with some fields changed.

    Args:
        settings: A frozen dataclass of numbers, switches, tuples of numbers, texts and nested
            settings.
        changes: Field names and values; a nested dataclass takes an object.
        prefix: Put before a field's name in messages.

    Returns:
        The changed copy.

    Raises:
        ValueError: A name is unknown or a value has the wrong type.
    """
    known = {item.name for item in dataclasses.fields(cast("Any", settings))}
    unknown = sorted(set(changes) - known)
    if unknown:
        raise ValueError(f"Unknown setting {prefix}{unknown[0]}; known are {sorted(known)}.")
    converted = {
        name: _converted(prefix + name, getattr(settings, name), value)
        for name, value in changes.items()
    }
    return cast("SettingsT", dataclasses.replace(cast("Any", settings), **converted))


def _converted(name: str, current: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(current):
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} must be an object of settings, not {value!r}.")
        return override(current, value, name + ".")
    if isinstance(current, tuple):
        if not isinstance(value, (list, tuple)) or not all(map(_is_number, value)):
            raise ValueError(f"{name} must be a list of numbers, not {value!r}.")
        return tuple(float(item) for item in value)
    if isinstance(current, float):
        if not _is_number(value):
            raise ValueError(f"{name} must be a number, not {value!r}.")
        return float(value)
    if type(value) is not type(current):
        raise ValueError(f"{name} must be of type {type(current).__name__}, not {value!r}.")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
