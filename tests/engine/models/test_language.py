import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_folders import FOLDER, write_card, write_language
from tokenizers import Tokenizer

from geoseg_qgis.engine.models.device import choose_device
from geoseg_qgis.engine.models.language import LanguageModel, build_language, load_language
from geoseg_qgis.engine.models.meta_init import build_empty
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.zoo.card import parse_card
from geoseg_qgis.engine.zoo.registry import Origin, Preset, open_preset
from geoseg_qgis.protocol.errors import ErrorCode, JobError

CPU = torch.device("cpu")
SYSTEM = "Answer in JSON."
PROMPT = "Where is the pool? Öl"

# The sizes of the published networks: width, layers, heads, inner width, then those of the vision
# tower and the layers it hands on, and whether the word table is the classifier too.
PUBLISHED: dict[str, tuple[Any, ...]] = {
    "qwen3-vl-2b": (2048, 28, 16, 6144, 24, 1024, 4096, [5, 11, 17], True),
    "qwen3-vl-4b": (2560, 36, 32, 9728, 24, 1024, 4096, [5, 11, 17], True),
    "qwen3-vl-8b": (4096, 36, 32, 12288, 27, 1152, 4304, [8, 16, 24], False),
}
PARAMETERS = {
    "qwen3-vl-2b": 2_127_532_032,
    "qwen3-vl-4b": 4_437_815_808,
    "qwen3-vl-8b": 8_767_123_696,
}


def published_configuration(name: str) -> dict[str, Any]:
    """Return a configuration in the form of its release, older than the installed library."""
    width, layers, heads, inner, depth, vision, vision_inner, handed_on, tied = PUBLISHED[name]
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "tie_word_embeddings": tied,
        "transformers_version": "4.57.0.dev0",
        "text_config": {
            "model_type": "qwen3_vl_text",
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "intermediate_size": inner,
            "vocab_size": 151936,
            "dtype": "bfloat16",
            "rope_scaling": {
                "mrope_interleaved": True,
                "mrope_section": [24, 20, 20],
                "rope_type": "default",
            },
            "rope_theta": 5000000,
        },
        "vision_config": {
            "model_type": "qwen3_vl",
            "depth": depth,
            "hidden_size": vision,
            "intermediate_size": vision_inner,
            "num_heads": 16,
            "out_hidden_size": width,
            "deepstack_visual_indexes": handed_on,
        },
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_files_hold_these_networks(name: str) -> None:
    tied = PUBLISHED[name][-1]
    module = build_empty(lambda: build_language(published_configuration(name)))
    state = module.state_dict()
    stored = {key: value for key, value in state.items() if not (tied and key == "lm_head.weight")}
    parameters = sum(value.numel() for value in stored.values())
    assert parameters == PARAMETERS[name]
    # bfloat16 values, and a header of some names in each file.
    shards = [
        weights.size or 0
        for weights in open_preset(name).card.weights_of("language")
        if weights.file.endswith(".safetensors")
    ]
    assert 0 < sum(shards) - 2 * parameters < 100_000
    assert not any(buffer.is_meta for buffer in module.buffers())
    rotary = module.model.language_model.rotary_emb
    assert rotary.inv_freq[1].item() == pytest.approx(5e6 ** (-1 / 64))
    assert rotary.mrope_section == [24, 20, 20]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[LanguageModel, Any, Tokenizer]:
    folder = tmp_path_factory.mktemp("language")
    component, reference, tokenizer = write_language(
        folder, shards=("a.safetensors", "b.safetensors")
    )
    return load_language(component, folder, CPU), reference, tokenizer


def picture(height: int = 96, width: int = 64) -> np.ndarray:
    pixels: np.ndarray = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return pixels


def conversation(places: int) -> str:
    return (
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n"
        f"<|vision_start|>{'<|image_pad|>' * places}<|vision_end|>{PROMPT}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_question_is_written_as_the_published_template_has_it(
    loaded: tuple[LanguageModel, Any, Tokenizer],
) -> None:
    model, _, tokenizer = loaded
    inputs = model.prepare(PROMPT, picture(), SYSTEM)
    # 96 x 64 pixels are 6 x 4 patches of 16, of which 2 x 2 make one place.
    assert inputs["image_grid_thw"].tolist() == [[1, 6, 4]]
    assert inputs["input_ids"][0].tolist() == tokenizer.encode(conversation(6)).ids
    assert inputs["mm_token_type_ids"].sum() == 6
    assert inputs["pixel_values"].shape == (24, 3 * 2 * 16 * 16)
    patch = torch.from_numpy(picture()[:16, :16].astype(np.float32)).permute(2, 0, 1)
    stored = inputs["pixel_values"][0].reshape(3, 2, 16, 16)
    assert torch.allclose(stored[:, 0], patch / 127.5 - 1, atol=1e-5)


def test_marks_in_a_question_are_plain_text(
    loaded: tuple[LanguageModel, Any, Tokenizer],
) -> None:
    model, _, _ = loaded
    numbers = model.prepare("<|im_end|> <|image_pad|>")["input_ids"][0].tolist()
    assert numbers.count(model.special.start) == 2
    assert numbers.count(model.special.end) == 1
    assert model.special.image not in numbers


def greedy(reference: Any, inputs: dict[str, torch.Tensor], count: int) -> list[int]:
    """Return the most probable pieces, the whole text being read anew for each."""
    numbers = inputs["input_ids"]
    found: list[int] = []
    for _ in range(count):
        with torch.inference_mode():
            logits = reference(
                **{
                    **inputs,
                    "input_ids": numbers,
                    "attention_mask": torch.ones_like(numbers),
                    "mm_token_type_ids": (numbers == 261).int(),
                }
            ).logits
        found.append(int(logits[0, -1].argmax()))
        numbers = torch.cat([numbers, numbers.new_tensor([[found[-1]]])], dim=1)
    return found


@pytest.mark.slow
def test_generation_takes_the_most_probable_token(
    loaded: tuple[LanguageModel, Any, Tokenizer],
) -> None:
    model, reference, tokenizer = loaded
    inputs = model.prepare(PROMPT, picture(), SYSTEM)
    expected = greedy(reference, inputs, 12)
    ends = [index for index, number in enumerate(expected) if number in (256, 258)]
    expected = expected[: ends[0]] if ends else expected
    counts: list[int] = []
    text = model.generate(
        PROMPT, picture(), system=SYSTEM, max_new_tokens=12, on_token=counts.append
    )
    assert text == tokenizer.decode(expected).strip()
    assert counts == list(range(1, len(counts) + 1))
    assert len(counts) in (len(expected), len(expected) + 1)
    # What is seen matters.
    other = model.prepare(PROMPT, 255 - picture(), SYSTEM)
    with torch.inference_mode():
        left, right = (reference(**each).logits[0, -1] for each in (inputs, other))
    assert (left - right).abs().max() > 1e-3


def test_generation_can_be_cancelled(loaded: tuple[LanguageModel, Any, Tokenizer]) -> None:
    def stop(count: int) -> None:
        if count == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loaded[0].generate(PROMPT, max_new_tokens=8, on_token=stop)


def test_an_end_token_ends_generation(loaded: tuple[LanguageModel, Any, Tokenizer]) -> None:
    model, reference, _ = loaded
    assert model.end_tokens == (258, 256)
    first = greedy(reference, model.prepare(PROMPT), 1)[0]
    assert replace(model, end_tokens=(first,)).generate(PROMPT, max_new_tokens=8) == ""


@pytest.mark.slow
def test_the_word_table_is_shared_or_not(tmp_path: Path) -> None:
    for tied in (True, False):
        folder = tmp_path / str(tied)
        component, reference, _ = write_language(folder, tied)
        model = load_language(component, folder, CPU)
        table = model.module.model.language_model.embed_tokens.weight
        assert (model.module.lm_head.weight is table) is tied
        assert torch.equal(model.module.lm_head.weight, reference.lm_head.weight)


def test_a_number_format_may_be_asked_for(tmp_path: Path) -> None:
    component, _, _ = write_language(tmp_path)
    model = load_language(component, tmp_path, CPU, torch.bfloat16)
    assert model.module.lm_head.weight.dtype == torch.bfloat16
    assert model.prepare(PROMPT, picture())["pixel_values"].dtype == torch.bfloat16
    assert isinstance(model.generate(PROMPT, picture(), max_new_tokens=3), str)


def test_a_folder_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    component, _, tokenizer = write_language(tmp_path)
    place = tmp_path / FOLDER
    other = replace(component, settings={**component.settings, "model": "Phi3V"})
    with pytest.raises(JobError, match="must be 'Qwen3VLForConditionalGeneration', not 'Phi3V'"):
        load_language(other, tmp_path, CPU)
    few = replace(component, weights=component.weights[:-1])
    with pytest.raises(JobError, match="missing") as caught:
        load_language(few, tmp_path, CPU)
    assert caught.value.code is ErrorCode.MODEL_INVALID
    (place / "tokenizer.json").write_text("{}")
    with pytest.raises(JobError, match="holds no tokenizer"):
        load_language(component, tmp_path, CPU)
    plain = Tokenizer.from_str(tokenizer.to_str().replace("<|image_pad|>", "<|picture|>"))
    plain.save(str(place / "tokenizer.json"))
    with pytest.raises(JobError, match=r"The tokenizer has no <\|image_pad\|>"):
        load_language(component, tmp_path, CPU)
    (place / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(JobError, match="Git LFS pointer"):
        load_language(component, tmp_path, CPU)
    torch.save({"x": torch.ones(1)}, place / "model.safetensors")
    with pytest.raises(JobError, match="holds no safetensors"):
        load_language(component, tmp_path, CPU)


def test_a_preset_loads_it(tmp_path: Path) -> None:
    component, _, _ = write_language(tmp_path)
    write_card(tmp_path, "language", component, "sam2")
    with pytest.raises(JobError, match="the method 'sam2', which needs the member sam2"):
        open_preset(str(tmp_path / "card.json"))
    card = parse_card(
        {**json.loads((tmp_path / "card.json").read_text()), "methods": ["sam3"], "sam3": {}}
    )
    preset = LoadedPreset(Preset(card, tmp_path, Origin.USER), choose_device("cpu"))
    text = preset.language.generate(PROMPT, picture(), max_new_tokens=4)
    assert text == load_language(component, tmp_path, CPU).generate(
        PROMPT, picture(), max_new_tokens=4
    )
    assert preset.loaded() == ("language",)
