"""Training must go through the arithmetic that the methods use."""

from pathlib import Path

import open_clip
import pytest
import torch
from torch.nn import functional

from geoseg_qgis.engine.methods.open_vocabulary.fast import FastSettings, window_logits
from geoseg_qgis.engine.methods.open_vocabulary.gumix.region_tokens import window_embeddings
from geoseg_qgis.engine.methods.open_vocabulary.gumix.settings import GumixSettings
from training.bytepair import learn_merges, write_merges
from training.dense_clip import (
    encode_tokens,
    fast_cosines,
    image_embedding,
    mixed_embeddings,
    plain_embeddings,
)
from training.train_clip import build


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    text = {"context_length": 8, "vocab_size": 600, "width": 32, "heads": 2, "layers": 1}
    vision = {"layers": 6, "width": 64, "head_width": 32, "patch_size": 16, "image_size": 64}
    return open_clip.CLIP(embed_dim=32, vision_cfg=vision, text_cfg=text).eval()


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_value_head_equals_gumix(clip, images):
    codes = torch.arange(4).repeat(2, 4, 1).long()
    codes[1] = codes[1].T.clone()
    random = torch.Generator().manual_seed(2)
    attention = torch.rand(2, 16, 16, generator=random).softmax(-1)
    regions = codes.flatten(1)
    encoded = encode_tokens(clip.visual, images, regions, 4)
    mixed = mixed_embeddings(clip.visual, encoded, regions, attention)
    settings = GumixSettings.geo()
    reference = window_embeddings(clip.visual, images, codes, attention, settings)
    torch.testing.assert_close(mixed, functional.normalize(reference, dim=-1), atol=2e-5, rtol=0)


@torch.no_grad()
def test_patches_for_themselves_are_the_identity_mixing(clip, images):
    regions = torch.zeros(2, 16, dtype=torch.int64)
    encoded = encode_tokens(clip.visual, images, regions, 1)
    settings = GumixSettings.geo().with_overrides({"semantic_weight": 0.0})
    same = torch.eye(16).expand(2, -1, -1)
    reference = window_embeddings(clip.visual, images, regions.view(2, 4, 4), same, settings)
    plain = plain_embeddings(clip.visual, encoded)
    torch.testing.assert_close(plain, functional.normalize(reference, dim=-1), atol=2e-5, rtol=0)


@torch.no_grad()
def test_fast_head_equals_the_fast_method(clip, images):
    texts = functional.normalize(torch.randn(5, 32), dim=-1)
    encoded = encode_tokens(clip.visual, images, torch.zeros(2, 16, dtype=torch.int64), 1)
    cosines = fast_cosines(clip.visual, encoded, texts).transpose(1, 2).unflatten(2, (4, 4))
    reference = window_logits(clip, images, texts, FastSettings())
    upsampled = functional.interpolate(cosines, size=(64, 64), mode="bilinear")
    torch.testing.assert_close(upsampled, reference, atol=2e-5, rtol=0)


@torch.no_grad()
def test_image_embedding_is_the_towers_own(clip, images):
    encoded = encode_tokens(clip.visual, images, torch.zeros(2, 16, dtype=torch.int64), 1)
    own = functional.normalize(clip.visual(images), dim=-1)
    torch.testing.assert_close(image_embedding(clip.visual, encoded), own, atol=2e-5, rtol=0)


def test_a_run_may_begin_with_the_weights_and_words_of_another(tmp_path: Path) -> None:
    first, own = tmp_path / "first", tmp_path / "own"
    first.mkdir()
    write_merges(first / "bpe.txt.gz", learn_merges(["roof", "road"]))
    begun, tokenizer, _ = build(first, 32, 64, 1)
    torch.save({"average": begun.state_dict()}, first / "checkpoint.pt")
    model, same, _ = build(tmp_path / "second", 32, 64, 1, first)
    assert same.vocab_size == tokenizer.vocab_size < build(own, 32, 64, 1)[1].vocab_size
    for name, tensor in begun.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)
