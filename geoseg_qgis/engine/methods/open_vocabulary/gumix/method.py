"""GUMix-RS as a method: regions of SAM 2, window networks at two scales, one routing for all."""

from __future__ import annotations

from geoseg_qgis.engine.methods.open_vocabulary.method import (
    MATCHING,
    Match,
    MatchRequest,
    register,
)
from geoseg_qgis.engine.methods.open_vocabulary.regions import (
    make_proposer,
    proposed_regions,
    user_regions,
)
from geoseg_qgis.engine.models.automatic_masks import AutomaticMaskSettings
from geoseg_qgis.engine.models.model_cache import out_of_memory_fallback
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .raster_inference import GumixModels, route_raster
from .settings import GumixSettings, ProposalSettings


@register("gumix")
def match(request: MatchRequest, context: JobContext) -> Match:
    """Run GUMix-RS; regions of the user take the place of SAM 2's."""
    scene, models = request.scene, request.models
    settings = gumix_settings(models)
    finding, matching = context.span(0.0, 0.35), context.span(0.35, 0.95)
    regions = user_regions(scene, request.task, finding)
    if regions is None and models.card.sam2 is not None:
        masks = mask_settings(settings.proposals, request.task.points_per_side)
        # No name keeps the proposer, so that its network can be dropped when memory runs out.
        regions = proposed_regions(
            scene, make_proposer(scene, models, masks, settings.scales[-1], finding), finding
        )
    elif regions is None:
        context.warn(
            f"{models.card.title} has no SAM 2, so that every pixel is labelled by itself. Choose "
            "a model with SAM 2 or give regions of your own."
        )
    networks, *copies = (
        GumixModels(
            clip=copy.clip.module,
            dino=copy.dino.module,
            text=request.text.to(copy.device.device),
            class_index=request.prompts.queries.class_index,
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
            "pixel_mean": tuple(255.0 * value for value in clip.mean),
            "pixel_std": tuple(255.0 * value for value in clip.std),
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


def mask_settings(settings: ProposalSettings, points_per_side: int | None) -> AutomaticMaskSettings:
    """Return how GUMix-RS asks SAM 2 for masks: with its own thresholds, the first mask only."""
    return AutomaticMaskSettings(
        points_per_side=points_per_side or settings.points_per_side,
        iou_threshold=settings.predicted_iou_threshold,
        stability_threshold=settings.stability_threshold,
        stability_offset=settings.stability_offset,
        overlap_threshold=settings.box_overlap_threshold,
        three_masks=False,
        at_source=False,
    )
