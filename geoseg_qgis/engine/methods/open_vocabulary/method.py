"""Methods of open-vocabulary segmentation, each a function that is found beside its card.

A method gives the probability of every class at every pixel of the result; labels, votes of
regions, files and messages are the same for all methods. It takes one Python file and a card of
the same name beside it (``fast.py`` and ``fast.json``, or ``gumix/method.py`` and
``gumix/method.json``; see `protocol.methods` for the members of a card)::

    @register("fast")
    def match(request: MatchRequest, context: JobContext) -> Match: ...

Further folders with methods are named by the variable ``GEOSEG_METHODS``.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Protocol

from torch import Tensor

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.inference.region_map import RegionMap
from geoseg_qgis.engine.models.device import windows_per_batch
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.methods import MethodCard, read_methods
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask

from .background_prompts import BackgroundPrompts
from .probabilities import ProbabilitySource
from .queries import encode_queries

TASK = "open_vocabulary"
MATCHING = "Matching words"
"""Name of the phase in which a method compares pixels with words."""

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class MatchRequest:
    """What a method works on.

    Attributes:
        scene: The raster, its grids and a scratch folder.
        models: The networks of the preset.
        prompts: The words of each class, and those of what competes with them.
        task: The job's own parameters.
        context: Asked for a cancel while words are encoded.
    """

    scene: RasterScene
    models: LoadedPreset
    prompts: BackgroundPrompts
    task: OpenVocabularyTask
    context: JobContext = field(default_factory=JobContext)

    @property
    def text(self) -> Tensor:
        """CLIP's embedding of each query, (Q, E) unit rows; kept in memory with the models."""
        queries = self.prompts.queries.queries
        clip = self.models.clip
        return self.models.keep(
            "text: " + "; ".join(queries),
            lambda: encode_queries(
                clip.module, clip.tokenize, queries, checkpoint=self.context.check_cancelled
            ),
        )

    @property
    def batch(self) -> int:
        """Windows run together; halved by itself when memory does not suffice."""
        return windows_per_batch(self.models.device.device)


@dataclass(frozen=True)
class Match:
    """What a method found.

    Attributes:
        probabilities: Of every class on the grid of the results.
        regions: Regions that get one class each, None to label every pixel by itself.
    """

    probabilities: ProbabilitySource
    regions: RegionMap | None = None


class OpenVocabularyMethod(Protocol):
    """A method of open-vocabulary segmentation."""

    def __call__(self, request: MatchRequest, context: JobContext) -> Match:
        """Return the class probabilities of a raster.

        Args:
            request: The raster, the networks and the words.
            context: Takes the progress from 0 to 1, and messages.

        Raises:
            JobError: Whatever stands in the way, with the next step; ``CANCELLED``.
        """


_registered: dict[str, OpenVocabularyMethod] = {}


def register(name: str) -> Callable[[OpenVocabularyMethod], OpenVocabularyMethod]:
    """Return a decorator that registers a method under the name that its card has."""

    def add(method: OpenVocabularyMethod) -> OpenVocabularyMethod:
        _registered[name] = method
        return method

    return add


def find_method(name: str) -> OpenVocabularyMethod:
    """Return the method with that name, loading its code when it is first asked for.

    Raises:
        JobError: ``INVALID_JOB`` when there is no such method or its code cannot be loaded.
    """
    found = read_methods(TASK)
    cards = [card for card in found.cards if card.name == name]
    if not cards:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"Open-vocabulary segmentation has no method called {name!r}.",
            f"Use one of {', '.join(found.names)}.",
            "\n".join(found.problems),
        )
    try:
        _load(cards[0])
        return _registered[name]
    except Exception as error:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"The code of the method {name} cannot be used: {type(error).__name__}: {error}.",
            f"Correct it beside {cards[0].path}, where it must register {name!r}, or use another "
            "method.",
        ) from error


def _load(card: MethodCard) -> None:
    """Import the file of a method; a file of the package under its own module name."""
    code = card.path.with_suffix(".py")
    if code.is_relative_to(_HERE):
        place = code.relative_to(_HERE).with_suffix("").parts
        importlib.import_module(".".join((__package__, *place)))
    elif _loaded_from(f"geoseg_method_{card.name}") != code:
        _import_file(f"geoseg_method_{card.name}", code)


def _loaded_from(module: str) -> Path | None:
    loaded = sys.modules.get(module)
    return Path(loaded.__file__) if loaded is not None and loaded.__file__ else None


def _import_file(name: str, code: Path) -> ModuleType:
    """Import a file from elsewhere; one in a folder of its own may import its siblings."""
    siblings = [str(code.parent)] if code.stem == "method" else None
    spec = importlib.util.spec_from_file_location(name, code, submodule_search_locations=siblings)
    if spec is None or spec.loader is None:
        raise ImportError(f"{code} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
