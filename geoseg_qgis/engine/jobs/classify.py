"""Classify imagery with a learnt model: class raster, polygons, scores and uncertainty."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from geoseg_qgis.engine.inference.messages import report_unreadable
from geoseg_qgis.engine.methods.learning.classification import classify, with_uncertainty
from geoseg_qgis.engine.methods.learning.learnt_preset import LearntModel, read_learnt
from geoseg_qgis.engine.methods.open_vocabulary.labelling import LabellingRules, RasterLabelling
from geoseg_qgis.engine.methods.open_vocabulary.regions import user_regions
from geoseg_qgis.engine.models.model_cache import load_models
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.source import open_raster
from geoseg_qgis.engine.raster.write import ScoresWriter
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import LegendClass
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.source import Stretch, StretchKind
from geoseg_qgis.protocol.tasks.classify import ClassifyTask
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask

from .destinations import check_destinations
from .learn import FEATURE_METHOD
from .provenance import describe_run
from .results import Labelled, ResultFiles, write_results
from .scene import prepare_scene

UNCERTAINTY = (LegendClass(1, ("uncertainty",), "#000000"),)


def run(job: Job, context: JobContext) -> Result:
    """Do a ``classify`` job.

    Raises:
        JobError: Whatever stands in the way, with the next step.
    """
    task: ClassifyTask = job.task
    check_destinations(
        job.outputs,
        "Give a file for the class raster, the polygons, the scores or the uncertainty.",
    )
    folder = Path(next(iter(job.outputs.values()))).resolve().parent
    files = ResultFiles(task.class_raster, task.polygon_file, task.scores)
    context.progress(0.0, "Loading the models")
    learnt = read_learnt(Path(task.learnt))
    named = tuple(item.name for item in learnt.legend)
    options = task.polygons.for_classes(named)
    prepared = _as_learnt(job, learnt)
    models = load_models(prepared, context)
    with prepare_scene(prepared, folder, learnt.made_for, context) as scene:
        with open_raster(prepared.raster) as raster:
            learnt.check_imagery(raster, scene.base)
        wanted = OpenVocabularyTask(learnt.legend, regions=task.regions)
        regions = user_regions(scene, wanted, context.span(0.01, 0.03))
        span = context.span(0.03, 0.8)
        probabilities = classify(
            scene, learnt, models, context, lambda done: span.progress(done, "Classifying")
        )
        report_unreadable(scene.reader, "stay unclassified", context)
        rules = LabellingRules(
            len(learnt.score_legend), len(named), task.threshold,
            keep_scores=task.scores is not None or task.uncertainty is not None,
        )  # fmt: skip
        labelling = RasterLabelling(scene.folder, scene.output, rules)
        voting = context.span(0.8, 0.9)
        labelling.label(probabilities, regions, lambda done: voting.progress(done, "Labelling"))
        provenance = {
            **describe_run(job, models, scene.base),
            "method": "classify",
            "model": learnt.card.name,
            "features": models.card.name,
            "learnt_sha256": learnt.card.weights,
        }
        with ExitStack() as stack:
            read = labelling.blocks
            if task.uncertainty is not None:
                writer = stack.enter_context(
                    ScoresWriter(task.uncertainty, scene.output, UNCERTAINTY, provenance)
                )
                read = partial(with_uncertainty, labelling.blocks, writer)
            labelled = Labelled(
                scene.output, read, learnt.legend, learnt.score_legend, scene.folder
            )
            result = write_results(labelled, files, options, provenance, context.span(0.9, 1.0))
    return replace(result, files=job.outputs)


def _as_learnt(job: Job, learnt: LearntModel) -> Job:
    """Return the job with the features, the bands and the stretch of the learnt model."""
    imagery = learnt.card.imagery
    limits = tuple((low, high) for low, high in imagery.limits)
    source = replace(
        job.raster,
        bands=job.raster.bands or imagery.bands,
        stretch=Stretch(StretchKind.LAYER, limits),
    )
    return replace(job, source=source, method=FEATURE_METHOD, model=learnt.card.features.model)
