"""Small networks learn from records and from scenes, stop, continue, and are scored."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from places import ROOT, SHARED
from process_groups import run_two
from small_unigeoseg import SMALL, TOKENIZER
from unigeoseg_facts import write_json, write_raster

from geoseg_qgis.engine.methods.referring.unigeoseg import Segmenter
from geoseg_qgis.engine.models.unigeoseg.checkpoint import Checkpoint, save_checkpoint
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from training.datasets import SOURCES
from training.trainer import Plan, Trainer, read_checkpoint
from training.unigeoseg.evaluate import RequestPredictor, score_records
from training.unigeoseg.evaluate import main as evaluate
from training.unigeoseg.losses import LossSettings
from training.unigeoseg.records import Record, Sample
from training.unigeoseg.train import main, published_plan, run_on_records
from training.unigeoseg.training_step import TrainedNetwork

BUILT_IN = ROOT / "geoseg_qgis/engine/zoo/builtin/offline-small/unigeoseg"


@dataclasses.dataclass(frozen=True)
class Painted:
    """A sample kept in memory."""

    sample: Sample

    @property
    def task(self) -> Task:
        return self.sample.task

    def read(self) -> Sample:
        return self.sample


@dataclasses.dataclass(frozen=True)
class Unreadable(Painted):
    """A sample that cannot be read any more after so many reads of all of them."""

    reads: Iterator[int]
    limit: int

    def read(self) -> Sample:
        if next(self.reads) >= self.limit:
            raise OSError("The disk is gone.")
        return self.sample


def painted_scenes() -> list[Painted]:
    """Two scenes with a red and a blue rectangle, each asked for in words and by a point."""
    scenes = []
    for top, left in ((6, 8), (34, 26)):
        image = np.full((64, 64, 3), 90, dtype=np.uint8)
        places = {
            "red": (slice(top, top + 24), slice(left, left + 24)),
            "blue": (slice(56 - top - 14, 56 - top + 6), slice(40, 62)),
        }
        image[places["blue"]] = (20, 40, 230)
        image[places["red"]] = (230, 40, 20)
        for colour, place in places.items():
            mask = np.zeros((64, 64), dtype=np.uint8)
            mask[place] = 1
            if colour == "blue":
                mask[places["red"]] = 0
            rows, columns = np.nonzero(mask)
            point = f"[{columns[len(columns) // 2] / 64:.3f},{rows[len(rows) // 2] / 64:.3f}]"
            scenes += [
                Painted(Sample(image, mask, f"the {colour} roof", "", Task.REFERRING)),
                Painted(Sample(image, mask, f"the point {point}", colour, Task.INTERACTIVE)),
            ]
    return scenes


def fresh_network() -> UniGeoSeg:
    torch.manual_seed(0)
    return UniGeoSeg(SMALL)


def plan_for(folder: Path, steps: int) -> Plan:
    plan = published_plan(folder, steps, 2e-3)
    return dataclasses.replace(plan, warmup_steps=steps // 10, log_steps=10)


def train(
    plan: Plan, records: Sequence[Record], model: UniGeoSeg | None = None
) -> tuple[UniGeoSeg, Trainer]:
    """Train a small network, its tower too, on four images a step."""
    model = model or fresh_network()
    trainer = Trainer(TrainedNetwork(model, with_heads=False), plan, {})
    settings = LossSettings(points=256)
    run_on_records(trainer, records, TOKENIZER, seed=0, size=4, settings=settings)
    return model, trainer


@pytest.mark.slow
def test_a_small_network_learns_painted_scenes(tmp_path: Path) -> None:
    scenes = painted_scenes()
    model, trainer = train(plan_for(tmp_path, 120), scenes)
    assert trainer.step == 120
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(10, 130, 10))
    assert lines[-1]["total"] < 0.6 * lines[0]["total"]
    assert lines[-1]["language"] < lines[0]["language"]
    checkpoint = Checkpoint(model.eval(), TOKENIZER)
    scores = score_records(RequestPredictor(checkpoint), scenes)
    assert set(scores) == {"all", "ref", "intera"}
    assert scores["all"].samples == 8
    assert scores["all"].giou > 0.5
    result = Segmenter(checkpoint).segment(scenes[0].sample.image, instruction="the red roof")
    found, wanted = result.mask(), scenes[0].sample.mask.astype(bool)
    assert (found & wanted).sum() / (found | wanted).sum() > 0.5


def test_a_stopped_run_continues_exactly(tmp_path: Path) -> None:
    scenes = painted_scenes()
    whole, _ = train(plan_for(tmp_path / "a", 4), scenes)
    plan = dataclasses.replace(plan_for(tmp_path / "b", 4), checkpoint_seconds=0.0)
    reads = itertools.count()
    # Of the third batch some samples cannot be read.
    failing = [Unreadable(one.sample, reads, 9) for one in scenes]
    with pytest.raises(OSError, match="disk is gone"):
        train(plan, failing)
    assert read_checkpoint(tmp_path / "b")["step"] == 2
    torch.manual_seed(99)
    model, trainer = train(plan, scenes, UniGeoSeg(SMALL))
    assert trainer.step == 4
    expected = whole.state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)
    assert not list((tmp_path / "b").rglob("*.part*"))


@pytest.mark.slow
def test_two_processes_train_one_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two processes of torchrun: one checkpoint is written, and it is a whole network's."""
    data, start, folder = tmp_path / "data", tmp_path / "start", tmp_path / "run"
    entries = []
    for index, scene in enumerate(painted_scenes()[:4]):
        names = {"img": f"{index}.png", "mask": f"{index}_mask.png", "json": f"{index}.json"}
        write_raster(data / names["img"], scene.sample.image)
        write_raster(data / names["mask"], scene.sample.mask * 255)
        write_json(data / names["json"], {"question": [scene.sample.instruction], "reason": []})
        entries.append(names)
    write_json(data / "train.json", entries)
    save_checkpoint(fresh_network(), TOKENIZER, start)
    options = ["--model", start, "--out", folder, "--records", f"geoseg:{data}:train"]
    numbers = ["--steps", 2, "--images", 2, "--device", "cpu", "--rate", 1e-3]
    finished = run_two("-m", "training.unigeoseg.train", *options, *numbers)
    assert finished.returncode == 0, finished.stderr[-2000:]
    state = read_checkpoint(folder)
    assert state["step"] == 2
    assert state["facts"]["batch"] == 4
    before = fresh_network().state_dict()
    assert {name.removeprefix("model.") for name in state["model"]} == set(before)
    trained = state["model"]["model.global_latents"]
    assert not torch.equal(trained, before["global_latents"])
    records = [f"--model={folder / 'weights'}", f"--records=geoseg:{data}:train"]
    assert evaluate(["--device=cpu", "--template=rrsisd", *records]) == 0
    assert json.loads(capsys.readouterr().out)["all"]["samples"] == 4.0


def test_recomputed_activations_change_nothing(tmp_path: Path) -> None:
    weights = []
    for recompute in (False, True):
        model = fresh_network()
        if recompute:
            model.model.activation_checkpointing_enable()
        train(plan_for(tmp_path / str(recompute), 2), painted_scenes(), model)
        weights.append(model.state_dict())
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-5)


def test_frozen_tower_stays_as_it_was(tmp_path: Path) -> None:
    model = fresh_network()
    model.model.vision_tower.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(plan_for(tmp_path, 1), painted_scenes(), model)
    assert not model.model.vision_tower.training
    changed = {
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }
    assert not any("vision_tower" in name for name in changed)
    assert "predictor.mask_embed.layers.2.weight" in changed
    assert "model.layers.0.self_attn.q_proj.weight" in changed


SCENES = ["--data=x", "--scenes=x", "--out=x", "--minutes=1", "--device=cpu"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([*SCENES, "--side=100"], "--side "),
        ([*SCENES, "--first=999000"], "--first "),
        ([*SCENES, "--wide=-1"], "--wide "),
        (SCENES[1:], "Give --data and --scenes, or --records."),
        ([*SCENES, "--records=geoseg:x:train"], "--records needs --model"),
        ([*SCENES, "--steps=1"], "not allowed with argument"),
    ],
)
def test_impossible_options_are_refused(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(options)
    error = capsys.readouterr().err
    assert "error: " in error
    assert message in error.split("error: ")[1]


@pytest.mark.slow
@pytest.mark.skipif(
    not (SHARED / "data/splits.json").is_file(), reason="the folder of labelled images is not here"
)
def test_the_built_in_network_trains_and_continues(tmp_path: Path) -> None:
    """The command starts from the built-in weights, ends with a page, and continues."""
    run, data = tmp_path / "run", tmp_path / "data"
    data.mkdir()
    few: dict[str, dict[str, list[str]]] = {name: {"train": []} for name in SOURCES}
    few["oam_buildings"]["train"] = ["kampala_01.tif"]
    write_json(data / "splits.json", few)
    (data / "oam_buildings").symlink_to(SHARED / "data" / "oam_buildings")
    command = [
        f"--data={data}", f"--scenes={tmp_path}", "--count=3", "--side=64",
        "--images=1", "--requests=3", "--device=cpu", "--rate=1e-4", "--wide=1",
    ]  # fmt: skip
    # torchrun takes --start for an option of its own.
    finished = run_two(
        "-m", "training.unigeoseg.train", *command, f"--out={run}", f"--model={BUILT_IN}",
        "--steps=2",
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr[-2000:]
    first = read_checkpoint(run)
    assert first["step"] == 2
    assert first["facts"]["started_from"] == "unigeoseg"
    assert first["facts"]["batch"] == 2
    assert (run / "tokenizer.json").read_bytes() == (BUILT_IN / "tokenizer.json").read_bytes()
    assert first["facts"]["wide_scenes"] == 1
    drawn = sorted(path.name.count("-512-") for path in tmp_path.glob("scene-*.npz"))
    assert drawn == [0, 0, 0, 1]
    assert "UniGeoSeg" in (run / "MODEL.md").read_text(encoding="utf-8")
    # The heads are new, so they learn first, and all else stays as it was.
    name, head = "model.predictor.mask_embed.layers.0.weight", "heads.fine.layer.weight"
    assert torch.equal(first["model"][name], first["average"][name])
    assert not torch.equal(first["model"][head], first["average"][head])
    main([*command, f"--out={run}", f"--start={BUILT_IN}", "--steps=3"])
    again = read_checkpoint(run)
    assert again["step"] == 3
    assert again["facts"]["heads_until"] == first["facts"]["heads_until"] > 0
    main([*command, f"--out={tmp_path / 'next'}", f"--start={run}", "--steps=1"])
    last = read_checkpoint(tmp_path / "next")
    assert last["facts"]["started_from"] == "run"
    assert last["facts"]["progress"] == 1.0
    assert "heads_until" not in last["facts"]
    assert not torch.equal(last["model"][name], first["model"][name])
