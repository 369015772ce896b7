"""The built-in network follows instructions on a generated scene larger than one chip."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geoseg_qgis.engine.jobs.registry import run_job
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.zoo.registry import Origin, catalogue
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.source import RasterSource
from geoseg_qgis.protocol.tasks.refer import ReferTask, View
from training.scenes.geotiff import write_scene
from training.unigeoseg.built_in import PIXEL_SIZE

SIZE, PIXEL = 600, 0.3


@pytest.fixture(scope="module")
def built_in() -> str:
    for name, preset in catalogue([Path(__file__).parent / "none"]).presets.items():
        if preset.origin is Origin.BUILT_IN and preset.is_ready("unigeoseg"):
            return name
    pytest.skip("no built-in preset has a network for instructions (component unigeoseg) yet")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    return write_scene(path, 4, SIZE, PIXEL, "riverside", classes=True)


def test_the_card_names_the_pixels_that_the_network_was_taught(built_in: str) -> None:
    component = catalogue([]).presets[built_in].card.unigeoseg
    assert component is not None
    assert component.pixel_size is not None
    assert dataclasses.asdict(component.pixel_size) == PIXEL_SIZE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("instruction", "view", "classes"),
    [
        ("all water", View.TILES, ("river", "lake", "sea")),
        ("the river", View.AUTO, ("river",)),
    ],
)
def test_an_instruction_finds_its_classes(
    instruction: str, view: View, classes: tuple[str, ...], built_in: str, scene: Path
) -> None:
    task = ReferTask(instruction, view=view, scores=str(scene.with_name("scores.tif")))
    job = Job(
        RasterSource(str(scene), "scene"), task,
        method="unigeoseg", model=built_in, device="cpu",
    )  # fmt: skip
    result = run_job(job, JobContext())
    # An overview of 180 m in 512 pixels is finer than the 0.6 m of the card.
    assert result.provenance["view"] == ("tiles" if view is View.TILES else "whole")
    assert not any("does not know" in warning for warning in result.warnings)
    with rasterio.open(scene.with_name("scene_classes.tif")) as dataset:
        names = dataset.tags()["CLASSES"].split(";")
        truth = np.isin(dataset.read(1), [names.index(name) for name in classes])
    with rasterio.open(result.files["SCORES"]) as dataset:
        scores = dataset.read(1) / 254.0
    assert truth.any()
    assert scores[truth].mean() > scores[~truth].mean() + 0.2
