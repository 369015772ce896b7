"""Strict reading of JSON: every member has its type, and no member is left over.

The types are pydantic dataclasses with the configuration `STRICT`::

    @dataclass(frozen=True, config=STRICT)
    class Size(Members):
        width: int
        height: int = 1

    size = parse(Size, {"width": "3"}, "card.size")  # card.size.width must be a whole number
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails, from_json

from geoseg_qgis.protocol.errors import ErrorCode, JobError

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
LENIENT = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

# What people write stays far below these; what exceeds them is a mistake or an attack.
_LONGEST_TEXT = 2_000
_MOST_VALUES = 2_000
_LARGEST_INTEGER = 2**63

T = TypeVar("T")

_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)

_PHRASES = {
    "missing": "is missing",
    "unexpected_keyword_argument": "is not a known member",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a number",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "dataclass_type": "must be an object",
}


@dataclass(frozen=True, config=STRICT)
class Members:
    """Base of the types that are read: a member that is null counts as absent."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {name: value for name, value in data.items() if value is not None}


def bounded(data: Any) -> Any:
    """Return an object; one that could overwhelm whoever reads it raises a `ValueError`."""
    waiting, count = [data], 0
    while waiting:
        value = waiting.pop()
        count += 1
        if isinstance(value, Mapping):
            waiting += [*value, *value.values()]
        elif isinstance(value, (list, tuple)):
            waiting += value
        elif isinstance(value, str) and len(value) > _LONGEST_TEXT:
            raise ValueError(f"must not hold a text of more than {_LONGEST_TEXT} characters")
        elif isinstance(value, int) and abs(value) >= _LARGEST_INTEGER:
            raise ValueError("must not hold a number of more than 64 bits")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError("must not hold a number that is not finite")
        if count + len(waiting) > _MOST_VALUES:
            raise ValueError(f"must not hold more than {_MOST_VALUES} values")
    return data


Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=_LONGEST_TEXT)
]
Size = Annotated[int, Field(ge=1, lt=_LARGEST_INTEGER)]
"""A number of bytes, pixels or pieces: 1 or more."""
Count = Annotated[int, Field(ge=0, lt=_LARGEST_INTEGER)]
Settings = Annotated[Mapping[str, Any], AfterValidator(bounded)]
"""An object that somebody else reads, of bounded size."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


# Arrays become tuples; only the array itself is taken leniently, its items stay strict.
ListOf = Annotated[tuple[T, ...], Strict(False)]
OneOrMore = Annotated[tuple[T, ...], Strict(False), BeforeValidator(_as_list)]
Triple = Annotated[tuple[T, ...], Strict(False), Field(min_length=3, max_length=3)]


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in ``path``.

    Raises:
        JobError: ``MODEL_MISSING`` when there is no file, ``MODEL_INVALID`` when it is no object.
    """
    content = read_bytes(path)
    try:
        data = from_json(content)
    except ValueError as error:
        raise invalid(str(path), "is not JSON", str(error)) from error
    if not isinstance(data, dict):
        raise invalid(str(path), "does not hold a JSON object")
    return data


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """Return the content of a file.

    Args:
        path: The file.
        most: Bytes that it may have, None for any number.

    Raises:
        JobError: ``MODEL_MISSING`` when there is no file, ``MODEL_INVALID`` when it cannot be read
            or is too large.
    """
    try:
        if most is not None and path.stat().st_size > most:
            raise invalid(str(path), f"has more than {most} bytes")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise JobError(
            ErrorCode.MODEL_MISSING, f"There is no file {path}.", "Check the folder of this model."
        ) from error
    except OSError as error:
        raise invalid(str(path), "cannot be read", str(error)) from error


def parse(kind: type[T], data: Any, where: str) -> T:
    """Return the object that JSON describes.

    Args:
        kind: A pydantic dataclass with the configuration `STRICT` or `LENIENT`.
        data: JSON as bytes, or the parsed object.
        where: How messages name the object, for example ``card.segassess``.

    Raises:
        JobError: ``MODEL_INVALID`` naming the first member that does not fit.
    """
    text = data if isinstance(data, bytes) else json.dumps(data)
    try:
        parsed: T = _adapter(kind).validate_json(text)
    except ValidationError as error:
        sentences = [_sentence(each, where) for each in error.errors(include_url=False)]
        raise invalid(*sentences[0], "\n".join(map(" ".join, sentences[:10]))) from error
    return parsed


def changed(settings: T, changes: Mapping[str, Any], where: str) -> T:
    """Return a copy of settings with other values for some members.

    Args:
        settings: A pydantic dataclass with the configuration `STRICT`.
        changes: Members and their values; an object changes the members of a nested dataclass.
        where: How messages name the changes, for example ``card.gumix``.

    Raises:
        JobError: ``MODEL_INVALID`` naming the first member that does not fit.
    """
    return parse(type(settings), _merged(asdict(cast("Any", settings)), changes), where)


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        name: _merged(old[name], value)
        for name, value in new.items()
        if isinstance(value, Mapping) and isinstance(old.get(name), dict)
    }
    return {**old, **new, **both}


def _sentence(error: ErrorDetails, where: str) -> tuple[str, str]:
    """Return the member's full name, and what is wrong with it."""
    names = (f"[{name}]" if isinstance(name, int) else f".{name}" for name in error["loc"])
    place, kind, value = where + "".join(names), error["type"], error["input"]
    if kind == "json_invalid":
        return place, f"is not JSON ({error['ctx']['error']})"
    if kind == "value_error":
        return place, str(error["ctx"]["error"]).rstrip(".")
    # The messages of pydantic read "Input should be greater than 0", "Tuple should have at ...".
    phrase = _PHRASES.get(kind) or re.sub(r"^\w+ should", "must", error["msg"])
    phrase = phrase.replace(" after validation", "")
    if kind in ("missing", "unexpected_keyword_argument") or isinstance(value, (dict, list, tuple)):
        return place, phrase
    return place, f"{phrase}, not {_shown(value)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def invalid(where: str, what: str, detail: str = "") -> JobError:
    """Return the error for a member of a card, or a file beside it, that does not fit."""
    return JobError(
        ErrorCode.MODEL_INVALID, f"{where} {what}.", "Correct the model's card.", detail
    )
