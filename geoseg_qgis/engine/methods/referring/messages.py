"""What a run of an instruction reports: unknown words, view, zoom-ins, pixel size."""

from __future__ import annotations

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.inference.messages import report_pixel_size, report_unknown_words
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.zoo.registry import catalogue
from geoseg_qgis.protocol.tasks.refer import View

from .unigeoseg.raster_inference import RasterPrediction


def report_instruction(models: LoadedPreset, instruction: str, context: JobContext) -> None:
    """Warn of words that the model does not know, and name models that know any word."""
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


def report_prediction(
    prediction: RasterPrediction, scene: RasterScene, models: LoadedPreset, context: JobContext
) -> None:
    """Report how the instruction was read and run on the extent."""
    context.info(f"The instruction is read as {prediction.task.name.lower()}.")
    if prediction.one_chip:
        context.info("The extent fits into one chip of the model.")
    elif prediction.view is View.TILES:
        context.info(
            f"The instruction is run on {prediction.chips} tiles at full detail. Positions, "
            "comparisons and numbers in it hold for each tile: set the view to whole to run it "
            "on the extent."
        )
    else:
        context.info(
            "The instruction is run on an overview of the extent. Set the view to tiles to map "
            "everything of a kind at full detail."
        )
        _report_zoom(prediction, context)
    if prediction.left_out:
        context.info(
            f"Of {prediction.left_out + 1} areas found, the one with the most evidence is kept."
        )
    advice = "Choose a smaller extent" if prediction.shrink > 1.0 else "Choose another model"
    report_pixel_size(
        models.card.title,
        scene.base,
        models.instruction_pixel_size,
        context,
        shrink=prediction.shrink,
        advice=f"Small objects are missed. {advice}.",
    )


def _report_zoom(prediction: RasterPrediction, context: JobContext) -> None:
    overview = prediction.overview
    if overview is None:
        return
    context.info(
        f"Zoom-ins redrew {overview.refined} outlines; {overview.refused} were not confirmed and "
        "stay as in the overview."
    )
    if overview.coarse:
        context.warn(
            f"The overview shows too many objects to zoom in on: {overview.coarse} outlines stay "
            "as coarse as the overview. Choose a smaller extent for more detail."
        )
