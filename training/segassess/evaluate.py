"""Score the built-in SegAssess network on validation images.

`python -m training.segassess.evaluate --data FOLDER --run runs/segassess` judges masks of three
sources and writes `evaluation.json` and `calibration.png` into the run's folder:

unet
    Masks of a U-Net of `train_unet`, none of which was seen in training.
corrupted
    True masks with faults, of other seeds than in training.
clip
    Masks of the built-in image and text encoder, seen in training on other images.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geoseg_qgis.engine.metrics.quality import QualityCounts, calibrate
from geoseg_qgis.engine.models.segassess import SegAssess, load_segassess
from training.charts import calibration_figure, save_chart
from training.datasets import LabelledImage, load_images
from training.evaluate import LEGENDS, class_map
from training.preset_folder import write_json
from training.scenes.corruptions import corrupt
from training.train_unet import LEGEND, UNet, unet_network
from training.trainer import read_checkpoint

from .corruption import CorruptedTruth
from .foreign_maps import read_clip, usual_zoom
from .mask_tiles import CODES, KINDS
from .train import load_run
from .whole_images import Case, Judgement, cases, judge, zoomed

logger = logging.getLogger(__name__)

EVALUATION_FILE = "evaluation.json"
SEED = 90_000
SMALLEST_MASK = 0.001
TITLES = {
    "unet": "U-Net, masks never seen in training",
    "corrupted": "true masks with made faults",
    "clip": "built-in image and text encoder",
}
MaskOf = Callable[[Case], NDArray[np.bool_]]
MaskMaker = Callable[[LabelledImage], MaskOf]


def read_unet(run: Path) -> UNet:
    """Return the network of a finished run of `train_unet`, in eval mode."""
    state = read_checkpoint(run)
    model = UNet(len(LEGENDS[LEGEND]), state["facts"]["width"])
    model.load_state_dict(state["average"])
    return model.eval()


def from_network(network: Callable[[Tensor], Tensor], factor: float = 1.0) -> MaskMaker:
    """Return a maker of masks from a network of the five classes.

    Args:
        network: Logits (B, 5, h, w) of windows.
        factor: Zoom relative to the usual one of an image.
    """

    def make(image: LabelledImage) -> MaskOf:
        classes = class_map(network, image, usual_zoom(image) * factor)
        codes = zoomed(LabelledImage(image.dataset, image.name, image.pixels, classes, image.zoom))[
            1
        ]
        return lambda case: (codes == CODES[case.kind] - 1).numpy()

    return make


def from_truth(seed: int) -> MaskMaker:
    """Return a maker of true masks with faults, by both ways of making them in turn."""
    source = CorruptedTruth(seed)
    count = iter(range(seed, 2 * seed))

    def mask(case: Case) -> NDArray[np.bool_]:
        number = next(count)
        return source.corrupt(case.truth) if number % 2 else corrupt(case.truth, number)

    return lambda _: mask


def scores(counts: QualityCounts) -> dict[str, float]:
    """Return mean F1 and the F1 and IoU of each class, those that exist."""
    values = {"mean_f1": counts.mean().f1, "error_map_f1": counts.error_map().f1}
    for name, one in counts.per_class().items():
        values[f"{name}_f1"], values[f"{name}_iou"] = one.f1, one.iou
    return {name: round(value, 4) for name, value in values.items() if not math.isnan(value)}


def trusting(counts: QualityCounts) -> float:
    """Return the mean F1 of calling the whole mask right."""
    matrix = np.zeros((4, 4))
    matrix[:2, 0], matrix[2:, 2] = counts.matrix.sum(1)[:2], counts.matrix.sum(1)[2:]
    blind = QualityCounts()
    blind.matrix = matrix
    return round(blind.mean().f1, 4)


def report(judgement: Judgement) -> dict[str, Any]:
    """Return the numbers of a judgement as JSON values."""
    pairs = calibrate(np.array(judgement.predicted), np.array(judgement.actual))
    filled = pairs.count > 0
    return {
        "masks": judgement.masks,
        "pixels": int(judgement.constrained.matrix.sum()),
        "constrained": scores(judgement.constrained),
        "raw": scores(judgement.raw),
        "mean_f1_of_trusting_the_mask": trusting(judgement.constrained),
        "objects": {
            "count": int(pairs.count.sum()),
            "iou_correlation": _number(pairs.correlation),
            "iou_error": _number(pairs.error),
            "bins": [
                {"predicted": _number(x), "true": _number(y), "count": int(n)}
                for x, y, n in zip(
                    pairs.predicted[filled], pairs.actual[filled], pairs.count[filled]
                )
            ],
        },
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)


def judge_source(
    model: SegAssess, images: list[LabelledImage], make: MaskMaker
) -> dict[str, Judgement]:
    """Judge the masks of one source on all images; nearly empty masks are left out.

    Returns:
        The sums of each kind, and of each data set.
    """
    sums: dict[str, Judgement] = {}
    for image in images:
        found = cases(image)
        if not found:
            continue
        mask_of = make(image)
        for case in found:
            mask = mask_of(case)
            if mask.mean() < SMALLEST_MASK:
                continue
            judgement, _ = judge(model, case, mask)
            for group in (case.kind, image.dataset):
                sums.setdefault(group, Judgement.empty()).add(judgement)
    return sums


def total(sums: dict[str, Judgement]) -> Judgement:
    """Return the sum over all kinds."""
    result = Judgement.empty()
    for kind in CODES:
        if kind in sums:
            result.add(sums[kind])
    return result


def score_lines(run: Path) -> list[str]:
    """Return the numbers of a run as lines of the model page, none when it has no scores."""
    path = run / EVALUATION_FILE
    if not path.is_file():
        return []
    scores = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        "Scored on validation images at the middle of each set's range of zooms, the map made to "
        "agree with the mask; empty masks are left out. F1 over all pixels; IoU of each connected "
        "area at least 8 pixels wide, predicted against true.",
        "",
        "| masks of | masks | F1 mean | TP | FP | TN | FN | F1 mean, raw map "
        "| F1 mean of trusting the mask | areas | IoU correlation | IoU error |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, groups in scores.items():
        lines.append(_row(TITLES.get(name, name), groups["all"]))
        if name == "unet":
            kinds = [kind for kind in KINDS if kind in groups]
            lines += [_row(f"&nbsp;&nbsp;{kind}", groups[kind]) for kind in kinds]
    return lines


def _row(title: str, numbers: Mapping[str, Any]) -> str:
    constrained, objects = numbers["constrained"], numbers["objects"]
    values = [
        f"{numbers['masks']}",
        *(_shown(constrained.get(f"{name}_f1")) for name in ("mean", "TP", "FP", "TN", "FN")),
        _shown(numbers["raw"].get("mean_f1")),
        _shown(numbers["mean_f1_of_trusting_the_mask"]),
        f"{objects['count']}",
        _shown(objects["iou_correlation"]),
        _shown(objects["iou_error"]),
    ]
    return "| " + " | ".join([title, *values]) + " |"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def main(arguments: list[str] | None = None) -> None:
    """Score from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=Path("runs/segassess"))
    parser.add_argument("--weights", type=Path, help="safetensors file in place of the run's")
    parser.add_argument("--unet", type=Path, default=Path("runs/unet"))
    parser.add_argument("--clip", type=Path, default=Path("runs/clip"))
    parser.add_argument("--sources", nargs="+", default=["unet", "corrupted", "clip"])
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    model = load_segassess(options.weights) if options.weights else load_run(options.run)
    makers: dict[str, Callable[[], MaskMaker]] = {
        "unet": lambda: from_network(unet_network(read_unet(options.unet))),
        "corrupted": lambda: from_truth(SEED),
        "clip": lambda: from_network(read_clip(options.clip, "fast")),
    }
    images = load_images(options.data, "validation")
    numbers: dict[str, Any] = {}
    calibrations = {}
    for name in options.sources:
        sums = judge_source(model.eval(), images, makers[name]())
        whole = total(sums)
        groups = {group: report(one) for group, one in sums.items()}
        numbers[name] = {"all": report(whole), **groups}
        logger.info("%s %s", name, json.dumps(numbers[name]["all"]))
        calibrations[f"masks: {name}"] = calibrate(
            np.array(whole.predicted), np.array(whole.actual)
        )
    path = options.run / EVALUATION_FILE
    write_json(path, numbers)
    save_chart(calibration_figure(calibrations), options.run / "calibration.png")


if __name__ == "__main__":
    main()
