"""The SegAssess component of a preset, as its card writes it.

The card's ``segassess`` object::

    {"weights": {"file": "best.pkl", "layout": "segassess", "size": 1, "sha256": "..."},
     "configuration": "published",
     "tile": 512,
     "objects": ["building"]}

``weights`` (required)
    One file: a published ``best.pkl`` as it is, or safetensors, also with int8 rows and their
    scales. The layout is always ``segassess``.
``configuration`` (optional)
    ``"published"`` for the ViT-B network of the paper, or an object with the members of
    `SegAssessConfiguration` that differ from it. Without it the sizes stored in a safetensors
    file count, else those that follow from the shapes of the weights.
``tile`` (optional, 512)
    Side of the tiles that the network was trained on, in pixels, a multiple of its patch. The
    CrowdAI checkpoint, trained on 300 pixels, uses 288 of them: write 288.
``objects`` (optional)
    What the training masks showed, in plain words.

The pixel size of its training is the card's own ``pixel_size``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass

from geoseg_qgis.engine.json_reader import STRICT, ListOf, Members, Size, Text, invalid, parse
from geoseg_qgis.engine.models.weights import read_state
from geoseg_qgis.engine.zoo.card import OtherComponent, WeightsFile
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .configuration import SegAssessConfiguration
from .loading import build_segassess, stored_configuration
from .model import SegAssess

LAYOUT = "segassess"
PUBLISHED = "published"
DEFAULT_TILE = 512
_WHERE = "card.segassess"


def _named(value: Any) -> Any:
    if isinstance(value, str) and value != PUBLISHED:
        raise ValueError(f"must be {PUBLISHED!r} or an object, not {value[:60]!r}")
    return {} if value == PUBLISHED else value


@checked_dataclass(frozen=True, config=STRICT)
class SegAssessSettings(Members):
    """What a card says about its SegAssess network besides the file.

    Attributes:
        configuration: Sizes of the network; None when they follow from the file.
        tile: Side of a tile, in pixels.
        objects: What the training masks showed.
    """

    configuration: Annotated[SegAssessConfiguration, BeforeValidator(_named)] | None = None
    tile: Size = DEFAULT_TILE
    objects: ListOf[Text] = ()

    @model_validator(mode="after")
    def _whole_patches(self) -> SegAssessSettings:
        patch = (self.configuration or SegAssessConfiguration()).patch
        if self.tile % patch or self.tile < 4 * patch:
            raise ValueError(
                f"has tile {self.tile}, which must be a multiple of {patch} from {4 * patch}"
            )
        return self


@dataclass(frozen=True)
class SegAssessModel:
    """A SegAssess network on its device.

    Attributes:
        module: The network in eval mode, its weights float32.
        settings: See `SegAssessSettings`.
        device: Device of the module.
        dtype: Number format of its products; the edge branch stays float32.
    """

    module: SegAssess
    settings: SegAssessSettings
    device: torch.device
    dtype: torch.dtype

    @property
    def patch(self) -> int:
        """Side of a patch, in pixels."""
        return self.module.configuration.patch

    @property
    def half_patch(self) -> int:
        """Half a patch, the offset of shifted views."""
        return self.patch // 2

    def precision(self) -> torch.autocast:
        """Return the context in which the network computes in its number format."""
        return torch.autocast(
            self.device.type, dtype=self.dtype, enabled=self.dtype is not torch.float32
        )


def parse_segassess(component: OtherComponent) -> tuple[WeightsFile, SegAssessSettings]:
    """Return the file and the settings of a card's ``segassess`` object.

    Raises:
        JobError: ``MODEL_INVALID`` naming the member that does not fit.
    """
    if len(component.weights) != 1:
        raise invalid(f"{_WHERE}.weights", "must be one file")
    weights = component.weights[0]
    if weights.layout != LAYOUT:
        raise invalid(f"{_WHERE}.weights.layout", f"must be {LAYOUT}, not {weights.layout!r}")
    return weights, parse(SegAssessSettings, component.settings, _WHERE)


def load_component(
    component: OtherComponent, folder: Path, device: torch.device, dtype: torch.dtype
) -> SegAssessModel:
    """Load the network of a card.

    Args:
        component: The card's ``segassess`` object.
        folder: Folder that its file is relative to.
        device: Where to compute.
        dtype: Number format; the weights are kept as float32.

    Raises:
        JobError: ``MODEL_MISSING`` or ``MODEL_INVALID``.
    """
    weights, settings = parse_segassess(component)
    path = folder / weights.file
    configuration = settings.configuration or stored_configuration(path)
    module = build_segassess(read_state(path, weights), configuration, weights.file)
    if settings.tile % module.configuration.patch:
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"Tiles of {settings.tile} pixels do not consist of whole patches of "
            f"{module.configuration.patch}.",
            "Correct the model's card.",
        )
    module.eval().requires_grad_(requires_grad=False)
    return SegAssessModel(module.to(device), settings, device, dtype)
