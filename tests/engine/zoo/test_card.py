import copy
import json
from pathlib import Path
from typing import Any

import pytest

from geoseg_qgis.engine.zoo import architecture as architecture_module
from geoseg_qgis.engine.zoo.architecture import parse_sam2_architecture
from geoseg_qgis.engine.zoo.card import PixelSize, TokenizerChoice, parse_card, read_card
from geoseg_qgis.engine.zoo.vocabulary import Vocabulary
from geoseg_qgis.protocol.errors import ErrorCode, JobError

DIGEST = "0123456789abcdef" * 4
WEIGHTS = {"file": "weights/clip.safetensors", "layout": "open_clip", "size": 10, "sha256": DIGEST}
CARD: dict[str, Any] = {
    "name": "tiny-1.0",
    "title": "Tiny",
    "revision": "3",
    "licence": "CC0-1.0",
    "description": "For tests.",
    "methods": ["gumix", "fast"],
    "pixel_size": {"preferred": 0.5, "finest": 0.1, "coarsest": 2},
    "vocabulary": {"file": "vocabulary.json"},
    "clip": {
        "model": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {}},
        "weights": WEIGHTS,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "tokenizer": {"kind": "bpe", "file": "bpe.txt.gz", "context_length": 32},
    },
    "dino": {
        "model": "vit_small_patch16_dinov3_qkvb",
        "arguments": {"depth": 4},
        "weights": {"file": "dino.safetensors", "layout": "timm"},
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
    },
    "sam2": None,
    "gumix": {"window": 224},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    card = copy.deepcopy(CARD)
    *parents, last = path.split(".")
    part = card
    for name in parents:
        part = part[name]
    part[last] = value
    return card


def test_a_card_is_read_into_frozen_parts(tmp_path: Path) -> None:
    path = tmp_path / "my-model" / "card.json"
    path.parent.mkdir()
    path.write_text(json.dumps(CARD))

    card = read_card(path)

    assert (card.name, card.revision, card.methods) == ("tiny-1.0", "3", ("gumix", "fast"))
    assert card.pixel_size == PixelSize(0.5, 0.1, 2.0)
    assert card.components == ("clip", "dino")
    assert card.clip is not None
    assert card.clip.tokenizer == TokenizerChoice("bpe", "bpe.txt.gz", 32)
    assert card.clip.weights.sha256 == DIGEST
    assert card.clip.scales == (1.0,)
    assert parse_card(changed("clip.scales", [1, 1.5])).clip.scales == (1.0, 1.5)
    assert card.weights_of("dino")[0].size is None
    assert [weights.file for weights in card.files] == [WEIGHTS["file"], "dino.safetensors"]
    assert card.total_size is None
    assert card.weights_of("sam2") == ()
    assert dict(card.gumix) == {"window": 224}
    assert card == parse_card(CARD)


def test_a_digest_and_a_commit_may_carry_what_they_are() -> None:
    card = parse_card(changed("clip.weights.sha256", f"sha256:{DIGEST}"))
    assert card.weights_of("clip")[0].sha256 == DIGEST
    for revision in (DIGEST[:40], f"commit:{DIGEST[:40]}"):
        card = parse_card(changed("clip.weights.revision", revision))
        assert card.weights_of("clip")[0].revision == DIGEST[:40]


def test_components_with_their_own_loader_keep_their_settings() -> None:
    data = changed("methods", ["segassess"])
    data["segassess"] = {
        "weights": [
            {"file": "a.pth", "layout": "lightning"},
            {"file": "b.pth", "layout": "lightning"},
        ],
        "variant": "constrained",
    }
    card = parse_card(data)
    assert [weights.file for weights in card.weights_of("segassess")] == ["a.pth", "b.pth"]
    assert card.others["segassess"].settings == {"variant": "constrained"}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("name", "Tiny!", "card.name is 'Tiny!'"),
        ("title", "", "card.title is '', not a text"),
        ("revision", 3, "card.revision is 3, not a text"),
        ("surprise", 1, "card.surprise is not a known member"),
        ("methods", [], "card.methods is empty"),
        ("methods", ["magic"], "names 'magic'"),
        ("methods", ["sam2"], "names 'sam2', but there is no sam2"),
        ("methods", ["clicks"], "names 'clicks', but there is no language"),
        ("pixel_size.finest", 0, "0 < finest <= preferred <= coarsest"),
        ("pixel_size.finest", float("inf"), "card.pixel_size.finest is inf, not a number"),
        ("clip.mean", [0.5, 0.5], "card.clip.mean is [0.5, 0.5], not a list of 3 numbers"),
        ("clip.std", [0.5, 0, 0.5], "card.clip.std is not positive"),
        ("clip.scales", 1.5, "card.clip.scales is 1.5, not a list of numbers"),
        ("clip.scales", [], "card.clip.scales is not a rising list of numbers from 0.25 to 4"),
        ("clip.scales", [1.0, 1.0], "card.clip.scales is not a rising list"),
        ("clip.scales", [1.5, 1.0], "card.clip.scales is not a rising list"),
        ("clip.scales", [0.0, 1.0], "card.clip.scales is not a rising list"),
        ("clip.scales", [1.0, 40.0], "card.clip.scales is not a rising list"),
        ("clip.model", 4, "card.clip.model is neither a name nor an object"),
        ("clip.weights.layout", "openai", "not one of open_clip"),
        ("clip.weights.size", True, "card.clip.weights.size is True, not an integer"),
        ("clip.weights.sha256", "abc", "is not 64 lower-case hexadecimal digits"),
        ("clip.weights.url", "http://example.org/x", "does not begin with https://"),
        ("clip.weights.gated", "ask me", "card.clip.weights.gated does not begin with https://"),
        ("clip.weights.revision", "main", "is not the 40 hexadecimal digits of a commit"),
        ("suits", "everybody", "not one of offline, laptop, gpu-8gb, gpu-big"),
        ("clip.weights.extra", 1, "card.clip.weights.extra is not a known member"),
        ("clip.tokenizer.kind", "words", "is 'words', not clip or bpe"),
        ("dino.weights.layout", "hf", "not one of timm, meta, huggingface"),
        ("dino.weights", [], "card.dino.weights is [], not an object"),
        ("gumix", [1], "card.gumix is [1], not an object"),
    ],
)
def test_a_member_that_does_not_fit_is_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(JobError) as caught:
        parse_card(changed(path, value))
    assert caught.value.code is ErrorCode.MODEL_INVALID
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "file",
    ["../x", "/etc/passwd", "a/../../x", "C:/x", "a\\b", "..", ".", "a\0b", "file:x"],
)
def test_a_file_cannot_lie_outside_the_folder(file: str) -> None:
    for path in ("clip.weights.file", "vocabulary.file", "clip.tokenizer.file"):
        with pytest.raises(JobError, match="no file inside the card's folder"):
            parse_card(changed(path, file))


def test_unreadable_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(JobError) as caught:
        read_card(tmp_path / "card.json")
    assert caught.value.code is ErrorCode.MODEL_MISSING
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(JobError, match="is not JSON"):
        read_card(tmp_path / "card.json")
    (tmp_path / "card.json").write_text("[]")
    with pytest.raises(JobError, match="does not hold a JSON object"):
        read_card(tmp_path / "card.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 200}, "image_size is 200, not a multiple of 32"),
        ({"d_model": 40}, "d_model is 40"),
        ({"stages": [1, 2, 3]}, "not a list of 4 integers"),
        ({"stages": [1, 0, 3, 1]}, "empty stage"),
        ({"global_att_blocks": [99]}, "block that does not exist"),
        ({"pred_obj_scores": False}, "the only value supported"),
        ({"drop_path": 0.1}, "is not a known member"),
        ({"num_heads": 5}, "embed_dim is not a multiple of num_heads"),
    ],
)
def test_an_impossible_sam2_architecture_is_refused(change: dict[str, Any], message: str) -> None:
    named = architecture_module.ARCHITECTURES / "sam2_hiera_t.json"
    data = {**json.loads(named.read_text()), **change}
    with pytest.raises(JobError) as caught:
        parse_sam2_architecture(data, "card.sam2.model")
    assert message in caught.value.message


def test_named_architectures_have_the_published_numbers() -> None:
    large = parse_sam2_architecture("sam2_hiera_l", "card")
    assert (large.embed_dim, large.num_heads, large.stages) == (144, 2, (2, 6, 36, 4))
    assert large.channel_list == [1152, 576, 288, 144]
    with pytest.raises(JobError, match="sam2_hiera_b_plus, sam2_hiera_l, sam2_hiera_s"):
        parse_sam2_architecture("sam2_hiera_xl", "card")


def test_unknown_words_are_listed_once_in_order(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(json.dumps({"words": ["road", "Roof"], "classes": {"bare soil": ["earth"]}}))
    vocabulary = Vocabulary.read(path)
    assert vocabulary.unknown_words("Roads, roof; bare-soil: runway, roads") == ["roads", "runway"]
    assert vocabulary.similar_words("roads") == ["road"]
    assert vocabulary.classes == {"bare soil": ["earth"]}
