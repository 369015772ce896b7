"""Methods are found beside their cards; a toy from a folder of tests runs like those shipped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from geoseg_qgis.engine.cli import main
from geoseg_qgis.engine.jobs.registry import run_job
from geoseg_qgis.engine.methods.open_vocabulary.method import find_method
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.zoo.registry import choose_method
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.methods import read_methods
from geoseg_qgis.protocol.source import RasterSource
from geoseg_qgis.protocol.tasks.openvocabulary import OpenVocabularyTask

ROOT = Path(__file__).parents[4]
TOYS = ROOT / "tests" / "support" / "toy_methods"
SHIPPED = ("gumix", "mask_selection", "fast", "sam3")
PALETTE = np.array(
    [[0, 0, 0], [250, 10, 5], [20, 240, 10], [5, 5, 245], [128, 120, 130]], dtype=np.uint8
)
EXPECTED = np.kron(
    np.array([[1, 2, 3, 4], [3, 4, 1, 2], [0, 1, 4, 3]], dtype=np.uint8), np.ones((20, 25), int)
).astype(np.uint8)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of toy methods, as a user would name it."""
    monkeypatch.setenv("GEOSEG_METHODS", str(TOYS))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Patches of red, green, blue and grey, and one of nodata (black)."""
    path = tmp_path / "patches.tif"
    pixels = PALETTE[EXPECTED].transpose(2, 0, 1)
    with rasterio.open(
        path, "w", driver="GTiff", height=60, width=100, count=3, dtype="uint8", nodata=0,
        crs="EPSG:32633", transform=rasterio.Affine(0.5, 0, 400000, 0, -0.5, 5000000),
    ) as dataset:  # fmt: skip
        dataset.write(pixels)
    return path


def make_job(image: Path, method: str) -> Job:
    classes = parse_classes("red; green; blue")
    task = OpenVocabularyTask(classes, class_raster=str(image.with_name("classes.tif")))
    source = RasterSource(str(image))
    return Job(source, task, method=method, device="cpu")


def labels_of(path: Path) -> NDArray[np.uint8]:
    with rasterio.open(path) as dataset:
        labels: NDArray[np.uint8] = dataset.read(1)
    return labels


@pytest.mark.slow
@pytest.mark.usefixtures("toys")
def test_a_method_from_a_folder_does_the_whole_job(image: Path) -> None:
    messages: list[str] = []
    context = JobContext(report_log=lambda _, text: messages.append(text))
    result = run_job(make_job(image, "colours"), context)
    # Grey is what none of the classes names.
    expected = np.where(EXPECTED == 4, 0, EXPECTED)
    assert np.array_equal(labels_of(image.with_name("classes.tif")), expected)
    assert [item.pixels for item in result.classes] == [1500, 1000, 1500]
    assert result.provenance["method"] == "colours"
    assert any(text.startswith("Comparing with red, green, blue, ") for text in messages)


@pytest.mark.slow
@pytest.mark.usefixtures("toys")
def test_the_command_line_runs_it(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = image.with_name("from_cli.tif")
    arguments = [
        "openvocabulary", "--input", str(image), "--classes", "red; green; blue",
        "--method", "colours", "--output", str(output), "--device", "cpu", "--json",
    ]  # fmt: skip
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["numbers"]["CLASSES_FOUND"] == 3
    assert np.array_equal(labels_of(output), np.where(EXPECTED == 4, 0, EXPECTED))


@pytest.mark.usefixtures("toys")
def test_methods_are_listed_in_the_order_of_their_cards() -> None:
    assert read_methods().names == (*SHIPPED, "colours")


def test_without_the_folder_the_method_is_unknown(image: Path) -> None:
    with pytest.raises(JobError, match="Method cannot be 'colours'") as caught:
        run_job(make_job(image, "colours"), JobContext())
    assert caught.value.hint == "Choose one of auto, gumix, mask_selection, fast, sam3."


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_card_has_its_code(name: str) -> None:
    assert callable(find_method(name))


@pytest.mark.slow
@pytest.mark.usefixtures("toys")
def test_auto_takes_the_first_method_of_the_models_card(
    tiny_preset: Path, image: Path, tmp_path: Path
) -> None:
    card = json.loads((tiny_preset / "card.json").read_text(encoding="utf-8"))
    for name, methods, chosen in (
        ("one", ["fast", "gumix"], "fast"),
        ("two", ["sam2", "mask_selection"], "mask_selection"),
        ("none", ["sam2"], "colours"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        for weights in tiny_preset.iterdir():
            (folder / weights.name).symlink_to(weights)
        (folder / "card.json").unlink()
        (folder / "card.json").write_text(json.dumps({**card, "methods": methods}))
        assert choose_method(str(folder), read_methods().names) == chosen
    assert choose_method("", read_methods().names) == "gumix"
    result = run_job(make_job(image, "auto"), JobContext())
    assert result.provenance["method"] == "gumix"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "FileNotFoundError"),
        ("import nowhere_at_all\n", "No module named 'nowhere_at_all'"),
        ("register = None\n", "KeyError"),
    ],
)
def test_code_that_cannot_be_used_is_named(
    code: str | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOSEG_METHODS", str(tmp_path))
    card = {"name": "broken", "title": "Broken", "help": "For tests.", "order": 9}
    (tmp_path / "broken.json").write_text(json.dumps(card), encoding="utf-8")
    if code is not None:
        (tmp_path / "broken.py").write_text(code, encoding="utf-8")
    with pytest.raises(JobError, match=words) as caught:
        find_method("broken")
    assert caught.value.code is ErrorCode.INVALID_JOB
    assert str(tmp_path / "broken.json") in caught.value.hint


def test_a_method_in_a_folder_of_its_own_imports_its_siblings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOSEG_METHODS", str(tmp_path))
    folder = tmp_path / "split"
    folder.mkdir()
    card = {"name": "split", "title": "Split", "help": "For tests.", "order": 9}
    (folder / "method.json").write_text(json.dumps(card), encoding="utf-8")
    (folder / "part.py").write_text("def match(request, context):\n    return None\n")
    (folder / "method.py").write_text(
        "from geoseg_qgis.engine.methods.open_vocabulary.method import register\n"
        "from .part import match\n"
        'register("split")(match)\n'
    )
    assert find_method("split").__module__ == "geoseg_method_split.part"


def test_the_guide_shows_the_very_same_files() -> None:
    guide = (ROOT / "docs" / "new-method.md").read_text(encoding="utf-8")
    for language, name in (("json", "colours.json"), ("python", "colours.py")):
        text = (TOYS / name).read_text(encoding="utf-8")
        assert f"```{language}\n{text}```\n" in guide
