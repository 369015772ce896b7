"""Scores of a network: on published records, and on scenes and images that it was not trained on.

Example:
    python -m training.unigeoseg.evaluate --model RUN/weights --records rrsisd:data/RRSIS-D:test
    python -m training.unigeoseg.evaluate --run RUN --scenes CACHE --data DATA

The second command writes the averaged weights of a run of the built-in network to RUN/weights, as
they are exported, and their scores to RUN/scores.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg_qgis.engine.methods.referring.unigeoseg.letterbox import Letterbox
from geoseg_qgis.engine.metrics.referring import (
    IGNORED_VALUE,
    Mask,
    ReferringMeter,
    ReferringScores,
)
from geoseg_qgis.engine.models.unigeoseg.checkpoint import (
    WEIGHTS_FILE,
    Checkpoint,
    load_checkpoint,
)
from geoseg_qgis.engine.models.unigeoseg.inference import ImagePredictor
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from geoseg_qgis.engine.models.unigeoseg.template import (
    TEMPLATES,
    UNIFIED,
    Template,
    encode_template,
)
from geoseg_qgis.protocol.errors import JobError
from training.crops import CropSampler
from training.datasets import load_images
from training.device import add_device_option
from training.exported_networks import UNIGEOSEG
from training.preset_folder import packed, write_bytes, write_json
from training.trainer import read_checkpoint

from .batches import encode_request, network_input
from .built_in import side_files
from .letterbox_augmentation import draw_bars, with_bars
from .published_datasets import read_source
from .queries import MIN_PIXELS, SENTENCE_KINDS, RequestSampler, SceneRequest
from .records import DataSetError, Record
from .stored_scenes import (
    PIXEL_SIZES,
    REASONING,
    SIDE,
    VALIDATION_SEED,
    WIDE_SIDE,
    StoredScene,
    stored_scenes,
)
from .weak_labels import weak_requests

ALL_TASKS = "all"
SCORES_FILE = "scores.json"
WEIGHTS_FOLDER = "weights"
WEAK_CROPS = 120
_QUESTIONS_A_SCENE = 3
_SEED_OF_CROPS = 5
_SEED_OF_BARS = 13
_FEWER = 4
"""Squares for each wide scene, which takes four times as long to draw."""
_WEAK_REQUESTS = 3
_WHITE = 255
TITLES = {
    "ref": "sentences",
    "class": "&nbsp;&nbsp;a class",
    "attribute": "&nbsp;&nbsp;a colour, roof or shape",
    "position": "&nbsp;&nbsp;a part of the image",
    "count": "&nbsp;&nbsp;a number",
    "extreme": "&nbsp;&nbsp;largest, leftmost and the like",
    "relation": "&nbsp;&nbsp;closest to something",
    "reason": "questions",
    "intera": "points and boxes",
    "points": "&nbsp;&nbsp;one to three points",
    "box": "&nbsp;&nbsp;a box",
    "wide_ref": "sentences, scenes of 512 x 512 pixels",
    "barred_ref": "sentences, scenes that are not square",
    "real_ref": "real images, classes by name",
    "real_reason": "real images, classes by use",
}
"""Names of what `score_unseen` scores, in the order of a table."""


class RequestPredictor:
    """A network that predicts masks for requests about images, which it fits into its square.

    Args:
        checkpoint: Network in evaluation mode and its tokenizer.
        template: The dialogue that the network was trained on.
    """

    def __init__(self, checkpoint: Checkpoint, template: Template = UNIFIED) -> None:
        self._model, self._tokenizer = checkpoint
        self._predictor = ImagePredictor(self._model, encode_template(template, self._tokenizer))
        self.side = self._model.config.vision.image_size

    def logits(self, image: NDArray[np.uint8], requests: Sequence[tuple[str, Task]]) -> Tensor:
        """Return logits (N, S/4, S/4) of N requests about an image (H, W, 3), in its square."""
        encoded = self._predictor.encode_image(network_input(image, self.side))
        inputs = [encode_request(text, task, self._tokenizer) for text, task in requests]
        return self._predictor.predict(encoded, inputs)

    def masks(
        self, image: NDArray[np.uint8], requests: Sequence[tuple[str, Task]]
    ) -> NDArray[np.bool_]:
        """Return the masks of N requests about an image (H, W, 3): (N, H, W)."""
        letterbox = Letterbox(image.shape[0], image.shape[1], self.side)
        found: NDArray[np.bool_] = (
            letterbox.restore(self.logits(image, requests).cpu()).sigmoid() > 0.5
        ).numpy()
        return found


def score_records(
    predictor: RequestPredictor,
    records: Iterable[Record],
    transform: Callable[[Mask], Mask] | None = None,
) -> dict[str, ReferringScores]:
    """Score a network as published: on the letterboxed square, padding included.

    Args:
        predictor: The network.
        records: Images with instructions and true masks.
        transform: Applied to predictions first, see ``ReferringMeter``.

    Returns:
        Scores by task (``ref``, ``reason``, ``intera``) and of everything (``all``).
    """
    meters = {ALL_TASKS: ReferringMeter(transform)}
    for record in records:
        sample = record.read()
        letterbox = Letterbox(sample.image.shape[0], sample.image.shape[1], predictor.side)
        logits = predictor.logits(sample.image, [(sample.instruction, sample.task)])
        square = torch.nn.functional.interpolate(
            logits[:, None], size=(predictor.side, predictor.side), mode="bilinear"
        )
        predicted = (square[0, 0] > 0).cpu().numpy()
        truth = letterbox.place_mask(sample.mask)
        for name in (ALL_TASKS, sample.task.value):
            meters.setdefault(name, ReferringMeter(transform)).add(predicted, truth)
    return {name: meter.scores() for name, meter in meters.items()}


def validation_requests(scene: StoredScene, seed: int) -> list[SceneRequest]:
    """Draw one sentence of every kind, some questions, and an object by points and by a box."""
    random = np.random.default_rng([seed, 11])
    sampler = RequestSampler(scene)
    drawn = [sampler.draw(Task.REFERRING, random, {kind: 1.0}) for kind in SENTENCE_KINDS]
    drawn += [sampler.draw(Task.REASONING, random) for _ in range(_QUESTIONS_A_SCENE)]
    drawn += [sampler.draw(Task.INTERACTIVE, random) for _ in range(2)]
    return list({one.text: one for one in drawn if one is not None}.values())


def score_unseen(
    predictor: RequestPredictor, scenes: Path, count: int, data: Path
) -> dict[str, ReferringScores]:
    """Score what no training saw: drawn scenes of other seeds and crops of validation images.

    Args:
        predictor: The network.
        scenes: Where drawn scenes are kept.
        count: Drawn scenes.
        data: Folder of the labelled images.
    """
    unseen = range(VALIDATION_SEED, VALIDATION_SEED + count)
    squares = stored_scenes(scenes, unseen)
    wide = stored_scenes(scenes, unseen[: -(-count // _FEWER)], WIDE_SIDE)
    random = np.random.default_rng(_SEED_OF_BARS)
    barred = (with_bars(scene, draw_bars(SIDE, random)) for scene in squares)
    scores = score_scenes(predictor, squares)
    for name, others in (("wide", wide), ("barred", barred)):
        scores[f"{name}_ref"] = score_scenes(predictor, others)["ref"]
    crops = CropSampler(load_images(data, "validation"), SIDE, _SEED_OF_CROPS)
    return scores | score_weak(predictor, crops, WEAK_CROPS)


def score_scenes(
    predictor: RequestPredictor, scenes: Iterable[StoredScene], seed: int = 0
) -> dict[str, ReferringScores]:
    """Score drawn scenes; names are tasks (``ref``, ...) and kinds of requests (``count``)."""
    meters: dict[str, ReferringMeter] = defaultdict(ReferringMeter)
    for number, scene in enumerate(scenes):
        requests = validation_requests(scene, seed + number)
        masks = predictor.masks(scene.image, [(one.text, one.task) for one in requests])
        for one, mask in zip(requests, masks, strict=True):
            kind = one.task.value if one.kind == REASONING else one.kind
            for name in {one.task.value, kind}:
                meters[name].add(mask, one.mask)
    return _sorted_scores(meters)


def score_weak(
    predictor: RequestPredictor, crops: CropSampler, count: int
) -> dict[str, ReferringScores]:
    """Score classes by name and by use on crops of real images, where labels are certain."""
    meters: dict[str, ReferringMeter] = defaultdict(ReferringMeter)
    random = np.random.default_rng(12)
    for _ in range(count):
        batch = crops.batch(1)
        requests = weak_requests(batch.labels[0], _WEAK_REQUESTS, random)
        if not requests:
            continue
        image = (batch.clean[0] * _WHITE).round().to(torch.uint8).permute(1, 2, 0).numpy()
        masks = predictor.masks(image, [(one.text, one.task) for one in requests])
        for one, mask in zip(requests, masks, strict=True):
            truth = np.where(one.known.numpy(), one.mask.numpy(), IGNORED_VALUE)
            meters[f"real_{one.task.value}"].add(mask, truth.astype(np.uint8))
    return _sorted_scores(meters)


def _sorted_scores(meters: Mapping[str, ReferringMeter]) -> dict[str, ReferringScores]:
    return {name: meter.scores() for name, meter in sorted(meters.items())}


def score_lines(run: Path) -> list[str]:
    """Return the scores of a run as lines of the model page, none when it has no scores."""
    path = run / SCORES_FILE
    if not path.is_file():
        return []
    content = json.loads(path.read_text(encoding="utf-8"))
    low, high = PIXEL_SIZES
    lines = [
        f"Scored on {content['validation']} drawn scenes of other seeds, {SIDE} x {SIDE} pixels of "
        f"{low} to {high} m, one sentence of every kind a scene where there is one, masks of "
        f"{MIN_PIXELS} pixels and more; once more on all of them between bars, and on a fourth as "
        f"many of {WIDE_SIDE} x {WIDE_SIDE}; and on {WEAK_CROPS} crops of validation images, on "
        "the pixels whose class is certain.",
        "",
        "| requests for | number | gIoU | cIoU | Pr@0.5 | Pr@0.7 |",
        "|---|---|---|---|---|---|",
    ]
    scores = content["scores"]
    for name in sorted(scores, key=list(TITLES).index):
        row = scores[name]
        shown = " | ".join(f"{row[key]:.3f}" for key in ("gIoU", "cIoU", "Pr@0.5", "Pr@0.7"))
        lines.append(f"| {TITLES[name]} | {row['samples']:.0f} | {shown} |")
    return lines


def score_run(run: Path, scenes: Path, data: Path, count: int) -> dict[str, ReferringScores]:
    """Write the exported weights of a run and their scores, see `score_unseen`."""
    folder = run / WEIGHTS_FOLDER
    for name, content in side_files(run).items():
        write_bytes(folder / name, content)
    shipped = packed(UNIGEOSEG.shipped(read_checkpoint(run)), UNIGEOSEG.metadata)
    write_bytes(folder / WEIGHTS_FILE, shipped)
    predictor = RequestPredictor(load_checkpoint(folder))
    scores = score_unseen(predictor, scenes, count, data)
    table = {name: one.as_row() for name, one in scores.items()}
    write_json(run / SCORES_FILE, {"validation": count, "scores": table})
    return scores


def main(arguments: Sequence[str] | None = None) -> int:
    """Score from the command line; writes JSON to stdout and returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    networks = parser.add_mutually_exclusive_group(required=True)
    networks.add_argument("--model", type=Path, help="checkpoint folder, to score on records")
    networks.add_argument("--run", type=Path, help="run of the built-in network")
    parser.add_argument("--records", action="append", help="name:folder:split; may be repeated")
    parser.add_argument(
        "--template",
        choices=sorted(TEMPLATES),
        default="unified",
        help="dialogue of the weights: those trained on one data set alone have their own",
    )
    parser.add_argument("--scenes", type=Path, help="where drawn scenes are kept")
    parser.add_argument("--data", type=Path, help="folder of the labelled images")
    parser.add_argument("--validation", type=int, default=200, help="drawn scenes to score")
    add_device_option(parser)
    options = parser.parse_args(arguments)
    if options.model and not options.records:
        parser.error("--model needs --records.")
    if options.run and not (options.scenes and options.data):
        parser.error("--run needs --scenes and --data.")
    try:
        scores = _score(options)
    except (JobError, DataSetError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    table = {name: one.as_row() for name, one in scores.items()}
    sys.stdout.write(json.dumps(table, indent=1) + "\n")
    return 0


def _score(options: argparse.Namespace) -> dict[str, ReferringScores]:
    if options.run:
        return score_run(options.run, options.scenes, options.data, options.validation)
    records = [record for source in options.records for record in read_source(source)]
    checkpoint = load_checkpoint(options.model, options.device)
    return score_records(RequestPredictor(checkpoint, TEMPLATES[options.template]), records)


if __name__ == "__main__":
    sys.exit(main())
