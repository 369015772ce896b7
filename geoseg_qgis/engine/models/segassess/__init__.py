"""SegAssess network: quality map of any binary mask, without ground truth."""

from .configuration import SegAssessConfiguration
from .loading import (
    build_segassess,
    load_segassess,
    read_metadata,
    save_segassess,
    start_from_segment_anything,
)
from .model import SegAssess, SegAssessOutput

__all__ = [
    "SegAssess",
    "SegAssessConfiguration",
    "SegAssessOutput",
    "build_segassess",
    "load_segassess",
    "read_metadata",
    "save_segassess",
    "start_from_segment_anything",
]
