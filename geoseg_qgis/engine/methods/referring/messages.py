"""What the user is told about a run of an instruction: words, view, pixel size, failures."""

from __future__ import annotations

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.inference.messages import report_pixel_size, report_unknown_words
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.zoo.registry import catalogue

from .unigeoseg.comparing import Compared, Comparison
from .unigeoseg.raster_inference import ONE_LOOK, RasterPrediction
from .unigeoseg.view_choice import View

TASK_NAMES = {
    Task.REFERRING: "referring",
    Task.REASONING: "reasoning",
    Task.INTERACTIVE: "interactive",
}


def tell_unknown_words(models: LoadedPreset, instruction: str, context: JobContext) -> None:
    """Name words that the model was never taught, and models that know any word."""
    vocabulary = models.instruction_vocabulary
    if vocabulary is None:
        return
    unknown = [word for word in vocabulary.unknown_words(instruction) if not word[:1].isdigit()]
    open_models = sorted(
        preset.card.name
        for preset in catalogue().presets.values()
        if preset.card.unigeoseg is not None and preset.card.unigeoseg.vocabulary is None
    )
    bigger = f"the model {' or '.join(open_models)}" if open_models else "a bigger model"
    report_unknown_words(models.card.title, vocabulary, unknown, bigger, context)


def tell_view(
    answer: RasterPrediction, scene: RasterScene, models: LoadedPreset, context: JobContext
) -> None:
    """Tell how the instruction was understood and how the extent was looked at."""
    context.info(f"The instruction is read as {TASK_NAMES[answer.task]}.")
    if answer.view.reason == ONE_LOOK:
        context.info("The extent fits into one look of the model.")
    elif answer.comparison is not None and answer.compared is not None:
        _tell_comparison(answer.comparison, answer.compared, answer, context)
    elif answer.view.view is View.TILES:
        context.info(
            f"The instruction is asked of {answer.looks} tiles, as {answer.view.reason}. Begin it "
            "with 'the' to ask about the extent as a whole."
        )
    else:
        context.info(
            f"The instruction is asked of the extent as a whole, as {answer.view.reason}. Begin it "
            "with 'all' and leave out positions to map everything of a kind at full detail."
        )
    if answer.closer is not None and answer.left_out:
        context.info(
            f"The words mean one thing: of {answer.left_out + 1} parts that fit, the one "
            "with the most evidence is kept. Use the plural for every one."
        )
    _tell_closer_looks(answer, context)
    _tell_pixel_size(answer, scene, models, context)


def _tell_comparison(
    comparison: Comparison, compared: Compared, answer: RasterPrediction, context: JobContext
) -> None:
    found = compared.kept + compared.left_out
    parts = f"of {found} found, what touches being one,"
    if compared.kept > 1:
        kept = f"{parts} the {compared.kept} {comparison.word} stay"
    else:
        kept = f"{parts} the {comparison.word} stays" if compared.kept else "none is found"
    context.info(
        f"'{comparison.everything}' is asked of {answer.looks} tiles, as {answer.view.reason}; "
        f"{kept}. Choose a smaller extent to ask about it as a whole."
    )


def _tell_closer_looks(answer: RasterPrediction, context: JobContext) -> None:
    closer = answer.closer
    if closer is None or answer.view.reason == ONE_LOOK:
        return
    context.info(
        f"Closer looks drew {closer.drawn} outlines anew; {closer.refused} did not confirm the "
        "overview and were left aside."
    )
    if closer.left:
        context.warn(
            f"The overview found more than could be looked at closer: {closer.left} outlines stay "
            "as coarse as the overview. Choose a smaller extent for more detail."
        )


def _tell_pixel_size(
    answer: RasterPrediction, scene: RasterScene, models: LoadedPreset, context: JobContext
) -> None:
    advice = "Choose a smaller extent" if answer.shrink > 1.0 else "Choose another model"
    report_pixel_size(
        models.card.title,
        scene.base,
        models.instruction_pixel_size,
        context,
        shrink=answer.shrink,
        advice=f"Small objects are missed. {advice}.",
    )
