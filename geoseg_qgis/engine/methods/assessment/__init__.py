"""SegAssess on arrays: quality maps, objects, missed objects, repairs and summaries."""

from .geometry import ObjectOptions
from .missed import MissedRegions, missed_regions
from .object_quality import ObjectAccumulator, ObjectQuality, ObjectStatus, Scores
from .quality import (
    QualityClass,
    Variant,
    apply_variant,
    class_masks,
    confidence,
    constrain,
    contradiction,
    object_probability,
    quality_raster,
    repaired_mask,
)
from .ranking import fix_priority, fix_rank
from .summary import Estimate, LayerAccumulator, LayerSummary
from .views import View, ViewResult, assess_views, average_views, plan_views, stack_views

__all__ = [
    "Estimate",
    "LayerAccumulator",
    "LayerSummary",
    "MissedRegions",
    "ObjectAccumulator",
    "ObjectOptions",
    "ObjectQuality",
    "ObjectStatus",
    "QualityClass",
    "Scores",
    "Variant",
    "View",
    "ViewResult",
    "apply_variant",
    "assess_views",
    "average_views",
    "class_masks",
    "confidence",
    "constrain",
    "contradiction",
    "fix_priority",
    "fix_rank",
    "missed_regions",
    "object_probability",
    "plan_views",
    "quality_raster",
    "repaired_mask",
    "stack_views",
]
