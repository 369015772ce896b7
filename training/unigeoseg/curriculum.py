"""The built-in network's course of training: maps first, then requests, then places."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from geoseg_qgis.engine.models.unigeoseg.sequence import Piece
from training.trainer import Losses, Trainer

from .alignment import align_places
from .batches import Batch
from .training_step import TrainedNetwork, head_losses, map_losses, step_losses

MAPS_UNTIL = 0.08
"""Progress up to which only the maps learn, without any request."""
ALIGN_AT = 0.5
"""Progress at which the places of queries and of the fine map are tied together."""
_ALIGNING_BATCHES = 60
_ALIGNING_REQUESTS = 32


class Curriculum:
    """The losses of one step after another.

    The trainer's facts keep how far the curriculum is, so that a run which is given more minutes
    continues where it was.

    Args:
        trainer: Knows how far the run is.
        network: The network with its heads.
        draw: Draws batches, see `SceneBatches.draw`.
        pieces: The split dialogue.
        images: Images a batch.
        requests: Requests an image.
    """

    def __init__(
        self,
        trainer: Trainer,
        network: TrainedNetwork,
        draw: Callable[..., Batch],
        pieces: Sequence[Piece],
        *,
        images: int,
        requests: int,
    ) -> None:
        self._trainer = trainer
        self._network = network
        self._draw = draw
        self._pieces = pieces
        self._images = images
        self._requests = requests
        self._facts = trainer.facts
        self._facts.setdefault("progress", 0.0)
        self._facts.setdefault("aligned", trainer.step > 0)

    def __call__(self, step: int) -> Losses:
        """Return the losses of a step, named; ``total`` is to be minimised."""
        progress = self._facts["progress"] = max(self._facts["progress"], self._trainer.progress)
        if not self._facts["aligned"] and progress >= ALIGN_AT:
            self._align()
        if progress < MAPS_UNTIL:
            return map_losses(self._network, self._draw(2 * self._images, 1, progress=0.0))
        requested = (progress - MAPS_UNTIL) / (1 - MAPS_UNTIL)
        batch = self._draw(self._images, self._requests, progress=requested)
        if step < self._facts.get("heads_until", 0):
            return head_losses(self._network, batch, self._pieces)
        return step_losses(self._network, batch, self._pieces)

    def _align(self) -> None:
        self._facts["aligned"] = True
        batches = (
            self._draw(1, _ALIGNING_REQUESTS, progress=1.0) for _ in range(_ALIGNING_BATCHES)
        )
        align_places(self._network.model, batches, self._pieces)
        self._trainer.group.share_weights(self._network)
