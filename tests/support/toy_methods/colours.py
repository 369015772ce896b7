"""Colours by name: every pixel takes the class whose colour it is closest to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from rasterio.windows import Window
from torch import Tensor

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.methods.open_vocabulary.method import Match, MatchRequest, register
from geoseg_qgis.engine.methods.open_vocabulary.probabilities import class_probabilities
from geoseg_qgis.engine.progress import JobContext

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}
GREY = (128, 128, 128)


class NearestColour:
    """Class probabilities of a raster, computed when they are read.

    Args:
        scene: The raster and the grid of the results.
        words: The words of all classes, and those of what competes with them.
        class_index: Class of each word.
    """

    def __init__(
        self, scene: RasterScene, words: Sequence[str], class_index: Sequence[int]
    ) -> None:
        self.scene = scene
        self.class_index = class_index
        self.colours = torch.tensor([COLOURS.get(word, GREY) for word in words])

    def read(self, window: Window) -> tuple[Tensor, Tensor]:
        """Return (C, h, w) probabilities and (h, w) bool, False where the raster has no data."""
        chip = self.scene.reader.read(self.scene.output, window)
        if chip is None:
            shape = (int(window.height), int(window.width))
            return torch.zeros(max(self.class_index) + 1, *shape), torch.zeros(shape).bool()
        difference = torch.from_numpy(chip.pixels) - self.colours[:, :, None, None]
        closeness = -difference.abs().sum(dim=1) / 255
        probabilities = class_probabilities(closeness, self.class_index, logit_scale=10.0)
        return probabilities, torch.from_numpy(chip.valid)


@register("colours")
def match(request: MatchRequest, context: JobContext) -> Match:
    """Compare the pixels with the colours that the classes are named after."""
    queries = request.prompts.queries
    context.info(f"Comparing with {', '.join(queries.queries)}.")
    return Match(NearestColour(request.scene, queries.queries, queries.class_index))
