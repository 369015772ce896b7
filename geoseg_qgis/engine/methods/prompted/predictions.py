"""What answers prompts, behind one face: read a tile once, then answer the objects on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg_qgis.engine.models.oom_fallback import OutOfMemoryFallback, Work

from .prompted_objects import ObjectPrompt

Item = TypeVar("Item")
Answered = TypeVar("Answered")


@dataclass(frozen=True)
class Answer:
    """What a network says about one object.

    Attributes:
        logits: Cells over the whole tile, shape (h, w), float32; positive on the object.
        score: How sure the network is, 0..1.
        fineness: Cells on a side of one of the network's own; how near a prompt must lie to a part
            of the answer counts in those.
    """

    logits: NDArray[np.float32]
    score: float
    fineness: int = 1


class Predictor(Protocol):
    """A network that answers prompts.

    Attributes:
        tile: Side of its tiles in pixels.
        line_points: Points that a line becomes.
        inner_points: Points that it wants inside of a polygon, beside the box round it.
        takes_negative: Whether it takes points that are not on the object.
        wants_detail: Whether it finds most on the finest pixels that its card allows, not on those
            that the card prefers.
    """

    tile: int
    line_points: int
    inner_points: int
    takes_negative: bool
    wants_detail: bool

    @classmethod
    def check(cls, objects: Sequence[ObjectPrompt]) -> None:
        """Refuse objects that it cannot answer, before anything is computed.

        Raises:
            JobError: ``INVALID_JOB``, naming the method that can.
        """

    def read(self, pixels: NDArray[np.uint8]) -> Any:
        """Read a tile of shape (3, side, side) and return what `answer` takes."""

    def answer(
        self, tile: Any, objects: Sequence[ObjectPrompt]
    ) -> Iterator[tuple[ObjectPrompt, Answer]]:
        """Yield objects, given in pixels of the tile, with their answers, in any order."""


def in_halves(
    items: Sequence[Item], run: Callable[[Sequence[Item]], list[Answered]]
) -> list[Answered]:
    """Run a batch, in halves when memory does not suffice.

    Raises:
        JobError: ``OUT_OF_MEMORY`` when not even one item fits.
    """
    return OutOfMemoryFallback().run(Work(run, "One prompt"), items)
