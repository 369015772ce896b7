"""Every card that the package ships for download."""

import json
import re
from pathlib import Path

import pytest

from geoseg_qgis.engine.zoo import registry
from geoseg_qgis.engine.zoo.card import SUITS, ModelCard, WeightsFile, read_card
from geoseg_qgis.engine.zoo.methods import method_needs
from geoseg_qgis.engine.zoo.trust import may_be_trusted

PATHS = sorted((Path(registry.__file__).parent / "cards").glob("*.json"))
CARDS = {path.stem: read_card(path) for path in PATHS}
each_card = pytest.mark.parametrize("card", CARDS.values(), ids=list(CARDS))

# Bytes and SHA-256 of the files published under dl.fbaipublicfiles.com/segment_anything_2.
SAM2_FILES = {
    "sam2_hiera_tiny.pt": (155_906_050, "65b50056"),
    "sam2_hiera_small.pt": (184_309_650, "95949964"),
    "sam2_hiera_base_plus.pt": (None, "d0bb7f23"),
    "sam2_hiera_large.pt": (897_952_466, "7442e4e9"),
    "sam2.1_hiera_tiny.pt": (156_008_466, "7402e0d8"),
    "sam2.1_hiera_small.pt": (184_416_285, "6d1aa6f3"),
    "sam2.1_hiera_base_plus.pt": (323_606_802, "a2345aed"),
    "sam2.1_hiera_large.pt": (898_083_611, "2647878d"),
}
SIZES = ("tiny", "small", "base-plus", "large")
PRESETS = {
    *(f"openai-{name}" for name in ("b32", "b16", "l14", "l14-336")),
    *(f"laion-{name}" for name in ("b16", "l14", "h14")),
    *(f"georsclip-{name}" for name in ("b32", "l14", "l14-336")),
    *(f"remoteclip-{name}" for name in ("b32", "l14")),
    *(f"gumix-{name}" for name in ("paper", "huggingface", "timm", "light")),
    *(f"sam{number}-{name}" for number in ("2", "2.1") for name in SIZES),
    *(f"segassess-{name}" for name in ("inria", "crowdai", "deepglobe", "gid", "baqs", "waqs")),
    *(f"qwen3-vl-{name}" for name in ("2b", "4b", "8b")),
    "farslip1-b16",
    "sam3",
    "unigeoseg",
}


def test_the_presets_are_these() -> None:
    assert set(CARDS) == PRESETS


@each_card
def test_a_card_says_what_a_user_must_know(card: ModelCard) -> None:
    path = next(path for path in PATHS if path.stem == card.name)
    # What the reader of cards did not take would have been refused as an unknown member.
    assert read_card(path) == card
    assert len(card.title) < 60
    assert card.description.endswith(".")
    assert card.licence.strip()
    assert card.suits in SUITS
    assert set(card.methods) <= set(method_needs())


@each_card
def test_a_cards_files_can_be_got_somewhere(card: ModelCard) -> None:
    for weights in card.files:
        assert "/" in weights.file
        if weights.repository:
            assert weights.repository_file is not None
            assert weights.file == f"{weights.repository}/{Path(weights.repository_file).name}"
        stated = weights.sha256 is not None or weights.revision is not None
        checked = stated or may_be_trusted(weights)
        fetched = (weights.url is not None or weights.repository is not None) and checked
        assert fetched or weights.note, weights.file
        # A file that nobody can check beforehand tells its reader so.
        assert weights.size is not None or weights.note or weights.layout == "json", weights.file


@each_card
def test_the_size_of_a_preset_is_the_sum_of_its_files(card: ModelCard) -> None:
    written = json.loads(next(path for path in PATHS if path.stem == card.name).read_text())
    sizes = [int(size) for size in re.findall(r'"size": (\d+)', json.dumps(written))]
    assert len(card.files) == len(re.findall(r'"file": ', json.dumps(written)))
    if len(sizes) == len(card.files):
        assert card.total_size == sum(sizes)
    else:
        assert card.total_size is None


def test_files_that_presets_share_are_described_alike() -> None:
    seen: dict[str, WeightsFile] = {}
    shared = 0
    for card in CARDS.values():
        for weights in card.files:
            shared += weights.file in seen
            assert seen.setdefault(weights.file, weights) == weights
    assert shared > 20
    digests = [weights.sha256 for weights in seen.values() if weights.sha256 is not None]
    large = [weights.sha256 for weights in seen.values() if (weights.size or 0) > 1 << 30]
    assert len(set(large)) == len(large)
    assert len(digests) > len(large)


@pytest.mark.parametrize("file", SAM2_FILES)
def test_sam2_files_are_the_published_ones(file: str) -> None:
    size, start = SAM2_FILES[file]
    found = [
        weights
        for card in CARDS.values()
        for weights in card.weights_of("sam2")
        if weights.file.endswith(f"/{file}")
    ]
    assert found
    for weights in found:
        assert weights.size == size
        assert (weights.sha256 or "").startswith(start)
        assert (weights.url or "").endswith(f"/{file}")


def test_the_paper_preset_names_the_papers_files() -> None:
    files = {part: CARDS["gumix-paper"].weights_of(part)[0] for part in ("clip", "dino", "sam2")}
    assert files["clip"].file.endswith("/RS5M_ViT-H-14.pt")
    assert (files["clip"].sha256 or "").startswith("62a3e79df8868759")
    assert (files["dino"].sha256 or "").startswith("eadcf0ff")
    assert files["sam2"].file.endswith("/sam2_hiera_large.pt")


def test_gated_files_name_the_page_that_grants_access() -> None:
    gated = {
        name: {weights.gated for weights in card.files} - {None} for name, card in CARDS.items()
    }
    assert {name: pages for name, pages in gated.items() if pages} == {
        "sam3": {"https://huggingface.co/facebook/sam3"},
        "gumix-huggingface": {"https://huggingface.co/facebook/dinov3-vitl16-pretrain-sat493m"},
    }
