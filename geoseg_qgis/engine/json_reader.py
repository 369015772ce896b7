"""Strict reading of JSON objects: every member is typed and no member is left over."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from geoseg_qgis.protocol.errors import ErrorCode, JobError

_REQUIRED = object()


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in ``path``.

    Raises:
        JobError: ``MODEL_MISSING`` when there is no file, ``MODEL_INVALID`` when it is no object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise JobError(
            ErrorCode.MODEL_MISSING, f"There is no file {path}.", "Check the folder of this model."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(str(path), "cannot be read", str(error)) from error
    try:
        data = json.loads(text)
    except ValueError as error:
        raise _invalid(str(path), "is not JSON", str(error)) from error
    if not isinstance(data, dict):
        raise _invalid(str(path), "does not hold a JSON object")
    return data


def _invalid(where: str, what: str, detail: str = "") -> JobError:
    return JobError(
        ErrorCode.MODEL_INVALID, f"{where} {what}.", "Correct the model's card.", detail
    )


class ObjectReader:
    """Takes the members of one JSON object, each with its type.

    Args:
        data: The parsed object.
        where: How messages name it.

    Raises:
        JobError: ``MODEL_INVALID`` from every method when a member does not fit.
    """

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, Mapping):
            raise _invalid(where, f"is {_shown(data)}, not an object")
        self._data = data
        self._taken: set[str] = set()
        self.where = where

    def __contains__(self, name: object) -> bool:
        """Tell whether a member is there and not null."""
        return isinstance(name, str) and self._data.get(name) is not None

    def fail(self, name: str, what: str) -> JobError:
        """Return an error about one member."""
        return _invalid(f"{self.where}.{name}", what)

    def raw(self, name: str, default: Any = _REQUIRED) -> Any:
        """Return a member as it is; null counts as absent when there is a default."""
        self._taken.add(name)
        value = self._data.get(name)
        if value is None:
            if default is _REQUIRED:
                raise self.fail(name, "is missing")
            return default
        return value

    def text(self, name: str, default: Any = _REQUIRED) -> Any:
        """Return a non-empty string (or the default)."""
        value = self.raw(name, default)
        if value is default:
            return value
        if not isinstance(value, str) or not value.strip():
            raise self.fail(name, f"is {_shown(value)}, not a text")
        return value

    def integer(self, name: str, default: Any = _REQUIRED, minimum: int = 0) -> Any:
        """Return an integer of at least ``minimum`` (or the default)."""
        value = self.raw(name, default)
        if value is default:
            return value
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise self.fail(name, f"is {_shown(value)}, not an integer from {minimum}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Return a boolean."""
        value = self.raw(name, default)
        if not isinstance(value, bool):
            raise self.fail(name, f"is {_shown(value)}, not true or false")
        return value

    def number(self, name: str, default: Any = _REQUIRED) -> float:
        """Return a finite number."""
        value = self.raw(name, default)
        if not _is_number(value):
            raise self.fail(name, f"is {_shown(value)}, not a number")
        return float(value)

    def numbers(self, name: str, count: int | None = None) -> tuple[float, ...]:
        """Return a list of finite numbers, ``count`` of them when given."""
        value = self.raw(name)
        fits = isinstance(value, list) and all(map(_is_number, value))
        if not fits or (count is not None and len(value) != count):
            size = "" if count is None else f"{count} "
            raise self.fail(name, f"is {_shown(value)}, not a list of {size}numbers")
        return tuple(float(item) for item in value)

    def integers(self, name: str, count: int | None = None) -> tuple[int, ...]:
        """Return a list of non-negative integers, ``count`` of them when given."""
        value = self.raw(name)
        fits = isinstance(value, list) and all(
            isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in value
        )
        if not fits or (count is not None and len(value) != count):
            size = "" if count is None else f"{count} "
            raise self.fail(name, f"is {_shown(value)}, not a list of {size}integers")
        return tuple(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of non-empty strings."""
        value = self.raw(name)
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise self.fail(name, f"is {_shown(value)}, not a list of texts")
        return tuple(value)

    def mapping(self, name: str, default: Any = _REQUIRED) -> dict[str, Any]:
        """Return an object as a dictionary."""
        value = self.raw(name, default)
        if not isinstance(value, Mapping):
            raise self.fail(name, f"is {_shown(value)}, not an object")
        return dict(value)

    def child(self, name: str) -> ObjectReader:
        """Return a reader of a nested object."""
        return ObjectReader(self.raw(name), f"{self.where}.{name}")

    def file(self, name: str) -> str:
        """Return a relative path with forward slashes that stays inside the card's folder."""
        value = self.text(name)
        path = PurePosixPath(value)
        outside = path.is_absolute() or ".." in path.parts or not path.name
        if outside or "\\" in value or ":" in value or "\0" in value:
            raise self.fail(name, f"is {value!r}, which is no file inside the card's folder")
        return str(path)

    def rest(self) -> dict[str, Any]:
        """Return the members that were not taken, and take them."""
        left = {name: value for name, value in self._data.items() if name not in self._taken}
        self._taken.update(left)
        return left

    def finish(self) -> None:
        """Refuse members that nothing asked for."""
        unknown = sorted(set(self._data) - self._taken)
        if unknown:
            raise self.fail(unknown[0], "is not a known member")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
