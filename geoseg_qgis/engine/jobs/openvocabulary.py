"""Open-vocabulary segmentation: classes as text to a class raster, polygons and scores."""

from __future__ import annotations

from dataclasses import replace

from geoseg_qgis.engine.inference.messages import (
    report_pixel_size,
    report_unknown_words,
    report_unreadable,
)
from geoseg_qgis.engine.methods.open_vocabulary.background_prompts import (
    BackgroundPrompts,
    add_background_prompts,
    different_things,
)
from geoseg_qgis.engine.methods.open_vocabulary.labelling import LabellingRules, RasterLabelling
from geoseg_qgis.engine.methods.open_vocabulary.method import (
    MatchRequest,
    OpenVocabularyMethod,
    find_method,
)
from geoseg_qgis.engine.methods.open_vocabulary.objects import ObjectRequest
from geoseg_qgis.engine.models.model_cache import load_models
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import EVERYTHING_ELSE, LegendClass
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask

from .provenance import describe_run
from .results import Labelled, ResultFiles, write_results
from .scene import prepare_scene

REST_COLOR = "#ffffff"


def run(job: Job, context: JobContext) -> Result:
    """Do an ``openvocabulary`` job.

    Raises:
        JobError: Whatever stands in the way, with the next step.
    """
    task: OpenVocabularyTask = job.task
    legend = task.classes
    files = ResultFiles(task.class_raster, task.polygon_file, task.scores)
    files.check()
    match = find_method(job.method)
    context.progress(0.0, "Loading the models")
    models = load_models(job, context)
    _report_unknown_words(models, legend, context)
    _report_commas(legend, context)
    made_for = models.card.pixel_size
    prompts = add_background_prompts([item.synonyms for item in legend], task.rivals)
    with prepare_scene(job, files.folder, made_for, context) as scene:
        report_pixel_size(models.card.title, scene.base, made_for, context)
        request = MatchRequest(scene, models, prompts, task, context)
        separate = task.objects and task.polygon_file is not None
        objects = ObjectRequest(scene, models, task.points_per_side) if separate else None
        if objects is not None and task.regions is None:
            objects.check()
        end = 0.9 if objects is None else 0.7
        labelling = _label(match, request, context.span(0.02, end))
        if objects is not None and task.regions is not None:
            objects = replace(objects, regions=labelling.regions)
        report_unreadable(scene.reader, "stay unclassified", context)
        score_classes = score_legend(legend, prompts)
        return write_results(
            Labelled(
                scene.output,
                labelling.blocks,
                legend,
                score_classes,
                scene.folder,
                objects=objects,
            ),
            files,
            task.polygons,
            describe_run(job, models, scene.base),
            context.span(end, 1.0),
        )


def _label(
    match: OpenVocabularyMethod, request: MatchRequest, context: JobContext
) -> RasterLabelling:
    found = match(request, context.span(0.0, 0.9))
    rules = LabellingRules(
        request.prompts.queries.class_count,
        request.prompts.named,
        request.task.threshold,
        request.task.scores is not None,
    )
    labelling = RasterLabelling(request.scene.folder, request.scene.output, rules)
    span = context.span(0.9, 1.0)
    labelling.label(
        found.probabilities, found.regions, lambda done: span.progress(done, "Labelling")
    )
    return labelling


def score_legend(
    legend: tuple[LegendClass, ...], prompts: BackgroundPrompts
) -> tuple[LegendClass, ...]:
    """Return the classes of the score bands: the named ones, and everything else if it competed."""
    if prompts.queries.class_count == len(legend):
        return legend
    return (*legend, LegendClass(len(legend) + 1, (EVERYTHING_ELSE,), REST_COLOR))


def _report_commas(legend: tuple[LegendClass, ...], context: JobContext) -> None:
    """Ask about a list with commas alone whose words mean different things."""
    words = different_things(legend[0].synonyms) if len(legend) == 1 else []
    if words:
        context.warn(
            f"All words are mapped as one class called {legend[0].name}, because commas separate "
            f"synonyms. Separate classes with semicolons: {'; '.join(words)}."
        )


def _report_unknown_words(
    models: LoadedPreset, legend: tuple[LegendClass, ...], context: JobContext
) -> None:
    vocabulary = models.vocabulary
    if vocabulary is not None:
        synonyms = (synonym for item in legend for synonym in item.synonyms)
        unknown = (word for synonym in synonyms for word in vocabulary.unknown_words(synonym))
        other = "a model with an open vocabulary"
        report_unknown_words(models.card.title, vocabulary, unknown, other, context)
