"""Runs become a preset one component at a time, and leave a model page of their own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import timm
import torch

from geoseg_qgis.engine.models.device import choose_device
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.models.segassess import SegAssess
from geoseg_qgis.engine.models.segassess.component import load_component
from geoseg_qgis.engine.models.unigeoseg.checkpoint import load_checkpoint
from geoseg_qgis.engine.models.unigeoseg.sequence import split_dialogue
from geoseg_qgis.engine.models.unigeoseg.template import UNIFIED, encode_template
from geoseg_qgis.engine.zoo import registry
from geoseg_qgis.engine.zoo.card import OtherComponent, read_card
from geoseg_qgis.engine.zoo.registry import open_preset
from training import train_clip, train_dino, train_sam2
from training.export import main
from training.exported_networks import CLIP, DINO, SAM2, SEGASSESS, UNET
from training.model_pages import (
    component_section,
    measured_lines,
    training_line,
    with_section,
    write_run_page,
)
from training.preset_folder import enabled_methods, packed, put_member, write_json
from training.segassess.built_in import BUILT_IN as BUILT_IN_SEGASSESS
from training.segassess.evaluate import EVALUATION_FILE
from training.segassess.train import PresetNetwork, load_run
from training.trainer import LOG_FILE, Plan, Trainer
from training.unigeoseg.built_in import build_network, build_tokenizer, known_words
from training.unigeoseg.scene_batches import SceneBatches
from training.unigeoseg.stored_scenes import stored_scenes
from training.unigeoseg.training_step import map_losses, step_losses

BUILT_IN = Path(registry.__file__).parent / "builtin" / "offline-small"
DINO_ARGUMENTS = {**train_dino.ARGUMENTS, "embed_dim": 32, "num_heads": 1, "depth": 4}


def write_run(folder: Path, average: dict[str, torch.Tensor], facts: dict[str, object]) -> Path:
    """Write a checkpoint as the loop leaves it."""
    folder.mkdir(exist_ok=True)
    state = {"average": average, "step": 300, "seconds": 90.0 * 60, "facts": facts}
    torch.save(state, folder / "checkpoint.pt")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of three networks with random values; those of CLIP and DINOv3 are narrow."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("runs")
    clip, _, config = train_clip.build(folder / "clip", patch=32, width=64, layers=1)
    dino = train_dino.LandCoverFeatures(
        timm.create_model(train_dino.MODEL, num_classes=0, **DINO_ARGUMENTS)
    )
    sam2 = train_sam2.build()
    sam2.surfaces = torch.nn.Linear(2, 2)
    architecture = asdict(train_sam2.ARCHITECTURE)
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in architecture.items()}
    start = {"seed": 3, "batch": 4, "device": "cuda", "generated": 0.25, "started_from": "sam2-a"}
    return {
        "clip": write_run(folder / "clip", clip.state_dict(), {"config": config, "seed": 1}),
        "dino": write_run(folder / "dino", dino.state_dict(), {"arguments": DINO_ARGUMENTS}),
        "sam2": write_run(folder / "sam2", sam2.state_dict(), {"architecture": plain, **start}),
    }


def copy_built_in(folder: Path) -> dict[str, bytes]:
    """Copy the built-in preset and return its files."""
    files = {str(path.relative_to(BUILT_IN)): path for path in BUILT_IN.rglob("*")}
    contents = {name: path.read_bytes() for name, path in files.items() if path.is_file()}
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return contents


def sections(page: str) -> dict[str, str]:
    """Return the parts of a page by heading; the head is called ""."""
    head, *rest = page.split("\n## ")
    return {"": head, **{part.partition("\n")[0]: part for part in rest}}


def test_a_fresh_folder_is_a_preset(runs: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "fresh"
    main([*(f"--{name}={run}" for name, run in runs.items()), "--out", str(folder)])
    preset = open_preset(str(folder))
    assert preset.missing_files() == []
    assert preset.card.methods == ("gumix", "fast", "mask_selection", "sam2")
    assert preset.card.gumix["window"] == 224
    loaded = LoadedPreset(preset, choose_device("cpu"))
    assert loaded.clip.encode_text(["road", "water"]).shape == (2, 128)
    assert loaded.clip.unknown_words("road; xylophone") == ["xylophone"]
    layers = loaded.dino.last_layers(torch.rand(1, 3, 32, 32))
    assert [tuple(layer.shape) for layer in layers] == [(1, 16, 32)] * 4
    assert loaded.sam2.encode(torch.rand(1, 3, 64, 64)) is not None
    page = sections((folder / "MODEL.md").read_text())
    assert list(page) == ["", "Training data", "CLIP", "DINOv3", "SAM 2"]
    for component, title in (("clip", "CLIP"), ("dino", "DINOv3"), ("sam2", "SAM 2")):
        weights = preset.card.weights_of(component)[0]
        assert (
            f"- `{weights.file}`: {weights.size:,} bytes, `sha256:{weights.sha256}`" in page[title]
        )
        assert "Not measured yet." in page[title]
    assert "- 300 steps in 90 minutes, seed 1, from random values.\n" in page["CLIP"]
    assert (
        "- 300 steps of 4 crops in 90 minutes on a graphics card, seed 3, "
        "from the weights of the run sam2-a, 20% of the images generated.\n"
    ) in page["SAM 2"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "MODEL.md",
        "bpe.txt.gz",
        "card.json",
        "clip.safetensors",
        "dino.safetensors",
        "sam2.safetensors",
        "vocabulary.json",
    ]


def test_one_component_changes_and_the_rest_stays(runs: dict[str, Path], tmp_path: Path) -> None:
    before = copy_built_in(tmp_path)
    measured = tmp_path / "numbers.json"
    measured.write_text('{"DINOv3": {"Unseen, mIoU": 0.5}, "SAM 2": {"Unseen, IoU": "0.25"}}')
    main(["--dino", str(runs["dino"]), "--out", str(tmp_path), "--measured", str(measured)])
    for name in set(before) - {"card.json", "MODEL.md", "dino.safetensors"}:
        assert (tmp_path / name).read_bytes() == before[name], name
    assert (tmp_path / "dino.safetensors").read_bytes() != before["dino.safetensors"]
    old = json.loads(before["card.json"])
    card = json.loads((tmp_path / "card.json").read_bytes())
    assert list(card) == list(old)
    assert [name for name in card if card[name] != old[name]] == ["dino"]
    assert card["dino"]["arguments"] == DINO_ARGUMENTS
    old_page = sections(before["MODEL.md"].decode())
    page = sections((tmp_path / "MODEL.md").read_text())
    assert list(page) == list(old_page)
    assert [name for name in page if page[name] != old_page[name]] == ["DINOv3"]
    assert card["dino"]["weights"]["sha256"] in page["DINOv3"]
    assert "\n- Unseen, mIoU: 0.5\n" in page["DINOv3"]
    assert measured_lines(tmp_path, DINO) == ["- Unseen, mIoU: 0.5"]


def test_numbers_stay_without_new_ones(runs: dict[str, Path], tmp_path: Path) -> None:
    copy_built_in(tmp_path)
    lines = measured_lines(tmp_path, SAM2)
    assert lines
    assert all("after one click" in line for line in lines)
    main(["--sam2", str(runs["sam2"]), "--out", str(tmp_path)])
    assert measured_lines(tmp_path, SAM2) == lines
    assert "from the weights of the run sam2-a" in (tmp_path / "MODEL.md").read_text()


@pytest.mark.parametrize(
    ("numbers", "message"),
    [("{", "cannot be used"), ("[]", "not an object"), ('{"DINO": {}}', "names 'DINO'")],
)
def test_numbers_of_nothing_are_refused(
    numbers: str,
    message: str,
    runs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measured = tmp_path / "numbers.json"
    measured.write_text(numbers)
    out = tmp_path / "out"
    with pytest.raises(SystemExit):
        main(["--clip", str(runs["clip"]), "--out", str(out), "--measured", str(measured)])
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_nothing_to_export_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--clip", "run", "--out", str(tmp_path), "--measured", str(tmp_path / "none.json")])
    assert "none.json cannot be used" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path)])
    assert (
        "Give one of --clip, --dino, --sam2, --segassess, --unigeoseg." in capsys.readouterr().err
    )
    assert list(tmp_path.iterdir()) == []


def test_the_built_in_page_tells_of_the_built_in_files() -> None:
    page = sections((BUILT_IN / "MODEL.md").read_text(encoding="utf-8"))
    assert list(page) == ["", "Training data", "CLIP", "DINOv3", "SAM 2", "SegAssess", "UniGeoSeg"]
    card = read_card(BUILT_IN / "card.json")
    for name, title in zip(card.components, ("CLIP", "DINOv3", "SAM 2", "UniGeoSeg", "SegAssess")):
        weights = card.weights_of(name)[-1]
        entry = f"- `{weights.file}`: {weights.size:,} bytes, `sha256:{weights.sha256}`\n"
        assert entry in page[title]
        assert "\n### Measured on unseen images\n" in page[title]
        assert "\n### Limits\n" in page[title]
        assert " steps" in page[title]


def test_sections_are_replaced_in_place() -> None:
    weights = {"file": "w", "size": 1000, "sha256": "sha256:0"}
    section = component_section(SEGASSESS, weights, ["ten steps"], ["- F1: 0.5"])
    page = "# X\n\n## SegAssess\n\n### Limits\n\n- superseded\n\n## Zoo\n\n\nkept \n"
    changed = with_section(page, section)
    assert changed == f"# X\n\n{section}\n## Zoo\n\n\nkept \n"
    assert with_section(changed, section) == changed
    assert with_section("# X\n", section) == f"# X\n\n{section}"
    assert with_section(f"# X\n\n{section}", section) == f"# X\n\n{section}"


def test_methods_keep_their_order() -> None:
    both: dict[str, object] = {"clip": {}, "dino": {}}
    assert enabled_methods({"methods": [], **both}, "clip") == ["gumix", "fast", "mask_selection"]
    known = {"methods": ["clicks", "sam2", "fast"], **both}
    assert enabled_methods(known, "dino") == ["clicks", "gumix", "sam2", "fast"]
    assert enabled_methods({"methods": ["fast"], "dino": {}}, "dino") == ["fast"]
    late = {"methods": ["segassess", "unigeoseg"], "sam2": {}}
    assert enabled_methods(late, "sam2") == ["sam2", "segassess", "unigeoseg"]


def test_defaults_leave_a_card_alone(tmp_path: Path) -> None:
    put_member(tmp_path, "dino", {"model": 1}, {"gumix": {"window": 8}})
    put_member(tmp_path, "dino", {"model": 2}, {"gumix": {"window": 9}})
    card = json.loads((tmp_path / "card.json").read_text())
    assert (card["dino"], card["gumix"]) == ({"model": 2}, {"window": 8})
    assert card["methods"] == []


def test_a_run_leaves_a_page(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"network": torch.nn.Linear(2, 1), "heads": torch.nn.Linear(1, 1)})
    run = tmp_path / "dino-x"
    trainer = Trainer(model, Plan(run, minutes=2), {"seed": 5, "batch": 16})
    trainer.step, trainer.seconds = 150, 119.6
    trainer.save()
    entries = [
        {"step": 50, "seconds": 40.0, "inside": 1.5, "total": 2.5},
        {"step": 100, "seconds": 80.0, "inside": 0.25, "total": 1.125},
    ]
    (run / LOG_FILE).write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    write_run_page(run, DINO, validation={"inside": 0.5})
    page = sections((run / "MODEL.md").read_text())
    assert list(page) == ["", "Training data", "DINOv3"]
    assert page[""].startswith("# DINOv3, run dino-x\n")
    assert "(CC-BY-4.0; ODbL-1.0)" in page["Training data"]
    assert "- 150 steps of 16 crops in 2 minutes, seed 5, from random values.\n" in page["DINOv3"]
    losses = "mean of at most 50 steps up to step 100\n\n- inside: 0.250\n- total: 1.125\n"
    assert losses in page["DINOv3"]
    assert "### Validation images, averaged weights\n\n- inside: 0.500\n" in page["DINOv3"]
    assert f"- {DINO.limits[0]}\n" in page["DINOv3"]

    export = trainer.average
    content = packed({name: export[f"network.{name}"] for name in ("weight", "bias")})
    assert f"- `dino.safetensors`: {len(content)} bytes" in page["DINOv3"]


def test_a_short_run_without_scenes_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run-a", {"w": torch.ones(3)}, {"generated": 0.0})
    for component in (UNET, CLIP):
        write_run_page(run, component)
        text = (run / "MODEL.md").read_text()
        assert "The run was too short for a line of its log.\n" in text
        assert "generator" not in text


def test_the_page_of_a_run_names_what_its_export_ships(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    main(["--clip", str(runs["clip"]), "--sam2", str(runs["sam2"]), "--out", str(tmp_path)])
    card = json.loads((tmp_path / "card.json").read_text())
    for name, component in (("clip", CLIP), ("sam2", SAM2)):
        write_run_page(runs[name], component)
        assert card[name]["weights"]["sha256"] in (runs[name] / "MODEL.md").read_text()


def test_a_run_on_two_devices_names_both() -> None:
    line = training_line({"step": 2, "seconds": 60.0, "facts": {"device": "cuda and cpu"}})
    assert line == "2 steps in 1 minutes on a graphics card and the CPU, from random values."


def test_paths_of_the_machine_stay_out_of_pages() -> None:
    facts = {"started_from": "/home/me/runs/sam2-a"}
    line = training_line({"step": 1, "seconds": 60.0, "facts": facts})
    assert line == "1 steps in 1 minutes, from the weights of the run sam2-a."


def test_segassess_becomes_part_of_a_preset(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(4)
    preset = tmp_path / "preset"
    network = PresetNetwork(SegAssess(BUILT_IN_SEGASSESS))
    run = write_run(tmp_path / "run", network.state_dict(), {"seed": 1, "batch": 8})
    (run / EVALUATION_FILE).write_text("{}")
    main(["--segassess", str(run), "--out", str(preset)])
    first = (preset / "MODEL.md").read_text()
    assert "- 300 steps of 8 crops of 256 pixels in 90 minutes, seed 1, from random" in first
    assert "| F1 mean of trusting the mask |" in first
    (run / EVALUATION_FILE).unlink()
    main(["--segassess", str(run), "--out", str(preset)])
    assert (preset / "MODEL.md").read_text() == first
    card = read_card(preset / "card.json")
    assert card.methods == ("segassess",)
    (weights,) = card.weights_of("segassess")
    content = (preset / SEGASSESS.file).read_bytes()
    assert weights.size == len(content) < 3_400_000
    assert weights.sha256 == hashlib.sha256(content).hexdigest()
    component = card.others["segassess"]
    assert isinstance(component, OtherComponent)
    loaded = load_component(component, preset, torch.device("cpu"), torch.float32)
    assert loaded.settings.tile == 256
    assert loaded.module.configuration == BUILT_IN_SEGASSESS
    images, masks = torch.rand(1, 3, 96, 96), torch.zeros(1, 1, 96, 96)
    masks[..., 20:60, 30:70] = 1
    with torch.inference_mode():
        stored = loaded.module(images, masks).logits.softmax(1)
        exact = load_run(run)(images, masks).logits.softmax(1)
    assert (stored - exact).abs().mean() < 0.01


def test_unigeoseg_becomes_part_of_a_preset(tmp_path: Path) -> None:
    """A few steps on two scenes lower the loss; the export is a checkpoint folder of its card."""
    run, preset = tmp_path / "run", tmp_path / "preset"
    scenes = stored_scenes(tmp_path, (5, 6))
    tokenizer = build_tokenizer(run, scenes)
    network = build_network(tokenizer, 0, 64)
    pieces = split_dialogue(encode_template(UNIFIED, tokenizer))
    facts = {"config": json.dumps(network.model.config.to_json())}
    trainer = Trainer(network, Plan(run, steps=2, warmup_steps=2, blocks=()), facts)
    batch = SceneBatches(scenes, [], tokenizer, 64, 0).draw(1, 3, 1.0)
    trainer.run(lambda _: step_losses(network, batch, pieces))
    again = build_network(tokenizer, 0, 64)
    first, last = (float(map_losses(one, batch)["total"].detach()) for one in (again, network))
    assert last < first
    write_json(run / "vocabulary.json", {"words": known_words(scenes)})
    card = '{"name": "x", "title": "X", "description": "text", "methods": ["sam2"]}'
    preset.mkdir()
    (preset / "card.json").write_text(card, encoding="utf-8")
    for _ in range(2):
        main(["--unigeoseg", str(run), "--out", str(preset)])
    words = json.loads((preset / "unigeoseg" / "vocabulary.json").read_text())["words"]
    assert {"buildings", "leftmost", "point"} <= set(words)
    written = json.loads((preset / "card.json").read_text())
    assert written["methods"] == ["sam2", "unigeoseg"]
    for file in written["unigeoseg"]["weights"]:
        content = (preset / file["file"]).read_bytes()
        assert file["size"] == len(content)
        assert file["sha256"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    checkpoint = load_checkpoint(preset / "unigeoseg")
    expected = {name.removeprefix("model."): value for name, value in trainer.average.items()}
    for name, value in checkpoint.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0.02, atol=0.02)
    text = (preset / "MODEL.md").read_text(encoding="utf-8")
    assert text.startswith("# X\n\ntext\n\n## Training data\n")
    assert text.count("## UniGeoSeg") == 1
    assert "Not measured yet." in text
