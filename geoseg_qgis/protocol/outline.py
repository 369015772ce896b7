"""The request ``outline``: a place and its prompts in, the outline of one object out.

Besides jobs this is the one request that answers while somebody waits with the mouse in the hand.
Coordinates travel in the message, pixels never do. ``prepare`` has the same parameters without
prompts: it loads the model and encodes the place, so that the next outline comes at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

from .codec import from_json, to_json
from .errors import ErrorCode, JobError
from .parameters import Choice
from .source import RasterSource

MOST_PROMPTS = 256
MOST_CORNERS = 4096

Coordinates = Tuple[float, float]
Ring = Tuple[Coordinates, ...]


class PromptKind(Choice):
    """What was drawn."""

    POINT = "point", "a place on the object, or beside it"
    BOX = "box", "a rectangle around the object, given by its corners"
    POLYGON = "polygon", "a rough outline around the object, given by its corners"


_FEWEST_CORNERS = {PromptKind.POINT: 1, PromptKind.BOX: 4, PromptKind.POLYGON: 3}


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    Attributes:
        kind: What was drawn.
        corners: One place for a point; the corners of a box, which may be turned, or of a polygon.
            In the CRS of the raster.
        on_object: False for what does not belong to the object.
    """

    kind: PromptKind
    corners: Ring
    on_object: bool = True

    def checked(self) -> Prompt:
        """Return itself.

        Raises:
            JobError: ``INVALID_JOB`` for too few or too many corners, or places without a number.
        """
        count = len(self.corners)
        if not _FEWEST_CORNERS[self.kind] <= count <= MOST_CORNERS:
            raise _invalid(f"A {self.kind.value} has {count} corners.")
        if not all(math.isfinite(value) for corner in self.corners for value in corner):
            raise _invalid(f"A {self.kind.value} has a coordinate that is not a number.")
        return self


@dataclass(frozen=True)
class Place:
    """Where the user looks.

    Attributes:
        source: The raster.
        x: In the CRS of the raster.
        y: In the CRS of the raster.
        pixel_size: Map units in a pixel of the screen, in the CRS of the raster; coarser views
            are read in coarser pixels. 0 reads the raster's own.
    """

    source: RasterSource
    x: float
    y: float
    pixel_size: float = 0.0


@dataclass(frozen=True)
class OutlineRequest:
    """What is asked for.

    Attributes:
        place: Where; None prepares the model alone.
        prompts: In the order in which they were given; none for ``prepare``.
        model: Preset name or folder; empty for the default of the method.
        device: As in a job.
        simplify: Tolerance of simplification in pixels of the result.
    """

    place: Optional[Place] = None
    prompts: Tuple[Prompt, ...] = ()
    model: str = ""
    device: str = "auto"
    simplify: float = 1.0

    def checked(self) -> OutlineRequest:
        """Return itself.

        Raises:
            JobError: ``INVALID_JOB`` naming what cannot be.
        """
        if len(self.prompts) > MOST_PROMPTS:
            raise _invalid(f"There are {len(self.prompts)} prompts; {MOST_PROMPTS} are the most.")
        if self.prompts and self.place is None:
            raise _invalid("There are prompts without a place.")
        numbers = [self.simplify]
        if self.place is not None:
            self.place.source.checked()
            self.place.source.stretch.checked()
            numbers += [self.place.x, self.place.y, self.place.pixel_size]
        if not all(math.isfinite(number) for number in numbers):
            raise _invalid("A coordinate of the place is not a number.")
        if not 0 <= self.simplify <= 1000 or (self.place and self.place.pixel_size < 0):
            raise _invalid("The tolerance or the pixel size is out of range.")
        for prompt in self.prompts:
            prompt.checked()
        return self

    def to_json(self) -> Dict[str, Any]:
        """Return the parameters of the request."""
        data: Dict[str, Any] = to_json(self)
        return data

    @classmethod
    def from_json(cls, data: Dict[str, Any]) -> OutlineRequest:
        """Return the request that parameters describe.

        Raises:
            JobError: ``INVALID_JOB`` naming the member that does not fit.
        """
        return from_json(cls, data, "outline").checked()


@dataclass(frozen=True)
class Outline:
    """The response.

    Attributes:
        polygons: Polygons of the object in the CRS of the raster, each a tuple of closed rings,
            the outer one first; none when nothing was found or for ``prepare``.
        score: How far the model trusts the outline, 0..1.
        share: Share of the tile that the object covers, 0..1.
        model: Name of the preset.
        pixel_size: Map units of a pixel that the model read, along a row.
        bounds: xmin, ymin, xmax, ymax of the raster as the engine places it; None without a place.
        was_encoded: Whether the place had been encoded before.
    """

    polygons: Tuple[Tuple[Ring, ...], ...] = ()
    score: float = 0.0
    share: float = 0.0
    model: str = ""
    pixel_size: float = 0.0
    bounds: Optional[Tuple[float, float, float, float]] = None
    was_encoded: bool = False

    def to_json(self) -> Dict[str, Any]:
        """Return the JSON form."""
        data: Dict[str, Any] = to_json(self)
        return data

    @classmethod
    def from_json(cls, data: Dict[str, Any]) -> Outline:
        """Return the outline that a response describes.

        Raises:
            JobError: ``INVALID_JOB`` naming the member that does not fit.
        """
        return from_json(cls, data, "outline")


def superseded() -> JobError:
    """Return the error of a request that a newer one replaced."""
    return JobError(
        ErrorCode.SUPERSEDED,
        "A newer request replaced this one.",
        "Wait for the response to the newer one.",
    )


def _invalid(message: str) -> JobError:
    return JobError(ErrorCode.INVALID_JOB, message, "Correct the request.")
