"""A small network learns a few scenes, stops, goes on, and is scored."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_unigeoseg import SMALL, TOKENIZER
from unigeoseg_facts import REPOSITORY, write_json, write_raster

from geoseg_qgis.engine.methods.referring.unigeoseg import Segmenter
from geoseg_qgis.engine.models.unigeoseg.checkpoint import load_checkpoint, save_checkpoint
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.tasks import Task
from training.unigeoseg.__main__ import main
from training.unigeoseg.evaluate import evaluate
from training.unigeoseg.losses import LossSettings
from training.unigeoseg.samples import Sample, collate
from training.unigeoseg.trainer import TrainingSettings, UniGeoSegTrainer


@dataclasses.dataclass(frozen=True)
class Painted:
    """A sample kept in memory."""

    sample: Sample

    @property
    def task(self) -> Task:
        return self.sample.task

    def read(self) -> Sample:
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


def settings_for(folder: Path, steps: int) -> TrainingSettings:
    return TrainingSettings(
        folder,
        steps,
        batch_size=4,
        rate=2e-3,
        warmup_share=0.1,
        train_tower=True,
        log_steps=10,
        loss=LossSettings(points=256),
        readers=2,
    )


@pytest.mark.slow
def test_a_small_network_learns_painted_scenes(tmp_path: Path) -> None:
    scenes = painted_scenes()
    trainer = UniGeoSegTrainer(fresh_network(), TOKENIZER, scenes, settings_for(tmp_path, 120))
    totals = trainer.run()
    assert len(totals) == 120
    assert np.mean(totals[-10:]) < 0.6 * np.mean(totals[:10])
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(10, 130, 10))
    checkpoint = load_checkpoint(trainer.weights_folder)
    scores = evaluate(checkpoint, scenes)
    assert set(scores) == {"all", "ref", "intera"}
    assert scores["all"].samples == 8
    assert scores["all"].giou > 0.5
    result = Segmenter(checkpoint).segment(scenes[0].sample.image, instruction="the red roof")
    found, wanted = result.mask(), scenes[0].sample.mask.astype(bool)
    assert (found & wanted).sum() / (found | wanted).sum() > 0.5


def test_a_stopped_run_goes_on_exactly(tmp_path: Path) -> None:
    scenes = painted_scenes()
    whole = UniGeoSegTrainer(fresh_network(), TOKENIZER, scenes, settings_for(tmp_path / "a", 4))
    whole.run()
    first = UniGeoSegTrainer(fresh_network(), TOKENIZER, scenes, settings_for(tmp_path / "b", 4))
    first.run(until=2)
    torch.manual_seed(99)
    second = UniGeoSegTrainer(UniGeoSeg(SMALL), TOKENIZER, scenes, settings_for(tmp_path / "b", 4))
    assert second.step == 2
    second.run()
    expected = whole.model.state_dict()
    for name, value in second.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)
    assert not list((tmp_path / "b").rglob("*.part"))


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path: Path) -> None:
    """Two processes on the command line: one state is written, and it is a whole network's."""
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
    module = "training.unigeoseg"
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", module]
    options = ["--model", start, "--folder", folder, "--data", f"geoseg:{data}:train"]
    numbers = ["--steps", 2, "--batch-size", 4, "--device", "cpu", "--rate", 1e-3]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    finished = subprocess.run(
        [sys.executable, "-m", *launcher, "train", *map(str, [*options, *numbers])],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    state = torch.load(folder / "state.pt", weights_only=True)
    assert state["step"] == 2
    before = fresh_network().state_dict()
    assert state["model"].keys() == before.keys()
    assert not torch.equal(state["model"]["global_latents"], before["global_latents"])
    command = [sys.executable, "-m", module, "evaluate", "--device=cpu", "--template=rrsisd"]
    scored = subprocess.run(
        [*command, "--model", str(folder / "weights"), "--data", f"geoseg:{data}:train"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    assert json.loads(scored.stdout)["all"]["samples"] == 4.0


def test_command_line_says_what_is_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = ["evaluate", "--model", str(tmp_path), "--data"]
    assert main([*base, "somewhere"]) == 1
    assert "name:folder:split" in caplog.text
    assert main([*base, f"geoseg:{tmp_path}:test"]) == 1
    assert "test.json is missing" in caplog.text


def test_recomputed_activations_change_nothing(tmp_path: Path) -> None:
    runs = []
    for recompute in (False, True):
        settings = dataclasses.replace(
            settings_for(tmp_path / str(recompute), 2), recompute=recompute
        )
        trainer = UniGeoSegTrainer(fresh_network(), TOKENIZER, painted_scenes(), settings)
        runs.append(trainer.run())
    assert runs[0] == pytest.approx(runs[1], rel=1e-5)


def test_frozen_tower_stays_as_it_was(tmp_path: Path) -> None:
    model = fresh_network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = dataclasses.replace(settings_for(tmp_path, 1), train_tower=False)
    UniGeoSegTrainer(model, TOKENIZER, painted_scenes(), settings).run()
    changed = {
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }
    assert not any("vision_tower" in name for name in changed)
    assert "predictor.mask_embed.layers.2.weight" in changed
    assert "model.layers.0.self_attn.q_proj.weight" in changed


def test_rate_rises_then_falls_to_zero(tmp_path: Path) -> None:
    settings = TrainingSettings(tmp_path, 100, rate=1.0)
    assert [settings.rate_at(step) for step in (0, 1, 2)] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert settings.rate_at(3) == pytest.approx(1.0)
    assert settings.rate_at(100) == pytest.approx(0.0)


def test_collated_batch() -> None:
    image = np.full((20, 40, 3), 100, dtype=np.uint8)
    mask = np.ones((20, 40), dtype=np.uint8)
    text = "the box x0,y0=[0,0.5], x1,y1=[1,1]"
    batch = collate([Sample(image, mask, text, "yes", Task.INTERACTIVE)], TOKENIZER, 64)
    assert batch.pixels.shape == (1, 3, 64, 64)
    assert batch.targets.sum() == 64 * 32
    assert batch.targets[0, 0, 16:48].all()
    request = batch.requests[0]
    assert bytes(request.answer_ids[:-1]) == b"yes"
    assert request.answer_ids[-1] == 257
    assert request.coordinates is not None
    assert request.coordinates.tolist() == [[0.0, 0.5, 1.0, 1.0]]
