"""Training of SegAssess: targets, loss, mask sources, data sets and the run."""

from .corruption import CorruptedTruth
from .losses import LossOptions, SegAssessLosses, segassess_losses
from .sampling import AssessBatch, FrozenNetwork, MaskSource, mixed_batch
from .targets import object_boundary, quality_target
from .trainer import SegAssessTrainer, TrainingOptions, train_step, validate

__all__ = [
    "AssessBatch",
    "CorruptedTruth",
    "FrozenNetwork",
    "LossOptions",
    "MaskSource",
    "SegAssessLosses",
    "SegAssessTrainer",
    "TrainingOptions",
    "mixed_batch",
    "object_boundary",
    "quality_target",
    "segassess_losses",
    "train_step",
    "validate",
]
