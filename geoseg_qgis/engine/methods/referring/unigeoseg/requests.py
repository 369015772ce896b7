"""Instructions, points and boxes, checked and put into the network's words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from geoseg_qgis.engine.models.unigeoseg.coordinates import (
    MAX_POINTS,
    describe_box,
    describe_points,
    parse_coordinates,
)
from geoseg_qgis.engine.models.unigeoseg.sequence import Request
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.template import (
    Tokenizer,
    clean_instruction,
    encode_instruction,
)
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .letterbox import Letterbox

TaskChoice = Literal["auto", "referring", "reasoning"]


def instruction_request(text: str, tokenizer: Tokenizer, task: TaskChoice = "auto") -> Request:
    """Return the request for an instruction in words.

    Args:
        text: The instruction; coordinates inside it are fractions of the image.
        tokenizer: The checkpoint's tokenizer.
        task: See `choose_task`.

    Raises:
        JobError: The instruction is empty, or the task is unknown.
    """
    cleaned = clean_instruction(text)
    if not cleaned:
        raise JobError(
            ErrorCode.INVALID_JOB,
            "The instruction is empty.",
            "Write what to map, for example: the white plane next to the runway.",
        )
    chosen = choose_task(cleaned, task)
    return Request(
        encode_instruction(cleaned, tokenizer),
        chosen,
        parse_coordinates(cleaned) if chosen is Task.INTERACTIVE else None,
    )


def choose_task(instruction: str, task: TaskChoice = "auto") -> Task:
    """Return the task of the network that an instruction belongs to.

    The published data sets keep the task of a sample beside its text, so the text alone does not
    define it. ``auto`` reads coordinates, in the form in which the network was taught them, as
    interactive, a question mark at the end as reasoning, and everything else as referring.

    Args:
        instruction: The words.
        task: ``auto``, or the task itself.

    Raises:
        JobError: The task is unknown.
    """
    if task == "referring":
        return Task.REFERRING
    if task == "reasoning":
        return Task.REASONING
    if task != "auto":
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"There is no task called {task!r}.",
            "Use auto, referring or reasoning.",
        )
    if parse_coordinates(instruction) is not None:
        return Task.INTERACTIVE
    return Task.REASONING if instruction.rstrip().endswith("?") else Task.REFERRING


def points_request(
    points: Sequence[tuple[float, float]],
    height: int,
    width: int,
    tokenizer: Tokenizer,
    square: Letterbox | None = None,
) -> Request:
    """Return the request for the object under one to three points.

    Args:
        points: Columns and rows (x, y) in pixels of the image, 0 at the outer corner.
        height: Rows of the image.
        width: Columns of the image.
        tokenizer: The checkpoint's tokenizer.
        square: Where the image lies in the square that coordinates are fractions of; without it
            they are fractions of the image.

    Raises:
        JobError: No point, more than three, or one outside of the image.
    """
    if not 1 <= len(points) <= MAX_POINTS:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"UniGeoSeg reads one to {MAX_POINTS} points an object, not {len(points)}.",
            "Use fewer points for the object, a box, or the method SAM 2.",
        )
    for x, y in points:
        if not (0 <= x <= width and 0 <= y <= height):
            raise JobError(
                ErrorCode.EXTENT_OUTSIDE,
                f"The point ({x:g}, {y:g}) lies outside the tile of {width} x {height} pixels.",
                "Move the point onto the raster, or enlarge the extent.",
            )
    text = describe_points([_fractions(point, height, width, square) for point in points])
    return _interactive(text, tokenizer)


def box_request(
    box: tuple[float, float, float, float],
    height: int,
    width: int,
    tokenizer: Tokenizer,
    square: Letterbox | None = None,
) -> Request:
    """Return the request for the object in a box, which is clipped to the image.

    Args:
        box: Least column, least row, greatest column, greatest row in pixels of the image.
        height: Rows of the image.
        width: Columns of the image.
        tokenizer: The checkpoint's tokenizer.
        square: See `points_request`.

    Raises:
        JobError: The box has no area inside the image.
    """
    x0, y0, x1, y1 = box
    left, right = max(min(x0, x1), 0.0), min(max(x0, x1), width)
    top, bottom = max(min(y0, y1), 0.0), min(max(y0, y1), height)
    if not (all(map(math.isfinite, box)) and left < right and top < bottom):
        raise JobError(
            ErrorCode.EXTENT_OUTSIDE,
            "The box has no area inside the tile.",
            "Draw the box over the raster, or enlarge the extent.",
        )
    corners = (left, top), (right, bottom)
    first, last = (_fractions(corner, height, width, square) for corner in corners)
    return _interactive(describe_box(*first, *last), tokenizer)


def _fractions(
    point: tuple[float, float], height: int, width: int, square: Letterbox | None
) -> tuple[float, float]:
    x, y = point
    return (x / width, y / height) if square is None else square.fractions_of(x, y)


def _interactive(text: str, tokenizer: Tokenizer) -> Request:
    return Request(encode_instruction(text, tokenizer), Task.INTERACTIVE, parse_coordinates(text))
