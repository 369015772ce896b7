"""Reading pickled plain data without running any code.

Some published data sets keep their expressions in a pickle file. The standard reader would run
whatever such a file asks for; this one knows numbers, text, lists, tuples and dictionaries only.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any

_MARK = object()
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
_STORES = {"PUT", "BINPUT", "LONG_BINPUT"}
_LOADS = {"GET", "BINGET", "LONG_BINGET"}
_IGNORED = {"PROTO", "FRAME", "STOP"}


class PlainPickleError(ValueError):
    """The file holds more than plain data, or is damaged."""


class _Machine:
    """The stack on which a pickle builds its value."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}
        self.actions: dict[str, Callable[[], object]] = {
            "MARK": lambda: self.stack.append(_MARK),
            "POP": lambda: self._drop(1),
            "DUP": lambda: self.stack.append(self.stack[-1]),
            "MEMOIZE": lambda: self.memory.__setitem__(len(self.memory), self.stack[-1]),
            "EMPTY_LIST": lambda: self.stack.append([]),
            "EMPTY_DICT": lambda: self.stack.append({}),
            "EMPTY_TUPLE": lambda: self.stack.append(()),
            "LIST": lambda: self.stack.append(self._since_mark()),
            "TUPLE": lambda: self.stack.append(tuple(self._since_mark())),
            "DICT": lambda: self.stack.append(_paired(self._since_mark())),
            "TUPLE1": lambda: self.stack.append(tuple(self._drop(1))),
            "TUPLE2": lambda: self.stack.append(tuple(self._drop(2))),
            "TUPLE3": lambda: self.stack.append(tuple(self._drop(3))),
            "APPEND": lambda: self._extend(self._drop(1)),
            "APPENDS": lambda: self._extend(self._since_mark()),
            "SETITEM": lambda: self._update(self._drop(2)),
            "SETITEMS": lambda: self._update(self._since_mark()),
        }

    def run(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _VALUES:
            self.stack.append(argument)
        elif name in _STORES:
            self.memory[int(argument)] = self.stack[-1]
        elif name in _LOADS:
            self.stack.append(self.memory[int(argument)])
        elif name in self.actions:
            self.actions[name]()
        elif name not in _IGNORED:
            raise PlainPickleError(f"The file asks for {name}, which is more than plain data.")

    def _drop(self, count: int) -> list[Any]:
        dropped = self.stack[-count:]
        del self.stack[-count:]
        return dropped

    def _since_mark(self) -> list[Any]:
        start = max(index for index, value in enumerate(self.stack) if value is _MARK)
        members = self.stack[start + 1 :]
        del self.stack[start:]
        return members

    def _extend(self, members: list[Any]) -> None:
        self.stack[-1].extend(members)

    def _update(self, members: list[Any]) -> None:
        self.stack[-1].update(_paired(members))


def read_plain_pickle(content: bytes) -> Any:
    """Rebuild the plain data of a pickle.

    Raises:
        PlainPickleError: The content is damaged or holds anything but plain data.
    """
    machine = _Machine()
    try:
        for instruction, argument, _ in pickletools.genops(content):
            machine.run(instruction.name, argument)
        (value,) = machine.stack
    except (ValueError, IndexError, KeyError, AttributeError, TypeError) as error:
        if isinstance(error, PlainPickleError):
            raise
        raise PlainPickleError("The file is damaged.") from error
    return value


def _paired(members: list[Any]) -> dict[Any, Any]:
    return dict(zip(members[::2], members[1::2], strict=True))
