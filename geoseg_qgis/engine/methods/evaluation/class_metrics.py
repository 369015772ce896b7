"""The numbers of an evaluation, for each class and for all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from geoseg_qgis.engine.metrics.area_estimates import estimate_areas
from geoseg_qgis.engine.metrics.boundary import MatchScores, mean_match
from geoseg_qgis.engine.metrics.confusion import (
    ConfusionScores,
    Counts,
    foreground_iou,
    score_confusion,
)

from .class_matching import Matching
from .layer_classes import LayerClasses

REST = "(no class)"


@dataclass(frozen=True)
class ClassRow:
    """The numbers of one class; shares of 1, NaN where nothing was counted.

    Attributes:
        name: Name of the class.
        result_values: Its values in the result.
        reference_values: Its values in the reference.
        result_pixels: Pixels of the result.
        reference_pixels: Pixels of the reference.
        hits: Pixels where both have it.
        iou: Intersection over union.
        precision: Share of the result's pixels that are right.
        recall: Share of the reference's pixels that were found.
        f1: Harmonic mean of the two.
        boundary: Outline pixels.
        objects: Connected areas.
    """

    name: str
    result_values: str
    reference_values: str
    result_pixels: int
    reference_pixels: int
    hits: int
    iou: float
    precision: float
    recall: float
    f1: float
    boundary: MatchScores
    objects: MatchScores


@dataclass(frozen=True)
class ClassArea:
    """Areas of a class, in square metres, or in pixels without a CRS.

    Attributes:
        name: Name of the class.
        mapped: Area that the result gives it.
        corrected: Area corrected for the errors of the result.
        width: Half width of the 95 % interval of the corrected area.
    """

    name: str
    mapped: float
    corrected: float
    width: float


@dataclass(frozen=True)
class Evaluation:
    """A finished comparison.

    Attributes:
        names: Names of result and reference layer.
        layers: The classes that they hold.
        matching: How their classes were matched.
        matrix: Pairs of classes, reference in rows, "no class" first.
        boundary: Outline scores of each class, "no class" first.
        objects: Object scores of each class, "no class" first.
        area: Square metres that were compared, NaN without a CRS.
        left_out: Pixels of the result that were not compared.
        tolerance: Boundary tolerance with its unit.
        mapped: Pixels of each class of the result, with or without a reference, "no class" first.
    """

    names: tuple[str, str]
    layers: tuple[LayerClasses, LayerClasses]
    matching: Matching
    matrix: Counts
    boundary: list[MatchScores]
    objects: list[MatchScores]
    area: float
    left_out: int
    tolerance: str
    mapped: Counts

    @property
    def scores(self) -> ConfusionScores:
        """The scores of the confusion matrix."""
        return score_confusion(self.matrix)

    @property
    def shown(self) -> list[int]:
        """Numbers of the classes that occur, "no class" first where it does."""
        occurs = self.matrix.sum(axis=0) + self.matrix.sum(axis=1) > 0
        return [int(number) for number in np.flatnonzero(occurs)]

    def class_name(self, number: int) -> str:
        """Return the name of a class."""
        return self.matching.classes[number - 1].name if number else REST

    def rows(self) -> list[ClassRow]:
        """Return the numbers of each class that occurs."""
        return [self._row(number) for number in self.shown]

    def numbers(self) -> dict[str, float]:
        """Return the metrics by the names of their outputs; those that are undefined are left out.

        Means run over the classes that occur; outlines and objects have no "no class".
        """
        scores = self.scores
        present = [number for number in self.shown if number]
        boundary = mean_match([self.boundary[number] for number in present])
        objects = mean_match([self.objects[number] for number in present])
        values = {
            "ACCURACY": scores.accuracy,
            "KAPPA": scores.kappa,
            "MEAN_IOU": scores.mean.iou,
            "FOREGROUND_IOU": foreground_iou(self._occurring()),
            "MEAN_PRECISION": scores.mean.precision,
            "MEAN_RECALL": scores.mean.recall,
            "MEAN_F1": scores.mean.f1,
            "BOUNDARY_PRECISION": boundary.precision,
            "BOUNDARY_RECALL": boundary.recall,
            "BOUNDARY_F1": boundary.f1,
            "OBJECT_PRECISION": objects.precision,
            "OBJECT_RECALL": objects.recall,
            "OBJECT_F1": objects.f1,
            "COMPARED_PIXELS": float(self.matrix.sum()),
        }
        return {name: float(value) for name, value in values.items() if math.isfinite(value)}

    def areas(self) -> list[ClassArea]:
        """Return the areas of the classes that occur, corrected for the errors of the map.

        The compared pixels count as a random sample of each class of the result. Empty where a
        class of the result was compared at less than two pixels.
        """
        compared = int(self.matrix.sum())
        if not compared or not self.mapped.sum():
            return []
        found = estimate_areas(self.matrix.T, self.mapped.astype(np.float64))
        pixel = self.area / compared if math.isfinite(self.area) and self.area > 0 else 1.0
        total = float(self.mapped.sum()) * pixel
        areas = [
            ClassArea(
                self.class_name(number),
                float(self.mapped[number]) * pixel,
                float(found.shares[number]) * total,
                float(found.share_widths[number]) * total,
            )
            for number in self.shown
        ]
        known = all(math.isfinite(item.corrected + item.width) for item in areas)
        return areas if known else []

    def _occurring(self) -> Counts:
        kept = sorted({0, *self.shown})
        part: Counts = self.matrix[np.ix_(kept, kept)]
        return part

    def _row(self, number: int) -> ClassRow:
        result, reference = self.layers
        matched = self.matching.classes[number - 1] if number else None
        scores = self.scores.per_class[number]
        counted = bool(number) or bool(self.matrix[0].any())
        return ClassRow(
            self.class_name(number),
            ", ".join(result.label(value) for value in matched.result) if matched else "",
            ", ".join(reference.label(value) for value in matched.reference) if matched else "",
            int(self.matrix[:, number].sum()),
            int(self.matrix[number].sum()),
            int(self.matrix[number, number]),
            *(
                (scores.iou, scores.precision, scores.recall, scores.f1)
                if counted
                else (math.nan,) * 4
            ),
            self.boundary[number],
            self.objects[number],
        )
