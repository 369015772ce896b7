"""Learn classes from the user's own labels: a model of these classes, and its accuracy."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.inference.messages import report_pixel_size, report_unreadable
from geoseg_qgis.engine.methods.learning.cross_validation import Chosen, cross_validate
from geoseg_qgis.engine.methods.learning.features import (
    FeatureExtractor,
    FeatureRecipe,
    available_networks,
)
from geoseg_qgis.engine.methods.learning.heads import TITLES, fit_head
from geoseg_qgis.engine.methods.learning.labels import Labels, read_labels
from geoseg_qgis.engine.methods.learning.learnt_preset import (
    imagery_of,
    is_learnt,
    make_legend,
    write_learnt,
)
from geoseg_qgis.engine.methods.learning.samples import sample_features
from geoseg_qgis.engine.models.model_cache import load_models
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.source import open_raster
from geoseg_qgis.engine.raster.stretch import measure_stretch
from geoseg_qgis.engine.reports.learning import LearningFacts, write_report
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.tasks.learn import LearnTask

from .destinations import check_destinations
from .provenance import describe_run
from .scene import prepare_scene

FEATURE_METHOD = "fast"
"""Method whose networks are those that features are made with."""
_FEW_PLACES = 5


def run(job: Job, context: JobContext) -> Result:
    """Do a ``learn`` job.

    Raises:
        JobError: Whatever stands in the way, with the next step.
    """
    task: LearnTask = job.task
    folder = _check_files(job)
    context.progress(0.0, "Loading the models")
    models = load_models(replace(job, method=FEATURE_METHOD), context)
    made_for = models.card.pixel_size
    with prepare_scene(job, folder, made_for, context) as scene:
        report_pixel_size(models.card.title, scene.base, made_for, context)
        reading = context.span(0.01, 0.05)
        labels = read_labels(
            task.labels, task.class_field, task.area, scene.base, task.seed,
            lambda done: reading.progress(done, "Reading labels"),
        )  # fmt: skip
        legend = make_legend(labels.names)
        labels = replace(labels, names=tuple(item.name for item in legend))
        extractor = FeatureExtractor(models, FeatureRecipe(networks=available_networks(models)))
        span = context.span(0.05, 0.6)
        labels, samples = sample_features(
            scene, labels, extractor, task.seed, lambda done: span.progress(done, "Features")
        )
        report_unreadable(scene.reader, "are not learnt from", context)
        _require_classes(labels)
        _report_labels(labels, context)
        testing, fitting = context.span(0.6, 0.92), context.span(0.92, 0.98)
        deep = extractor.deep_count
        chosen = cross_validate(
            labels, samples, deep, task.seed, lambda done: testing.progress(done, "Testing")
        )
        _report_accuracy(chosen, context)
        head = fit_head(
            chosen.kind, samples, labels.classes, len(labels.names), deep, task.seed,
            lambda done: fitting.progress(done, "Learning"),
        )  # fmt: skip
        head = replace(head, temperature=chosen.temperature)
        context.progress(0.98, "Writing the model")
        provenance = describe_run(job, models, scene.base)
        if task.model_folder is not None:
            with open_raster(job.raster) as raster:
                stretch = measure_stretch(raster, scene.output, job.raster.stretch)
                imagery = imagery_of(raster, stretch, scene.base)
            write_learnt(
                Path(task.model_folder), extractor, head, legend, imagery,
                _label_facts(labels), chosen.accuracy, job.model or models.card.name,
            )  # fmt: skip
        if task.report is not None:
            facts = LearningFacts(
                job.raster.name or job.raster.uri, labels, chosen, legend,
                _block_metres(scene, chosen), tuple(context.warnings), provenance,
            )  # fmt: skip
            write_report(task.report, facts)
        context.progress(1.0, "Writing the model")
    return Result(
        job.outputs,
        _numbers(labels, chosen),
        (),
        tuple(context.warnings),
        provenance,
    )


def _check_files(job: Job) -> Path:
    """Refuse files that cannot be written; return the folder for scratch files."""
    task: LearnTask = job.task
    files = {name: path for name, path in job.outputs.items() if name != "MODEL_FOLDER"}
    folder = task.model_folder
    if files or folder is None:
        check_destinations(files, "Give a folder for the learnt model, or a file for the report.")
    if folder is not None:
        place = Path(folder).resolve()
        if not is_learnt(place):
            raise JobError(
                ErrorCode.OUTPUT_UNWRITABLE,
                f"{folder} exists and is no learnt model.",
                "Choose a new folder, or that of a learnt model to replace.",
            )
        if not os.access(place if place.exists() else place.parent, os.W_OK):
            raise JobError(
                ErrorCode.OUTPUT_UNWRITABLE,
                f"The folder {place.parent} does not exist or may not be written.",
                "Choose another folder for the learnt model.",
            )
    named = files.get("REPORT") or folder or ""
    return Path(named).resolve().parent


def _require_classes(labels: Labels) -> None:
    counts = labels.counts()
    present = [name for name, (places, _) in zip(labels.names, counts, strict=True) if places]
    if len(present) < len(labels.names):
        missing = [name for name in labels.names if name not in present]
        raise JobError(
            ErrorCode.INVALID_CLASSES,
            f"All labels of {', '.join(missing)} lie where the imagery has no data.",
            "Label places with data, or remove these classes.",
        )


def _report_labels(labels: Labels, context: JobContext) -> None:
    for note in labels.notes:
        context.warn(note)
    counts = dict(zip(labels.names, labels.counts(), strict=True))
    for name, (places, pixels) in counts.items():
        context.info(f"{name}: {places:,} places, {pixels:,} pixels")
    single = [name for name, (places, _) in counts.items() if places == 1]
    few = [name for name, (places, _) in counts.items() if 1 < places < _FEW_PLACES]
    if single:
        context.warn(
            f"Classes with a single place: {', '.join(single)}. None of it can be held back, so "
            "their accuracy is unknown. Label more places of them."
        )
    if few:
        context.warn(
            f"Classes with fewer than {_FEW_PLACES} places: {', '.join(few)}. Their accuracy is "
            "uncertain. Label more places of them."
        )


def _report_accuracy(chosen: Chosen, context: JobContext) -> None:
    accuracy = chosen.accuracy
    tried = ", ".join(f"{TITLES[kind]} {value:.3f}" for kind, value in accuracy.mean_ious.items())
    context.info(f"Mean IoU on held-back places: {tried}. {TITLES[chosen.kind]} is used.")
    for name, iou, f1 in zip(accuracy.names, accuracy.iou, accuracy.f1, strict=True):
        context.info(
            f"{name}: IoU {iou.value:.3f} ({iou.low:.3f} to {iou.high:.3f}), F1 {f1.value:.3f}"
        )


def _label_facts(labels: Labels) -> dict[str, object]:
    counts = zip(labels.names, labels.counts(), strict=True)
    return {
        "sha256": labels.digest,
        "places": {name: places for name, (places, _) in counts},
        "pixels": len(labels),
    }


def _block_metres(scene: RasterScene, chosen: Chosen) -> str:
    side = chosen.accuracy.side
    if not side:
        return "each place by itself, as the labels lie too close together for blocks"
    size = scene.base.ground_pixel_size()
    return f"blocks of {side:.0f} pixels" if size is None else f"blocks of {side * max(size):.3g} m"


def _numbers(labels: Labels, chosen: Chosen) -> dict[str, float]:
    accuracy = chosen.accuracy
    values = {
        "MEAN_IOU": accuracy.mean_iou.value,
        "MEAN_IOU_LOW": accuracy.mean_iou.low,
        "MEAN_IOU_HIGH": accuracy.mean_iou.high,
        "ACCURACY": accuracy.overall.value,
        "CLASS_COUNT": float(len(labels.names)),
        "PLACE_COUNT": float(sum(places for places, _ in labels.counts())),
        "PIXEL_COUNT": float(len(labels)),
    }
    return {name: value for name, value in values.items() if math.isfinite(value)}
