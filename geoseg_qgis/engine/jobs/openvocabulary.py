"""Open-vocabulary segmentation: classes as text to a class raster, polygons and scores."""

from __future__ import annotations

from geoseg_qgis.engine.inference.chips import ChipReader, RasterScene
from geoseg_qgis.engine.methods.open_vocabulary.background_prompts import (
    BackgroundPrompts,
    add_background_prompts,
)
from geoseg_qgis.engine.methods.open_vocabulary.labelling import LabellingRules, RasterLabelling
from geoseg_qgis.engine.methods.open_vocabulary.matching import (
    MatchRequest,
    match_fast,
    match_gumix,
    match_selection,
)
from geoseg_qgis.engine.models.model_cache import warm_models
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.grid import Grid, model_grid, output_grid
from geoseg_qgis.engine.raster.scratch import ScratchFolder
from geoseg_qgis.engine.raster.source import Raster, open_raster
from geoseg_qgis.engine.raster.stretch import measure_stretch
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import EVERYTHING_ELSE, LegendClass, parse_classes
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.tasks import OpenVocabularyTask

from .provenance import describe_run
from .results import Labelled, ResultFiles, write_results

MATCHERS = {"gumix": match_gumix, "mask_selection": match_selection, "fast": match_fast}
REST_COLOR = "#ffffff"


def run(job: Job, context: JobContext) -> Result:
    """Do an ``openvocabulary`` job.

    Raises:
        JobError: Whatever stands in the way, with the next step.
    """
    task = _task(job)
    legend = parse_classes(task.classes)
    files = ResultFiles(task.class_raster, task.polygon_file, task.scores)
    files.check()
    with open_raster(job.raster) as raster:
        output = output_grid(raster.grid, job.grid)
        context.progress(0.0, "Loading the models")
        models = warm_models(job, context)
        _tell_unknown_words(models, legend, context)
        contest = add_background_prompts([item.synonyms for item in legend], task.rivals)
        with ScratchFolder(files.folder) as folder:
            scene = RasterScene(
                ChipReader(raster, measure_stretch(raster, output, job.raster.stretch)),
                output,
                _network_grid(raster, output, models, context),
                folder,
            )
            request = MatchRequest(scene, models, contest, task)
            labelling = _label(job.method, request, context.span(0.02, 0.9))
            _report_failures(scene.reader, context)
            return write_results(
                Labelled(output, labelling.blocks, legend, score_legend(legend, contest), folder),
                files,
                task.polygons,
                describe_run(job, models, scene.base),
                context.span(0.9, 1.0),
            )


def _task(job: Job) -> OpenVocabularyTask:
    if not isinstance(job.task, OpenVocabularyTask):
        raise JobError(
            ErrorCode.INVALID_JOB,
            "The job's task is not one of open-vocabulary segmentation.",
            "Write the members of an openvocabulary task.",
        )
    if job.method not in MATCHERS:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"Open-vocabulary segmentation has no method called {job.method!r}.",
            f"Use one of {', '.join(MATCHERS)}.",
        )
    return job.task


def _label(method: str, request: MatchRequest, context: JobContext) -> RasterLabelling:
    match = MATCHERS[method](request, context.span(0.0, 0.9))
    rules = LabellingRules(
        request.contest.queries.class_count,
        request.contest.named,
        request.task.threshold,
        request.task.scores is not None,
    )
    labelling = RasterLabelling(request.scene.folder, request.scene.output, rules)
    span = context.span(0.9, 1.0)
    labelling.label(
        match.probabilities, match.regions, lambda done: span.progress(done, "Labelling")
    )
    return labelling


def score_legend(
    legend: tuple[LegendClass, ...], contest: BackgroundPrompts
) -> tuple[LegendClass, ...]:
    """Return the classes of the score bands: the named ones, and everything else if it competed."""
    if contest.queries.class_count == len(legend):
        return legend
    return (*legend, LegendClass(len(legend) + 1, (EVERYTHING_ELSE,), REST_COLOR))


def _network_grid(raster: Raster, output: Grid, models: LoadedPreset, context: JobContext) -> Grid:
    liked = models.card.pixel_size
    base = model_grid(output, raster.grid, liked.preferred if liked else None)
    size = base.ground_pixel_size()
    if size is not None:
        context.info(f"{models.card.title} reads the image at {max(size):.3g} m per pixel.")
    if size is not None and liked is not None and max(size) > liked.coarsest:
        context.warn(
            f"The image has {max(size):.3g} m per pixel, but {models.card.title} was made for "
            f"{liked.finest:g} to {liked.coarsest:g} m. Expect poor results, or choose another "
            "model."
        )
    return base


def _tell_unknown_words(
    models: LoadedPreset, legend: tuple[LegendClass, ...], context: JobContext
) -> None:
    vocabulary = models.vocabulary
    if vocabulary is None:
        return
    unknown = [
        word
        for item in legend
        for synonym in item.synonyms
        for word in vocabulary.unknown_words(synonym)
    ]
    if unknown:
        similar = {word for item in unknown for word in vocabulary.similar_words(item)}
        advice = f" such as {', '.join(sorted(similar))}" if similar else ""
        context.warn(
            f"{models.card.title} does not know {', '.join(sorted(set(unknown)))}: what it maps "
            f"there is a guess. Use other words{advice}, or a model with an open vocabulary."
        )


def _report_failures(reader: ChipReader, context: JobContext) -> None:
    failures = sorted(set(reader.failures))
    if failures:
        context.warn(
            f"{len(failures)} places of the raster could not be read and stay unclassified: "
            f"{failures[0]} Repair the file, then run again."
        )
