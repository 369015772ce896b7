"""Dataclasses to JSON and back, strictly: unknown, missing and mistyped members are errors.

A dataclass with a ``TAG`` carries it as the member ``type``, which names the class in a union.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum
from typing import (
    Any,
    Dict,
    Optional,
    Sequence,
    Type,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from .errors import ErrorCode, JobError
from .parameters import Parameter, parameter_of, shown, type_name

T = TypeVar("T")
_TYPE = "type"


def to_json(value: Any) -> Any:
    """Return the JSON form of a dataclass, enum, tuple, mapping or plain value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        tag = {_TYPE: value.TAG} if hasattr(value, "TAG") else {}
        members = dataclasses.fields(value)
        return {**tag, **{item.name: to_json(getattr(value, item.name)) for item in members}}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    return value


@dataclass(frozen=True)
class _Spot:
    """Where in the whole a value stands, and what people call it.

    Attributes:
        path: Dotted members that lead to it.
        parameter: The parameter that it is or belongs to.
        member: Where it stands within the value of the parameter; empty for all of it.
    """

    path: str
    parameter: Optional[Parameter] = None
    member: str = ""

    def below(self, step: str) -> _Spot:
        return _Spot(self.path + step, self.parameter, self.member)

    def of_field(self, item: dataclasses.Field[Any], kind: Any) -> _Spot:
        path = f"{self.path}.{item.name}"
        found = parameter_of(item, kind, tuple(path.split(".")[1:]))
        if found is not None or self.parameter is None:
            return _Spot(path, found)
        return _Spot(path, self.parameter, f"{self.member}.{item.name}".lstrip("."))

    def misfit(self, expected: str, value: Any) -> JobError:
        if self.parameter is not None and not self.member:
            return self.parameter.misfit(expected, value)
        name = f"{self.parameter.label}: {self.member}" if self.parameter else self.path
        return JobError(
            ErrorCode.INVALID_JOB,
            f"{name} must be {expected}; it is {shown(value)}.",
            "Correct this value in the job.",
            self.path,
        )

    def missing(self, name: str) -> JobError:
        if self.parameter is not None and not self.member:
            return self.parameter.missing()
        whole = self.path.rpartition(".")[0]
        return JobError(
            ErrorCode.INVALID_JOB, f"{whole} lacks its member {name!r}.", "Add it to the job."
        )


def from_json(cls: Type[T], data: Any, where: str = "") -> T:
    """Build dataclass ``cls`` from its JSON form.

    Args:
        cls: A dataclass whose annotations are the types of its members.
        data: The parsed JSON object.
        where: Path of the object within the whole, for messages.

    Raises:
        JobError: ``INVALID_JOB`` naming the member that does not fit.
    """
    return _decode_object(cls, data, _Spot(where or cls.__name__))


def _decode_object(cls: Type[T], data: Any, spot: _Spot) -> T:
    if not isinstance(data, dict):
        raise spot.misfit("an object", data)
    tag = getattr(cls, "TAG", None)
    if tag is not None and data.get(_TYPE, tag) != tag:
        raise spot.misfit(f"of the type {tag}", data[_TYPE])
    hints = get_type_hints(cls)
    fields = {item.name: item for item in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(map(str, data)) - set(fields) - ({_TYPE} if tag is not None else set()))
    if unknown:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"{spot.path} has no member called {unknown[0]!r}.",
            f"Use only these: {', '.join(fields)}.",
        )
    values: Dict[str, Any] = {}
    for name, item in fields.items():
        here = spot.of_field(item, hints[name])
        if name in data:
            values[name] = _decode(hints[name], data[name], here)
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise here.missing(name)
    return cls(**values)


def _decode(kind: Any, value: Any, spot: _Spot) -> Any:
    origin = get_origin(kind)
    if kind is Any:
        return value
    if origin is Union:
        return _decode_union(kind, value, spot)
    if origin in (tuple, list, dict):
        return _decode_container(origin, get_args(kind), value, spot)
    if dataclasses.is_dataclass(kind):
        return _decode_object(kind, value, spot)  # type: ignore[arg-type]
    return _decode_plain(kind, value, spot)


def _decode_union(kind: Any, value: Any, spot: _Spot) -> Any:
    choices = [choice for choice in get_args(kind) if choice is not type(None)]
    if value is None and len(choices) < len(get_args(kind)):
        return None
    if len(choices) == 1:
        return _decode(choices[0], value, spot)
    return _decode_object(_tagged(choices, value, spot), value, spot)


def _tagged(choices: Sequence[Any], value: Any, spot: _Spot) -> Any:
    """Return the dataclass that the member ``type`` of ``value`` names."""
    tags = {choice.TAG: choice for choice in choices}
    tag = value.get(_TYPE) if isinstance(value, dict) else None
    if not isinstance(tag, str) or tag not in tags:
        raise spot.misfit(f"an object with the member type, one of {', '.join(tags)}", value)
    return tags[tag]


def _decode_container(origin: Any, kinds: Any, value: Any, spot: _Spot) -> Any:
    if origin is dict:
        if not isinstance(value, dict):
            raise spot.misfit("an object", value)
        return {
            str(key): _decode(kinds[1], item, spot.below(f".{key}")) for key, item in value.items()
        }
    if not isinstance(value, (list, tuple)):
        raise spot.misfit("a list", value)
    if origin is tuple and kinds[-1] is not Ellipsis:
        if len(kinds) != len(value):
            raise spot.misfit(f"a list of {len(kinds)}", value)
        return tuple(
            _decode(kind, item, spot.below(f"[{index}]"))
            for index, (kind, item) in enumerate(zip(kinds, value))
        )
    return origin(
        _decode(kinds[0], item, spot.below(f"[{index}]")) for index, item in enumerate(value)
    )


def _decode_plain(kind: Any, value: Any, spot: _Spot) -> Any:
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError as error:
            choices = ", ".join(str(member.value) for member in kind)
            raise spot.misfit(f"one of {choices}", value) from error
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise spot.misfit("a number", value) from error
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise spot.misfit(type_name(kind), value)
    return value
