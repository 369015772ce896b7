"""The whole job of an instruction, with a tiny random network behind a card."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.windows import Window
from unigeoseg_facts import write_preset

from geoseg_qgis.engine.cli import main
from geoseg_qgis.engine.jobs.registry import run_job
from geoseg_qgis.engine.methods.referring.unigeoseg import Segmenter
from geoseg_qgis.engine.methods.referring.unigeoseg.best_area import keep_best_of
from geoseg_qgis.engine.models.unigeoseg.checkpoint import Checkpoint
from geoseg_qgis.engine.models.unigeoseg.model import UniGeoSeg
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.grid import model_grid
from geoseg_qgis.engine.raster.resampling.arrays import sample_grid
from geoseg_qgis.engine.raster.source import open_raster
from geoseg_qgis.engine.zoo.registry import catalogue
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.polygons import PolygonOptions
from geoseg_qgis.protocol.source import RasterSource, Stretch, StretchKind
from geoseg_qgis.protocol.tasks.refer import InstructionTask, Keep, ReferTask, View

pytestmark = pytest.mark.slow

NEVER = 0.999999
WORDS = ["the", "white", "plane", "planes", "on"]
UTM = ("EPSG:32633", Affine(0.5, 0, 400000, 0, -0.5, 5000000))
TURNED = ("EPSG:32633", UTM[1] @ Affine.rotation(30))
# 0.32 by 0.50 metres: the network sees square pixels, the result lies on those of the file.
DEGREES = ("EPSG:4326", Affine(4.5e-6, 0, 15.0, 0, -4.5e-6, 50.0))
SOUTH_UP = ("EPSG:32633", Affine(0.5, 0, 400000, 0, 0.5, 5000000))

Place = tuple[str, Affine]


@pytest.fixture(scope="module")
def preset(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: UniGeoSeg, toy_tokenizer: ByteTokenizer
) -> Path:
    return write_preset(tmp_path_factory.mktemp("refer") / "tiny", tiny_model, toy_tokenizer, WORDS)


@pytest.fixture(scope="module")
def segmenter(tiny_model: UniGeoSeg, toy_tokenizer: ByteTokenizer) -> Segmenter:
    return Segmenter(Checkpoint(tiny_model, toy_tokenizer))


def write_image(path: Path, shape: tuple[int, int], place: Place = UTM) -> Path:
    height, width = shape
    rng = np.random.default_rng(11)
    rough = rng.integers(20, 230, (3, height // 8 + 1, width // 8 + 1), dtype=np.uint8)
    pixels = rough.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=3, dtype="uint8",
        crs=place[0], transform=place[1], nodata=0,
    ) as dataset:  # fmt: skip
        dataset.write(pixels)
    return path


def make_job(image: Path, preset: Path, **members: Any) -> Job:
    task = ReferTask(
        **{
            "instruction": "the white planes",
            "mask_raster": str(image.parent / "mask.tif"),
            "polygon_file": str(image.parent / "mask.gpkg"),
            "scores": str(image.parent / "scores.tif"),
            **members,
        }
    )
    source = RasterSource(str(image), image.stem, stretch=Stretch(StretchKind.NONE))
    return Job(source, task, method="unigeoseg", model=str(preset), device="cpu")


def read(path: str | Path) -> NDArray[Any]:
    with rasterio.open(path) as dataset:
        band: NDArray[Any] = dataset.read(1)
        return band


def expected_probability(
    image: Path, segmenter: Segmenter, instruction: str = "the white planes"
) -> NDArray[np.float32]:
    """Run an instruction on a small image as one chip; return it on the image's pixels."""
    with open_raster(RasterSource(str(image))) as raster:
        base = model_grid(raster.grid, raster.grid, 0.5)
        window = Window(0, 0, base.width, base.height)
        values = np.rint(raster.read(base, window).values).astype(np.uint8)
        tile = np.ascontiguousarray(values.transpose(1, 2, 0))
        prediction = segmenter.segment(tile, instruction=instruction)
        return sample_grid(prediction.probability, base, raster.grid)


@pytest.mark.parametrize(
    ("shape", "place"),
    [
        ((50, 90), TURNED),
        ((120, 33), UTM),
        ((128, 128), SOUTH_UP),
        ((50, 90), DEGREES),
        ((120, 33), DEGREES),
    ],
)
def test_the_mask_lies_on_the_pixels_it_came_from(
    shape: tuple[int, int], place: Place, preset: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image.tif", shape, place)
    expected = expected_probability(image, segmenter)
    threshold = float(np.quantile(expected, 0.6))
    result = run_job(make_job(image, preset, threshold=threshold), JobContext())
    with rasterio.open(result.files["OUTPUT"]) as output, rasterio.open(image) as source:
        assert output.shape == shape
        assert output.transform.almost_equals(source.transform, precision=1e-12)
        assert output.crs == source.crs
    mask = read(result.files["OUTPUT"])
    clear = np.abs(expected - threshold) > 1e-3
    assert np.array_equal(mask[clear], (expected > threshold)[clear])
    assert 0 < mask.sum() < mask.size
    scores = read(result.files["SCORES"])
    assert np.abs(scores / 254.0 - expected).max() < 3e-3
    assert result.numbers["SCORE"] == pytest.approx(expected[mask == 1].mean(), abs=1e-3)
    pixel = 0.25 if place[0] == "EPSG:32633" else 4.5e-6**2 * 71695 * 111229
    assert result.numbers["AREA"] == pytest.approx(mask.sum() * pixel, rel=2e-3)


def test_polygons_have_score_area_and_instruction(
    preset: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image.tif", (96, 128), TURNED)
    expected = expected_probability(image, segmenter)
    options = PolygonOptions(simplify=0.0)
    job = make_job(
        image, preset, threshold=float(np.quantile(expected, 0.6)), polygons=options,
        instruction="  the white planes ",
    )  # fmt: skip
    result = run_job(job, JobContext())
    layer = pyogrio.raw.read(result.files["POLYGONS"], layer="polygons")
    fields = dict(zip(layer[0]["fields"], layer[3], strict=True))
    outlines = shapely.from_wkb(layer[2])
    assert set(fields["instruction"]) == {"the white planes"}
    assert set(fields["method"]) == {"unigeoseg"}
    assert len(outlines) == result.numbers["OBJECT_COUNT"] > 0
    assert fields["area_m2"].sum() == pytest.approx(result.numbers["AREA"], rel=2e-3)
    mask = read(result.files["OUTPUT"])
    burnt = rasterize(outlines, mask.shape, transform=TURNED[1])
    assert np.array_equal(burnt, mask)
    weighted = np.average(fields["score"], weights=fields["area_m2"])
    assert weighted == pytest.approx(result.numbers["SCORE"], abs=3e-3)
    without = dataclasses.replace(job.task, polygon_file=None)
    again = run_job(dataclasses.replace(job, task=without), JobContext())
    assert again.numbers == result.numbers
    assert set(again.files) == {"OUTPUT", "SCORES"}


def test_the_best_area_is_kept_if_asked(preset: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    image = write_image(tmp_path / "image.tif", (96, 128))
    expected = expected_probability(image, segmenter)
    threshold = float(np.quantile(expected, 0.6))
    alone = expected.copy()
    others = keep_best_of(alone, threshold)
    assert others > 0
    job = make_job(image, preset, threshold=threshold, keep=Keep.BEST)
    log: list[str] = []
    result = run_job(job, JobContext(report_log=lambda _, text: log.append(text)))
    mask = read(result.files["OUTPUT"])
    assert np.array_equal(mask > 0, alone > threshold)
    assert 0 < mask.sum() < (expected > threshold).sum()
    assert not read(result.files["SCORES"])[alone == 0.0].any()
    assert result.numbers["OBJECT_COUNT"] == 1.0
    assert (result.provenance["keep"], result.provenance["areas_left_out"]) == ("best", str(others))
    assert any(f"Of {others + 1} areas found, the one" in line for line in log)


def test_results_say_how_they_were_made(preset: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "image.tif", (200, 300))
    job = make_job(image, preset, view=View.TILES, task=InstructionTask.REFERRING)
    log: list[str] = []
    result = run_job(job, JobContext(report_log=lambda _, text: log.append(text)))
    made = result.provenance
    assert (made["method"], made["model"], made["task"]) == ("unigeoseg", "tiny-words", "referring")
    assert made["instruction"] == "the white planes"
    assert (made["view"], made["keep"]) == ("tiles", "all")
    assert (made["chips"], made["areas_left_out"]) == ("6", "0")
    assert any("run on 6 tiles at full detail" in line for line in log)
    with rasterio.open(result.files["OUTPUT"]) as output:
        tags = output.tags()
    assert tags["GEOSEG_VIEW"] == made["view"]
    assert Job.from_json(json.loads(tags["GEOSEG_JOB"])) == job


def test_an_overview_fine_enough_for_the_model_is_the_default(preset: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "image.tif", (200, 300))
    log: list[str] = []
    result = run_job(
        make_job(image, preset, threshold=NEVER),
        JobContext(report_log=lambda _, text: log.append(text)),
    )
    assert result.provenance["view"] == "whole"
    assert any("run on an overview of the extent" in line for line in log)
    assert any("at 1.17 m per pixel" in line for line in log)


def test_an_overview_too_coarse_for_the_model_is_reported(preset: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "image.tif", (40, 1100))
    auto = run_job(make_job(image, preset, threshold=NEVER), JobContext())
    assert auto.provenance["view"] == "tiles"
    assert not any("it was made for" in text for text in auto.warnings)
    result = run_job(make_job(image, preset, threshold=NEVER, view=View.WHOLE), JobContext())
    assert result.provenance["view"] == "whole"
    assert any(
        "at 4.3 m per pixel, but it was made for 0.1 to 4 m" in text for text in result.warnings
    )


def test_pixels_that_the_network_was_not_made_for_are_reported(
    preset: Path, tmp_path: Path
) -> None:
    """The network may want other pixels than the rest of its preset."""
    own = tmp_path / "own"
    shutil.copytree(preset, own)
    card = json.loads((own / "card.json").read_text())
    card["unigeoseg"]["pixel_size"] = {"preferred": 1.0, "finest": 0.1, "coarsest": 1.1}
    (own / "card.json").write_text(json.dumps(card), encoding="utf-8")
    image = write_image(tmp_path / "image.tif", (200, 300))
    log: list[str] = []
    result = run_job(
        make_job(image, own, threshold=NEVER),
        JobContext(report_log=lambda _, text: log.append(text)),
    )
    assert result.provenance["view"] == "tiles"
    assert any("at 1 m per pixel" in line for line in log)
    assert not any("but it was made for" in text for text in result.warnings)
    whole = run_job(make_job(image, own, threshold=NEVER, view=View.WHOLE), JobContext())
    assert any("0.1 to 1.1 m" in text for text in whole.warnings)


def test_words_that_were_never_taught_are_named(preset: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "image.tif", (40, 60))
    result = run_job(make_job(image, preset, instruction="2 plans on the ziggurat"), JobContext())
    (warning,) = [text for text in result.warnings if "does not know" in text]
    assert "does not know plans, ziggurat: its result is a guess" in warning
    assert "plane" in warning
    names = [
        entry.card.name
        for entry in catalogue().presets.values()
        if entry.card.unigeoseg is not None and entry.card.unigeoseg.vocabulary is None
    ]
    assert all(name in warning for name in names) if names else "a bigger model" in warning


def test_nothing_found_is_a_result_with_a_warning(preset: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "image.tif", (50, 70))
    result = run_job(make_job(image, preset, threshold=NEVER), JobContext())
    assert any("Nothing in this extent matches" in text for text in result.warnings)
    numbers = {name: result.numbers[name] for name in ("OBJECT_COUNT", "SCORE", "AREA")}
    assert numbers == {"OBJECT_COUNT": 0.0, "SCORE": 0.0, "AREA": 0.0}
    assert not read(result.files["OUTPUT"]).any()
    assert pyogrio.read_info(result.files["POLYGONS"], layer="polygons")["features"] == 0


@pytest.mark.parametrize("view", [View.WHOLE, View.TILES])
def test_nodata_is_outside_of_the_mask(view: View, preset: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "image.tif", (150, 200))
    with rasterio.open(image, "r+") as dataset:
        pixels = dataset.read()
        pixels[:, :, :90] = 0
        dataset.write(pixels)
    result = run_job(make_job(image, preset, threshold=0.0, view=view), JobContext())
    mask, scores = read(result.files["OUTPUT"]), read(result.files["SCORES"])
    assert not mask[:, :90].any()
    assert (scores[:, :90] == 255).all()
    assert (scores[:, 90:] != 255).all()
    assert result.numbers["VALID_PIXELS"] == 150 * 110


def test_a_raster_without_data_is_named(preset: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "image.tif", (50, 70))
    with rasterio.open(image, "r+") as dataset:
        dataset.write(np.zeros((3, 50, 70), np.uint8))
    with pytest.raises(JobError) as caught:
        run_job(make_job(image, preset), JobContext())
    assert caught.value.code is ErrorCode.TILES_FAILED


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"instruction": " \n"}, "The instruction is empty."),
        ({"instruction": "[SEG] <image>"}, "The instruction is empty."),
        ({"instruction": "plane " * 700}, "word pieces; the model reads"),
        ({"threshold": 1.5}, "Threshold must lie between 0 and 1; it is 1.5."),
        ({"threshold": float("nan")}, "Threshold must lie between 0 and 1; it is nan."),
        ({"mask_raster": None, "polygon_file": None, "scores": None}, "asks for no result"),
    ],
)
def test_what_cannot_be_done_is_refused(
    members: dict[str, Any], message: str, preset: Path, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image.tif", (50, 70))
    with pytest.raises(JobError, match=message) as caught:
        run_job(make_job(image, preset, **members), JobContext())
    assert caught.value.code is ErrorCode.INVALID_JOB
    assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["image.tif"]


@pytest.mark.parametrize("method", ["clicks", "gumix"])
def test_other_methods_are_refused(method: str, preset: Path, tmp_path: Path) -> None:
    job = make_job(write_image(tmp_path / "image.tif", (50, 70)), preset)
    with pytest.raises(JobError, match=f"Method cannot be '{method}'") as caught:
        run_job(dataclasses.replace(job, method=method), JobContext())
    assert "unigeoseg" in caught.value.hint


@pytest.mark.parametrize("view", [View.WHOLE, View.TILES])
def test_a_cancel_keeps_what_was_there(view: View, preset: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "image.tif", (200, 300))
    (tmp_path / "mask.tif").write_bytes(b"an earlier result")
    fractions: list[float] = []

    def is_cancelled() -> bool:
        return bool(fractions) and fractions[-1] > 0.2

    context = JobContext(lambda done, _: fractions.append(done), is_cancelled=is_cancelled)
    with pytest.raises(CancelledError):
        run_job(make_job(image, preset, view=view), context)
    assert (tmp_path / "mask.tif").read_bytes() == b"an earlier result"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.tif", "mask.tif"]


def test_the_command_line_does_the_same_job(
    preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_image(tmp_path / "image.tif", (50, 70))
    status = main(
        ["refer", "--input", str(image), "--instruction", "the white planes", "--threshold", "0.4",
         "--task", "reasoning", "--model", str(preset), "--device", "cpu", "--stretch", "none",
         "--output", str(tmp_path / "cli.tif"), "--json"]
    )  # fmt: skip
    printed = json.loads(capsys.readouterr().out)
    assert status == 0
    assert printed["provenance"]["task"] == "reasoning"
    result = run_job(
        make_job(image, preset, threshold=0.4, task=InstructionTask.REASONING), JobContext()
    )
    assert np.array_equal(read(tmp_path / "cli.tif"), read(result.files["OUTPUT"]))
    assert printed["numbers"] == result.numbers
