"""A learnt model on disk: a folder with ``card.json`` and ``weights.safetensors``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import safetensors.torch
from pydantic import Field
from pydantic.dataclasses import dataclass as checked

from geoseg_qgis.engine.files import draft, unwritable
from geoseg_qgis.engine.json_reader import STRICT, ListOf, parse, read_object
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.models.weights import State, file_sha256, read_state
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.source import Raster
from geoseg_qgis.engine.raster.stretch import LinearStretch
from geoseg_qgis.engine.zoo.card import PixelSize
from geoseg_qgis.protocol import PLUGIN_VERSION
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.legend import (
    EVERYTHING_ELSE,
    LegendClass,
    check_classes,
    parse_classes,
)

from .cross_validation import Accuracy
from .features import CLIP, DINO, FeatureExtractor, FeatureRecipe
from .heads import TITLES, Head

KIND = "learnt"
CARD, WEIGHTS = "card.json", "weights.safetensors"
_REST_COLOR = "#ffffff"
# Pixels this much longer show less than what was learnt from; finer ones are averaged.
_COARSEST = 1.5
_FINEST = 1 / 16
_MANY_BYTES = 512 * 1024 * 1024


@checked(frozen=True, config=STRICT)
class ClassEntry:
    """A class of a card."""

    name: str
    color: str


@checked(frozen=True, config=STRICT)
class Imagery:
    """What a model was learnt from.

    Attributes:
        bands: One-based numbers of the bands used as red, green and blue.
        dtype: Type of the values.
        limits: Contrast stretch, values that became 0 and 255 in each band.
        pixel_size: Metres per pixel that features were made at, None without a CRS.
    """

    bands: ListOf[int]
    dtype: str
    limits: ListOf[ListOf[float]]
    pixel_size: Annotated[float, Field(gt=0.0)] | None = None


@checked(frozen=True, config=STRICT)
class Recipe:
    """How features are made, see `FeatureRecipe`, and by which model."""

    model: str
    networks: ListOf[str]
    sha256: dict[str, str]
    window: Annotated[int, Field(ge=32, le=4096)]
    stride: Annotated[int, Field(ge=16, le=4096)]
    dino_scale: Annotated[int, Field(ge=1, le=8)]
    clip_scale: Annotated[int, Field(ge=1, le=8)]
    components: Annotated[int, Field(ge=1, le=4096)]
    sigmas: ListOf[float]


@checked(frozen=True, config=STRICT)
class HeadEntry:
    """Kind and calibration of the classifier."""

    kind: str
    temperature: Annotated[float, Field(gt=0.0)]


@checked(frozen=True, config=STRICT)
class LearntCard:
    """The card of a learnt model.

    Attributes:
        kind: ``learnt``.
        version: Of this form.
        name: Name to show.
        classes: In the order of their numbers; the last may be everything else.
        imagery: See `Imagery`.
        features: See `Recipe`.
        head: See `HeadEntry`.
        weights: SHA-256 of the weights.
        labels: SHA-256 of the labels, and how many of them each class had.
        accuracy: Of held-back places.
        software: What made it.
        date: When it was made.
    """

    kind: str
    version: int
    name: str
    classes: ListOf[ClassEntry]
    imagery: Imagery
    features: Recipe
    head: HeadEntry
    weights: str
    labels: dict[str, Any]
    accuracy: dict[str, Any]
    software: str = ""
    date: str = ""


@dataclass(frozen=True)
class LearntModel:
    """A learnt model that was read from its folder.

    Attributes:
        card: Its card.
        state: Its tensors.
    """

    card: LearntCard
    state: State = field(repr=False)

    @property
    def score_legend(self) -> tuple[LegendClass, ...]:
        """All classes, everything else included."""
        return tuple(
            LegendClass(number, (item.name,), item.color)
            for number, item in enumerate(self.card.classes, start=1)
        )

    @property
    def legend(self) -> tuple[LegendClass, ...]:
        """The named classes."""
        return tuple(item for item in self.score_legend if item.name != EVERYTHING_ELSE)

    @property
    def made_for(self) -> PixelSize | None:
        """The pixel size that it reads, None for any."""
        size = self.card.imagery.pixel_size
        return None if size is None else PixelSize(size, size * _FINEST, size * _COARSEST)

    def head(self) -> Head:
        """Return the classifier."""
        entry = self.card.head
        return Head.load(entry.kind, self.state, entry.temperature)

    def extractor(self, models: LoadedPreset) -> FeatureExtractor:
        """Return what makes its features.

        Raises:
            JobError: ``MODEL_INVALID`` when the networks are others than those it was learnt with.
        """
        recipe = self.card.features
        for network, digest in recipe.sha256.items():
            if network_digest(models, network) != digest:
                raise JobError(
                    ErrorCode.MODEL_INVALID,
                    f"The model {models.card.name} has other weights than when {self.card.name} "
                    "was learnt with its features.",
                    "Learn the model again from its labels.",
                )
        extractor = FeatureExtractor(
            models,
            FeatureRecipe(
                recipe.networks, recipe.window, recipe.stride, recipe.dino_scale,
                recipe.clip_scale, recipe.components, recipe.sigmas,
            ),
        )  # fmt: skip
        extractor.load(self.state)
        return extractor

    def check_imagery(self, raster: Raster, grid: Grid) -> None:
        """Refuse imagery of other bands, values or pixels.

        Args:
            raster: Opened with the bands to use.
            grid: Grid of its pixels that features are made at.

        Raises:
            JobError: ``MODEL_INVALID`` or ``RESOLUTION_UNUSABLE``.
        """
        made = self.card.imagery
        bands = tuple(raster.bands)
        if bands != made.bands:
            raise JobError(
                ErrorCode.MODEL_INVALID,
                f"{self.card.name} was learnt from the bands {_listed(made.bands)}, and here the "
                f"bands {_listed(bands)} are chosen.",
                "Choose the same bands, or learn a model from this imagery.",
            )
        if raster.dtype != made.dtype:
            raise JobError(
                ErrorCode.MODEL_INVALID,
                f"{self.card.name} was learnt from {made.dtype} values, and {raster.name} holds "
                f"{raster.dtype} values.",
                "Choose imagery of the same kind, or learn a model from this imagery.",
            )
        size = grid.ground_pixel_size()
        if size is None or made.pixel_size is None:
            return
        ratio = max(size) / made.pixel_size
        if ratio > _COARSEST:
            raise JobError(
                ErrorCode.RESOLUTION_UNUSABLE,
                f"{self.card.name} was learnt at {made.pixel_size:.3g} m per pixel, and this "
                f"imagery has {max(size):.3g} m.",
                "Choose finer imagery or resolution, or learn a model from this imagery.",
            )


def _listed(bands: tuple[int, ...]) -> str:
    return ", ".join(map(str, bands))


def make_legend(names: tuple[str, ...]) -> tuple[LegendClass, ...]:
    """Return the classes with colours, those of the words where they are known.

    Raises:
        JobError: ``INVALID_CLASSES`` for names that are alike or too long.
    """
    clean = [" ".join(name.translate(str.maketrans(";,=\n", "    ")).split()) for name in names]
    named = [name for name in clean if name != EVERYTHING_ELSE]
    legend = parse_classes("; ".join(name or "(no name)" for name in named))
    if len(named) < len(clean):
        legend = (*legend, LegendClass(len(clean), (EVERYTHING_ELSE,), _REST_COLOR))
    return legend


def network_digest(models: LoadedPreset, network: str) -> str:
    """Return the SHA-256 digests of a network's files."""
    files = models.card.weights_of(network)
    return " ".join(file_sha256(models.preset.path(one.file)) for one in files)


def imagery_of(raster: Raster, stretch: LinearStretch, grid: Grid) -> Imagery:
    """Return the facts about imagery that a model is learnt from."""
    size = grid.ground_pixel_size()
    limits = tuple(tuple(float(value) for value in pair) for pair in stretch.limits)
    return Imagery(
        tuple(int(band) for band in raster.bands), raster.dtype, limits,
        None if size is None else float(max(size)),
    )  # fmt: skip


def write_learnt(  # noqa: PLR0917
    folder: Path,
    extractor: FeatureExtractor,
    head: Head,
    legend: tuple[LegendClass, ...],
    imagery: Imagery,
    labels: Mapping[str, Any],
    accuracy: Accuracy,
    model: str,
) -> None:
    """Write a learnt model; its card is written last, so that a model without one is unfinished.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CARD).unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    state = {**extractor.state(), **head.state()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with draft(folder / WEIGHTS) as unfinished:
        safetensors.torch.save_file(tensors, unfinished)
    recipe = extractor.recipe
    card = {
        "kind": KIND,
        "version": 1,
        "name": folder.name,
        "classes": [{"name": item.name, "color": item.color} for item in legend],
        "imagery": asdict(imagery),
        "features": {
            "model": model,
            "sha256": {name: network_digest(extractor.models, name) for name in recipe.networks},
            **recipe.to_json(),
        },
        "head": {"kind": head.kind, "temperature": round(head.temperature, 6)},
        "weights": file_sha256(folder / WEIGHTS),
        "labels": dict(labels),
        "accuracy": _accuracy_entry(accuracy),
        "software": f"GeoSeg for QGIS {PLUGIN_VERSION}",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
    with draft(folder / CARD) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _accuracy_entry(accuracy: Accuracy) -> dict[str, Any]:
    def plain(value: float) -> float | None:
        return round(float(value), 4) if math.isfinite(value) else None

    def interval(one: Any) -> list[float | None]:
        return [plain(one.value), plain(one.low), plain(one.high)]

    return {
        "how": "spatially blocked cross-validation; value, and the ends of the 95 % interval",
        "mean_iou": interval(accuracy.mean_iou),
        "overall": interval(accuracy.overall),
        "iou": dict(zip(accuracy.names, map(interval, accuracy.iou), strict=True)),
        "f1": dict(zip(accuracy.names, map(interval, accuracy.f1), strict=True)),
        "matrix": [[round(float(value), 3) for value in row] for row in accuracy.matrix],
        "heads": {kind: plain(value) for kind, value in accuracy.mean_ious.items()},
    }


def is_learnt(folder: Path) -> bool:
    """Return whether a folder holds a learnt model or nothing that would be lost."""
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    known = {path.name for path in folder.iterdir()}
    if CARD in known:
        try:
            return bool(read_object(folder / CARD).get("kind") == KIND)
        except JobError:
            return False
    return known <= {WEIGHTS}


def read_learnt(folder: Path) -> LearntModel:
    """Return the learnt model of a folder.

    Raises:
        JobError: ``MODEL_MISSING`` without a card, ``MODEL_INVALID`` for a card or weights that do
            not fit.
    """
    if folder.name == CARD:
        folder = folder.parent
    if not (folder / CARD).is_file():
        raise JobError(
            ErrorCode.MODEL_MISSING,
            f"The folder {folder} holds no learnt model.",
            "Choose the folder that Learn from labels has written.",
        )
    data = read_object(folder / CARD)
    if data.get("kind") != KIND:
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"The model in {folder} was not learnt from labels.",
            "Choose the folder that Learn from labels has written.",
        )
    card = parse(LearntCard, data, str(folder / CARD))
    path = folder / WEIGHTS
    known = set(card.features.networks) <= {DINO, CLIP} and card.head.kind in TITLES
    if card.version != 1 or not known:
        raise _damaged(folder, "was made by another version of GeoSeg")
    if not path.is_file() or path.stat().st_size > _MANY_BYTES or file_sha256(path) != card.weights:
        raise _damaged(folder, "has no weights that fit its card")
    model = LearntModel(card, read_state(path))
    check_classes(model.score_legend)
    try:
        head = model.head()
        head.logits(head.mean[None])
    except (KeyError, ValueError, RuntimeError, IndexError) as error:
        raise _damaged(folder, "has no weights that fit its card", str(error)) from error
    return model


def _damaged(folder: Path, what: str, detail: str = "") -> JobError:
    return JobError(
        ErrorCode.MODEL_INVALID,
        f"The learnt model in {folder} {what}.",
        "Learn the model again from its labels.",
        detail,
    )
