"""The methods of open-vocabulary segmentation, each giving class probabilities of a raster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from rasterio.windows import Window
from torch import Tensor

from geoseg_qgis.engine.inference.blending import (
    DeviceNetwork,
    WindowNetwork,
    WindowPlan,
    match_scales,
    scale_surfaces,
)
from geoseg_qgis.engine.inference.chips import Chip, RasterScene
from geoseg_qgis.engine.inference.region_map import RegionMap
from geoseg_qgis.engine.models.automatic_masks import AutomaticMaskSettings
from geoseg_qgis.engine.models.device import windows_per_batch
from geoseg_qgis.engine.models.model_cache import out_of_memory_fallback
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.progress import JobContext, Progress
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.tasks import OpenVocabularyTask

from .background_prompts import BackgroundPrompts
from .fast import FastSettings, window_logits
from .gumix.raster_inference import GumixModels, route_raster
from .gumix.settings import GumixSettings
from .labelling import ProbabilitySource
from .mask_selection import SelectionSettings
from .mask_selection_raster import select_over_raster
from .probabilities import SampledProbabilities
from .queries import encode_queries
from .regions import gumix_masks, make_proposer, proposed_regions, user_regions

if TYPE_CHECKING:
    from geoseg_qgis.engine.models.clip import ClipModel

MATCHING = "Matching words"

# Looser than SAM 2's own thresholds, which drop most things seen from above.
SELECTION_MASKS = AutomaticMaskSettings(
    points_per_side=20, iou_threshold=0.7, stability_threshold=0.85, at_source=False
)


@dataclass(frozen=True)
class Match:
    """What a method found.

    Attributes:
        probabilities: Of every class on the output grid.
        regions: Regions that are labelled as wholes, or None.
    """

    probabilities: ProbabilitySource
    regions: RegionMap | None


@dataclass(frozen=True)
class MatchRequest:
    """What a method works on.

    Attributes:
        scene: Raster, grids, scratch folder.
        models: The preset's networks.
        contest: The texts.
        task: The job's own parameters.
    """

    scene: RasterScene
    models: LoadedPreset
    contest: BackgroundPrompts
    task: OpenVocabularyTask

    @property
    def text(self) -> Tensor:
        """Text embedding of each query, (Q, E) unit rows; kept warm with the models."""
        queries = self.contest.queries.queries
        clip = self.models.clip
        return self.models.keep(
            "text: " + "; ".join(queries),
            lambda: encode_queries(clip.module, clip.tokenize, queries),
        )

    @property
    def batch(self) -> int:
        """Windows run together; halved by itself when memory does not suffice."""
        return windows_per_batch(self.models.device.device)


def match_gumix(request: MatchRequest, context: JobContext) -> Match:
    """Run GUMix-RS: regions, two scales, routing."""
    scene, models = request.scene, request.models
    settings = gumix_settings(models)
    finding, matching = context.span(0.0, 0.35), context.span(0.35, 0.95)
    regions = user_regions(scene, request.task, finding)
    if regions is None and models.card.sam2 is not None:
        masks = gumix_masks(settings.proposals, request.task.points_per_side)
        # No name keeps the proposer, so that its network can be dropped when memory runs out.
        regions = proposed_regions(
            scene, make_proposer(scene, models, masks, settings.scales[-1], finding), finding
        )
    elif regions is None:
        context.warn(f"{models.card.title} has no SAM 2: every pixel speaks for itself.")
    networks, *copies = (
        GumixModels(
            clip=copy.clip.module,
            dino=copy.dino.module,
            text=request.text.to(copy.device.device),
            class_index=request.contest.queries.class_index,
            settings=settings,
            device=copy.device.device,
            batch=request.batch,
            fallback=out_of_memory_fallback(copy, context, "clip", "dino"),
        )
        for copy in models.copies
    )
    weighing = context.span(0.95, 1.0)
    probabilities = route_raster(
        scene,
        networks,
        regions,
        lambda done: matching.progress(done, MATCHING),
        lambda done: weighing.progress(done, "Weighing the scales"),
        copies=copies,
    )
    return Match(probabilities, regions)


def gumix_settings(models: LoadedPreset) -> GumixSettings:
    """Return the settings for rasters with the preset's own constants and normalisation.

    Raises:
        JobError: ``MODEL_INVALID`` when the card's settings make no sense.
    """
    clip, dino = models.card.clip, models.card.dino
    normalisation: dict[str, object] = {}
    if clip is not None and dino is not None:
        normalisation = {
            "clip_mean": clip.mean,
            "clip_std": clip.std,
            "pixel_mean": _in_grey_levels(clip.mean),
            "pixel_std": _in_grey_levels(clip.std),
            "dino_mean": dino.mean,
            "dino_std": dino.std,
        }
    try:
        settings = GumixSettings.geo().with_overrides({**normalisation, **models.card.gumix})
        settings.spatial_blocks(models.clip.layers)
    except ValueError as error:
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"The card of {models.card.name} has settings that GUMix-RS cannot work with.",
            "Correct the member gumix of its card.json.",
            str(error),
        ) from error
    return settings


def match_fast(request: MatchRequest, context: JobContext) -> Match:
    """Run dense CLIP alone; regions only if the user gave some."""
    regions = user_regions(request.scene, request.task, context.span(0.0, 0.1))
    span = context.span(0.1, 1.0)
    settings = dense_settings(request.models)
    probabilities = _dense(request, settings, lambda done: span.progress(done, MATCHING), context)
    return Match(probabilities, regions)


def match_selection(request: MatchRequest, context: JobContext) -> Match:
    """Run dense CLIP, then let SAM 2's masks carry what dominates inside them."""
    scene, models = request.scene, request.models
    matching, selecting = context.span(0.0, 0.4), context.span(0.4, 1.0)
    settings = dense_settings(models)
    if models.card.clip is not None:
        settings = replace(settings, scales=models.card.clip.scales)
    dense = _dense(request, settings, lambda done: matching.progress(done, MATCHING), context)
    regions = user_regions(scene, request.task, matching)
    if regions is not None:
        return Match(dense, regions)
    masks = SELECTION_MASKS
    if request.task.points_per_side is not None:
        masks = replace(masks, points_per_side=request.task.points_per_side)
    proposer = make_proposer(scene, models, masks, 1.0, selecting)
    contest = request.contest
    selection = SelectionSettings()
    if contest.named == 1:
        selection = SelectionSettings(uncovered="background", background_index=1)
    probabilities = select_over_raster(
        scene,
        proposer,
        dense,
        classes=contest.queries.class_count,
        settings=selection,
        progress=lambda done: selecting.progress(done, "Selecting masks"),
    )
    return Match(probabilities, None)


def _dense(
    request: MatchRequest, settings: FastSettings, progress: Progress, context: JobContext
) -> SampledProbabilities:
    scene, clip = request.scene, request.models.clip
    networks = [
        DeviceNetwork(
            _dense_network(copy.clip, request.text.to(copy.device.device), settings),
            out_of_memory_fallback(copy, context, "clip"),
        )
        for copy in request.models.copies
    ]
    side = -(-settings.window // clip.patch_size) * clip.patch_size
    plan = WindowPlan(side, settings.stride, request.batch, clip.patch_size)
    surfaces = scale_surfaces(scene, "dense", settings.scales, len(request.text))
    match_scales(scene.reader, surfaces, lambda _: networks, plan, progress)
    index = request.contest.queries.class_index
    return SampledProbabilities(scene, surfaces, index, settings.logit_scale)


def dense_settings(models: LoadedPreset) -> FastSettings:
    """Return the settings of dense CLIP with the preset's own normalisation."""
    mean, std = (values.flatten().tolist() for values in (models.clip.mean, models.clip.std))
    return FastSettings(pixel_mean=_in_grey_levels(mean), pixel_std=_in_grey_levels(std))


def _dense_network(clip: ClipModel, text: Tensor, settings: FastSettings) -> WindowNetwork:
    def network(pictures: list[Chip], _windows: list[Window]) -> Tensor:
        images = [item.normalised(settings.pixel_mean, settings.pixel_std) for item in pictures]
        batch = torch.stack(images).to(clip.device)
        return window_logits(clip.module, batch, text, settings)

    return network


def _in_grey_levels(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(255.0 * value for value in values)
