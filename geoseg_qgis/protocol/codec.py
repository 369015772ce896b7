"""Dataclasses to JSON and back, strictly: unknown, missing and mistyped members are errors."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any, Dict, Type, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import ErrorCode, JobError

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Return the JSON form of a dataclass, enum, tuple, mapping or plain value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    return value


def from_json(cls: Type[T], data: Any, where: str = "") -> T:
    """Build dataclass ``cls`` from its JSON form.

    Args:
        cls: A dataclass whose annotations say the types of its members.
        data: The parsed JSON object.
        where: Path of the object within the whole, for messages.

    Raises:
        JobError: ``INVALID_JOB`` naming the member that does not fit.
    """
    path = where or cls.__name__
    if not isinstance(data, dict):
        raise _misfit(path, "an object", data)
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"{path} has no member called {unknown[0]!r}.",
            f"Use only these: {', '.join(fields)}.",
        )
    values: Dict[str, Any] = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _decode(hints[name], data[name], f"{path}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise JobError(
                ErrorCode.INVALID_JOB, f"{path} lacks its member {name!r}.", "Add it to the job."
            )
    return cls(**values)


def _misfit(where: str, expected: str, value: Any) -> JobError:
    return JobError(
        ErrorCode.INVALID_JOB,
        f"{where} is {value!r}, not {expected}.",
        "Correct this value in the job.",
    )


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin = get_origin(kind)
    if kind is Any:
        return value
    if origin is Union:
        return _decode_optional(kind, value, where)
    if origin in (tuple, list, dict):
        return _decode_container(origin, get_args(kind), value, where)
    if dataclasses.is_dataclass(kind):
        return from_json(kind, value, where)  # type: ignore[arg-type]
    return _decode_plain(kind, value, where)


def _decode_optional(kind: Any, value: Any, where: str) -> Any:
    choices = [choice for choice in get_args(kind) if choice is not type(None)]
    if value is None and len(choices) < len(get_args(kind)):
        return None
    return _decode(choices[0], value, where)


def _decode_container(origin: Any, kinds: Any, value: Any, where: str) -> Any:
    if origin is dict:
        if not isinstance(value, dict):
            raise _misfit(where, "an object", value)
        return {str(key): _decode(kinds[1], item, f"{where}.{key}") for key, item in value.items()}
    if not isinstance(value, (list, tuple)):
        raise _misfit(where, "a list", value)
    if origin is tuple and kinds[-1] is not Ellipsis:
        if len(kinds) != len(value):
            raise _misfit(where, f"a list of {len(kinds)}", value)
        return tuple(
            _decode(kind, item, f"{where}[{index}]")
            for index, (kind, item) in enumerate(zip(kinds, value))
        )
    return origin(_decode(kinds[0], item, f"{where}[{index}]") for index, item in enumerate(value))


def _decode_plain(kind: Any, value: Any, where: str) -> Any:
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError as error:
            choices = ", ".join(str(member.value) for member in kind)
            raise _misfit(where, f"one of {choices}", value) from error
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise _misfit(where, f"of type {kind.__name__}", value)
    return value
