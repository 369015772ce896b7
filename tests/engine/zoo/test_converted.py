from pathlib import Path

import torch
from zoo_cases import Recorder

from geoseg_qgis.engine.models.weights import file_sha256, read_state
from geoseg_qgis.engine.zoo.card import ModelCard, OtherComponent, WeightsFile
from geoseg_qgis.engine.zoo.installed import remove_preset
from geoseg_qgis.engine.zoo.receipts import converted_path, write_receipt
from geoseg_qgis.engine.zoo.registry import Origin, Preset

WEIGHTS = WeightsFile("authors/x.pt", "segassess")


def preset(folder: Path) -> Preset:
    component = OtherComponent((WEIGHTS,), {})
    card = ModelCard(
        "mine",
        "Mine",
        "1",
        "CC0-1.0",
        "For tests.",
        ("segassess",),
        segassess=component,
    )
    return Preset(card, folder, Origin.DOWNLOAD)


def test_a_converted_copy_goes_with_its_original(tmp_path: Path, recorder: Recorder) -> None:
    mine = preset(tmp_path)
    path = mine.path(WEIGHTS.file)
    path.parent.mkdir()
    torch.save({"weight": torch.ones(3)}, path)
    write_receipt(path, "0" * 64, "https://example.org/x.pt")
    read_state(path, WEIGHTS)
    sizes = [each.stat().st_size for each in (path, converted_path(path))]

    removal = remove_preset(mine, [mine], recorder.context)

    assert (removal.freed, removal.deleted) == (sum(sizes), ["x.pt"])
    assert not path.parent.exists()


def test_a_digest_measured_before_is_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one")
    write_receipt(path, "1" * 64)
    assert file_sha256(path) == "1" * 64
    path.write_bytes(b"three")
    assert file_sha256(path) != "1" * 64
