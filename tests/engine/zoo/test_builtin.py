"""Every preset in the package: verified, loaded strictly, and made to compute."""

from pathlib import Path

import pytest
import torch

from geoseg_qgis.engine.models.device import choose_device
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.zoo import registry
from geoseg_qgis.engine.zoo.registry import Origin, open_preset

FOLDERS = sorted(path.parent for path in Path(registry.__file__).parent.glob("builtin/*/card.json"))
LARGEST_PACKAGE = 100 * 1024 * 1024


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def loaded(request: pytest.FixtureRequest) -> LoadedPreset:
    folder: Path = request.param
    preset = open_preset(folder.name, [folder.parent / "none"])
    assert (preset.origin, preset.folder) == (Origin.BUILT_IN, folder)
    return LoadedPreset(preset, choose_device("cpu"))


def test_its_files_are_there_with_size_and_digest(loaded: LoadedPreset) -> None:
    card = loaded.card
    assert loaded.preset.missing_files() == []
    for component in card.components:
        for weights in card.weights_of(component):
            assert weights.size == loaded.preset.path(weights.file).stat().st_size
            assert weights.sha256 is not None
    assert sum(path.stat().st_size for path in loaded.folder.rglob("*")) < LARGEST_PACKAGE


@pytest.mark.slow
def test_its_text_encoder_tells_its_vocabulary_apart(loaded: LoadedPreset) -> None:
    if loaded.card.clip is None:
        pytest.skip("the preset has no text encoder")
    clip = loaded.clip
    features = clip.encode_text(["road", "water", "building"])
    assert features.shape == (3, clip.embed_dim)
    assert torch.isfinite(features).all()
    similarity = features @ features.T
    assert similarity.fill_diagonal_(0).max() < 0.9999
    if loaded.vocabulary is not None:
        assert clip.unknown_words("road; xylophone") == ["xylophone"]


@pytest.mark.slow
def test_its_image_encoders_compute(loaded: LoadedPreset) -> None:
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    if loaded.card.clip is not None:
        size = loaded.clip.image_size
        features = loaded.clip.encode_image(image[..., :size, :size])
        assert torch.isfinite(features).all()
    if loaded.card.dino is not None:
        layers = loaded.dino.last_layers(loaded.dino.normalise(image))
        tokens = (224 // loaded.dino.patch_size) ** 2
        assert [tuple(layer.shape) for layer in layers] == [(1, tokens, loaded.dino.embed_dim)] * 4
        assert all(torch.isfinite(layer).all() for layer in layers)
    if loaded.card.sam2 is not None:
        output = loaded.sam2.predict(
            loaded.sam2.encode(image), boxes=torch.tensor([[50.0, 50.0, 150.0, 150.0]])
        )
        assert torch.isfinite(output.logits).all()
