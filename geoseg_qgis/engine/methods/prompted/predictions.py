"""The interface of promptable networks: encode a tile once, then predict its objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg_qgis.engine.models.oom_fallback import OutOfMemoryFallback, Work

from .prompted_objects import ObjectPrompt

Item = TypeVar("Item")
Output = TypeVar("Output")


@dataclass(frozen=True)
class Prediction:
    """The prediction for one object.

    Attributes:
        logits: Cells over the whole tile, shape (h, w), float32; positive on the object.
        score: How far the network trusts it, 0..1.
        zoom: Cells along the side of one of the network's own cells; distances of prompts from
            the mask are measured in the latter.
    """

    logits: NDArray[np.float32]
    score: float
    zoom: int = 1


class Predictor(Protocol):
    """A network that segments objects by prompts.

    Attributes:
        tile: Side of its tiles in pixels.
        line_points: Points that a line becomes.
        inner_points: Points inside of a polygon that are added to its bounding box.
        takes_negative: Whether it takes points that are not on the object.
        finest_pixels: Whether it reads the finest pixels that its card allows, where it finds
            most, or those that the card prefers.
    """

    tile: int
    line_points: int
    inner_points: int
    takes_negative: bool
    finest_pixels: bool

    @classmethod
    def check(cls, objects: Sequence[ObjectPrompt]) -> None:
        """Refuse objects that it cannot segment, before anything is computed.

        Raises:
            JobError: ``INVALID_JOB``, naming the method that can.
        """

    def encode(self, pixels: NDArray[np.uint8]) -> Any:
        """Encode a tile of shape (3, side, side) and return what `predict` takes."""

    def predict(
        self, tile: Any, objects: Sequence[ObjectPrompt]
    ) -> Iterator[tuple[ObjectPrompt, Prediction]]:
        """Yield objects, given in pixels of the tile, with their predictions, in any order."""


def in_halves(items: Sequence[Item], run: Callable[[Sequence[Item]], list[Output]]) -> list[Output]:
    """Run a batch, in halves when memory runs out.

    Raises:
        JobError: ``OUT_OF_MEMORY`` when not even one item fits.
    """
    return OutOfMemoryFallback().run(Work(run, "One prompt"), items)
