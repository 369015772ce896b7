"""Points and boxes inside an instruction: written for the network, read as it reads them.

Numbers are fractions of the image's width and height, x before y. The network sees them twice: as
words of the instruction and, parsed, as a tensor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

MAX_POINTS = 3

_NUMBER = r"([\d.]+)"
_BOX = re.compile(rf"x0,y0=\[{_NUMBER},{_NUMBER}\],\s*x1,y1=\[{_NUMBER},{_NUMBER}\]")
_POINT = re.compile(rf"\[{_NUMBER},{_NUMBER}\]")


def parse_coordinates(instruction: str) -> Tensor | None:
    """Read a box, or one to three points, from an instruction.

    Returns:
        (1, 4) float32 for a box, (n, 2) for points, None when there are none or more than three.
    """
    box = _BOX.search(instruction)
    if box:
        return _as_tensor([box.groups()])
    points = _POINT.findall(instruction)
    return _as_tensor(points) if 1 <= len(points) <= MAX_POINTS else None


def _as_tensor(rows: Sequence[Sequence[str]]) -> Tensor | None:
    try:
        return torch.tensor([[float(text) for text in row] for row in rows], dtype=torch.float32)
    except ValueError:
        return None


def replace_points(
    instruction: str, replaced: Callable[[float, float], tuple[float, float]]
) -> str:
    """Write other fractions (x, y) in the place of all that `parse_coordinates` reads."""
    if parse_coordinates(instruction) is None:
        return instruction

    def write(match: re.Match[str]) -> str:
        x, y = replaced(float(match[1]), float(match[2]))
        return f"[{_written(x)},{_written(y)}]"

    return _POINT.sub(write, instruction)


def describe_points(points: Sequence[tuple[float, float]]) -> str:
    """Word an instruction for one to three points given as fractions (x, y).

    Raises:
        ValueError: No point, or more than three, which the network cannot read.
    """
    if not 1 <= len(points) <= MAX_POINTS:
        raise ValueError(f"The network reads 1 to {MAX_POINTS} points, not {len(points)}.")
    written = [f"[{_written(x)},{_written(y)}]" for x, y in points]
    if len(written) == 1:
        return f"Please segment the target at the point {written[0]}."
    return f"Please segment the targets at the points {', '.join(written[:-1])} and {written[-1]}."


def describe_box(x0: float, y0: float, x1: float, y1: float) -> str:
    """Word an instruction for a box given by fractions of its two corners."""
    first = f"[{_written(x0)},{_written(y0)}]"
    second = f"[{_written(x1)},{_written(y1)}]"
    return f"Please segment the target inside the box x0,y0={first}, x1,y1={second}."


def _written(fraction: float) -> str:
    """Write a fraction with at most three decimals, clipped to the image."""
    clipped = min(max(fraction, 0.0), 1.0)
    return f"{clipped:.3f}".rstrip("0").rstrip(".")
