"""Checks of whole jobs: every number, text and list in them has a limit."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Callable, Optional, TypeVar, get_type_hints

from .errors import ErrorCode, JobError
from .parameters import Members, parameter_of, shown

T = TypeVar("T")
LONGEST_TEXT = 1_000_000
"""Characters; a virtual raster may be given as its whole XML. A line on the wire holds 8 MiB."""
MOST_ITEMS = 100_000


def checked(value: T, path: Members = (), name: str = "The job") -> T:
    """Check everything in a dataclass and return it in its normal form.

    A dataclass that has more to check than the limits of its parameters does so in a method
    ``checked``, which returns the dataclass or a corrected copy.

    Args:
        value: The dataclass, or a plain value in it.
        path: Members that lead to it in a `Job`.
        name: How messages name it.

    Raises:
        JobError: ``INVALID_JOB``, or what a method ``checked`` raises.
    """
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        _check_plain(value, path, name)
        return value
    hints = get_type_hints(type(value))
    changes = {}
    for item in dataclasses.fields(value):
        member, here = getattr(value, item.name), (*path, item.name)
        found = parameter_of(item, hints[item.name], here)
        if found is not None:
            found.check(member)
        label = f"{name}: {item.name}" if found is None else found.label
        better = checked(member, here, label)
        if better is not member:
            changes[item.name] = better
    if changes:
        value = dataclasses.replace(value, **changes)
    own: Optional[Callable[[], T]] = getattr(value, "checked", None)
    return value if own is None else own()


def _check_plain(value: Any, path: Members, name: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise _outside(f"{name} must be finite; it is {shown(value)}.", "Give a number.", path)
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise _outside(
            f"{name} has {len(value):,} characters.", f"Use at most {LONGEST_TEXT:,}.", path
        )
    if isinstance(value, str) and "\0" in value:
        # Neither file names nor the libraries that read them take it.
        raise _outside(f"{name} holds a null character.", "Type the text again.", path)
    if isinstance(value, (tuple, list, dict)):
        if len(value) > MOST_ITEMS:
            raise _outside(
                f"{name} has {len(value):,} entries.", f"Use at most {MOST_ITEMS:,}.", path
            )
        for item in value.values() if isinstance(value, dict) else value:
            checked(item, path, name)


def _outside(message: str, hint: str, path: Members) -> JobError:
    return JobError(ErrorCode.INVALID_JOB, message, hint, ".".join(("Job", *path)))
