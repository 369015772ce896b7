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


def test_a_card_is_read_into_frozen_objects(tmp_path: Path) -> None:
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


def test_a_digest_and_a_commit_may_say_what_they_are() -> None:
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
        ("name", "Tiny!", "card.name must match pattern '^[a-z0-9]"),
        ("name", "t" * 65, "card.name must match pattern '^[a-z0-9]"),
        ("title", "", "card.title must not be empty, not ''"),
        ("revision", 3, "card.revision must be text, not 3."),
        ("licence", None, "card.licence is missing."),
        ("surprise", 1, "card.surprise is not a known member."),
        ("methods", [], "card.methods must have at least 1 item"),
        ("methods", "fast", "card.methods must be a list, not 'fast'."),
        ("methods", ["magic"], "card names the method 'magic'; there are gumix, mask_selection"),
        ("methods", ["sam2"], "card names the method 'sam2', which needs the member sam2."),
        ("methods", ["clicks"], "card names the method 'clicks', which needs the member language."),
        ("pixel_size.finest", 0, "0 < finest <= preferred <= coarsest"),
        (
            "pixel_size.finest",
            float("inf"),
            "card.pixel_size.finest must be a number, not Infinity",
        ),
        ("clip", 3, "card.clip must be an object, not 3."),
        ("clip.mean", [0.5, 0.5], "card.clip.mean must have at least 3 items"),
        ("clip.mean", [0.5, True, 0.5], "card.clip.mean[1] must be a number, not true."),
        ("clip.std", [0.5, 0, 0.5], "card.clip.std[1] must be greater than 0, not 0"),
        ("clip.scales", 1.5, "card.clip.scales must be a list, not 1.5"),
        ("clip.scales", [], "card.clip.scales must be a rising list of numbers from 0.25 to 4"),
        ("clip.scales", [1.0, 1.0], "card.clip.scales must be a rising list"),
        ("clip.scales", [1.5, 1.0], "card.clip.scales must be a rising list"),
        ("clip.scales", [0.0, 1.0], "card.clip.scales must be a rising list"),
        ("clip.scales", [1.0, 40.0], "card.clip.scales must be a rising list"),
        ("clip.model", 4, "card.clip.model must be a name or an object"),
        ("clip.weights.layout", "openai", "card.clip.weights must have the layout open_clip"),
        ("clip.weights.size", True, "card.clip.weights.size must be a whole number, not true."),
        ("clip.weights.size", "10", "card.clip.weights.size must be a whole number, not '10'."),
        (
            "clip.weights.size",
            0,
            "card.clip.weights.size must be greater than or equal to 1, not 0",
        ),
        ("clip.weights.sha256", "abc", "must be 64 lower-case hexadecimal digits"),
        (
            "clip.weights.url",
            "http://example.org/x",
            "card.clip.weights.url must match pattern '^https://', not 'http:",
        ),
        ("clip.weights.gated", "ask me", "card.clip.weights.gated must match pattern '^https://'"),
        ("clip.weights.revision", "main", "must be 40 lower-case hexadecimal digits"),
        ("suits", "everybody", "card.suits must be 'offline', 'laptop', 'gpu-8gb' or 'gpu-big'"),
        ("clip.weights.extra", 1, "card.clip.weights.extra is not a known member"),
        ("clip.tokenizer.kind", "words", "must be 'clip' or 'bpe', not 'words'"),
        ("clip.tokenizer.kind", "clip", "card.clip.tokenizer must name a file if its kind is bpe"),
        ("dino.weights.layout", "hf", "must have the layout timm, meta or huggingface, not 'hf'"),
        ("dino.weights", [], "card.dino.weights must be an object"),
        ("gumix", [1], "card.gumix must be an object"),
        ("memory", {"fast": "much"}, "card.memory.fast must be a whole number, not 'much'."),
        ("memory", {"sam2": 1}, "card states memory for 'sam2', which is not one of its methods"),
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
        with pytest.raises(JobError, match="must be a file inside the card's folder") as caught:
            parse_card(changed(path, file))
        assert caught.value.message.startswith(f"card.{path.removesuffix('.file')}")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("title", "t" * 5000, "card.title must have at most 2000 characters"),
        ("clip.weights.file", "f" * 5000, "card.clip.weights.file must not have names of more"),
        ("clip.weights.file", "/".join("f" * 600), "must not have names of more than 200 bytes"),
        ("clip.weights.file", "é" * 150, "must not have names of more than 200 bytes"),
        ("clip.weights.size", 10**400, "card.clip.weights.size must be less than"),
        ("clip.mean", [10**400, 0, 0], "card.clip.mean[0] must be a number"),
        ("clip.mean", [float("nan"), 0, 0], "card.clip.mean[0] must be a number, not NaN"),
        ("clip.model.embed_dim", 10**400, "card.clip.model must not hold a number of more than 64"),
        ("clip.model.vision_cfg", {"width": float("nan")}, "a number that is not finite"),
        ("dino.arguments", {"depth": "4" * 5000}, "card.dino.arguments must not hold a text of"),
        ("gumix.window", list(range(5000)), "card.gumix must not hold more than 2000 values"),
        ("clip.weights.url", "https://" + "x" * 5000, "must have at most 2000 characters"),
    ],
)
def test_what_no_card_needs_is_refused(path: str, value: Any, message: str) -> None:
    with pytest.raises(JobError) as caught:
        parse_card(changed(path, value))
    assert caught.value.code is ErrorCode.MODEL_INVALID
    assert message in caught.value.message
    assert len(caught.value.message) < 300


HOSTILE = {
    "nested": b'{"name": ' + b"[" * 100_000,
    "nested-settings": b'{"gumix": ' + b'{"a":' * 100_000,
    "long-number": b'{"name": 1' + b"0" * 400 + b"}",
    "longer-number": b'{"name": 1' + b"0" * 100_000 + b"}",
    "nan": b'{"name": NaN}',
    "surrogate": b'{"name": "\\ud800"}',
    "no-utf8": b'{"name": "\xff"}',
    "empty": b"",
    "large": b'{"name": "' + b"x" * 2_000_000 + b'"}',
    "list": b"[]",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(JobError) as caught:
        read_card(tmp_path / "card.json")
    assert caught.value.code is ErrorCode.MODEL_INVALID
    assert len(str(caught.value)) < 400
    assert len(caught.value.detail) < 4000


def test_memory_is_stated_by_method() -> None:
    assert parse_card(changed("memory", {"fast": 10**9})).memory == {"fast": 10**9}
    assert parse_card(CARD).memory == {}


def test_unreadable_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(JobError) as caught:
        read_card(tmp_path / "card.json")
    assert caught.value.code is ErrorCode.MODEL_MISSING
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(JobError, match="is not JSON"):
        read_card(tmp_path / "card.json")
    (tmp_path / "card.json").write_text("[]")
    with pytest.raises(JobError, match="must be an object"):
        read_card(tmp_path / "card.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 200}, "card.sam2.model.image_size must be a multiple of 32, not 200"),
        ({"image_size": 1024 + 32, "window_spec": [16, 4, 14, 7]}, "not a multiple of 64"),
        ({"d_model": 40}, "card.sam2.model.d_model must be a multiple of 32, not 40"),
        ({"stages": [1, 2, 3]}, "card.sam2.model.stages must have at least 4 items"),
        ({"stages": [1, 0, 3, 1]}, "card.sam2.model.stages[1] must be greater than or equal to 1"),
        ({"stages": [1, 10**7, 3, 1]}, "stages[1] must be less than or equal to 1000"),
        ({"global_att_blocks": [99]}, "block that does not exist"),
        ({"pred_obj_scores": False}, "card.sam2.model supports no pred_obj_scores but true"),
        ({"drop_path": 0.1}, "card.sam2.model.drop_path is not a known member"),
        ({"num_heads": 5}, "embed_dim that is not a multiple of num_heads"),
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
