"""What a run with prompts reports, and what it refuses."""

from __future__ import annotations

from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .prompted_objects import ObjectPrompts
from .segmentation import PromptedSegmentation


def require_objects(prompts: ObjectPrompts) -> None:
    """Refuse a layer without any object.

    Raises:
        JobError: ``INVALID_JOB`` or ``EXTENT_OUTSIDE``.
    """
    if prompts.objects:
        return
    if prompts.without_positive and not prompts.outside:
        raise JobError(
            ErrorCode.INVALID_JOB,
            "All prompts are negative, so there is nothing to outline.",
            "Add a positive point to each object, or choose another label field.",
        )
    if prompts.outside:
        raise JobError(
            ErrorCode.EXTENT_OUTSIDE,
            "All prompts lie outside of the raster or of the extent.",
            "Check the CRS of the prompt layer, or choose another extent.",
        )
    raise JobError(
        ErrorCode.INVALID_JOB,
        "No feature of the prompt layer has a geometry.",
        "Draw a point on each object that you want outlined.",
    )


def report_left_out(
    prompts: ObjectPrompts, segmentation: PromptedSegmentation, found: int, context: JobContext
) -> None:
    """Warn of prompts and objects that were left out.

    Args:
        prompts: The objects of the layer.
        segmentation: The finished run.
        found: Number of objects with an outline.
        context: Takes the messages.

    Raises:
        JobError: ``TILES_FAILED`` or ``EXTENT_OUTSIDE`` when no prompt lies on readable data.
    """
    if not found and segmentation.unread + segmentation.on_nodata == len(prompts.objects):
        if segmentation.unread:
            failures = sorted(set(segmentation.reader.failures))
            raise JobError(
                ErrorCode.TILES_FAILED,
                "The raster cannot be read where the prompts are.",
                "Repair the file or load it again, then run again.",
                "\n".join(failures),
            )
        raise JobError(
            ErrorCode.EXTENT_OUTSIDE,
            "The raster holds no data under any of the prompts.",
            "Check the CRS of the prompt layer and the raster's nodata value.",
        )
    empty = len(prompts.objects) - found
    empty -= segmentation.on_nodata + segmentation.unread + segmentation.below_score
    counts = {
        "Prompts outside of the raster or of the extent, which are not used": prompts.outside,
        "Features without a geometry, which are not used": prompts.empty,
        "Objects with negative prompts alone, which are left out": prompts.without_positive,
        "Objects with very many points, of which an even choice is used": prompts.thinned,
        "Objects where the raster holds no data, which are left out": segmentation.on_nodata,
        "Objects where the raster cannot be read, which are left out": segmentation.unread,
        "Objects that score less than the minimum score, which are left out": (
            segmentation.below_score
        ),
        "Objects without an outline, as nothing large enough was found at their prompts": empty,
    }
    for text, count in counts.items():
        if count:
            context.warn(f"{text}: {count}.")
