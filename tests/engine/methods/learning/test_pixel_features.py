"""Colour, edges and texture against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from geoseg_qgis.engine.methods.learning.features import Projection
from geoseg_qgis.engine.methods.learning.pixel_features import (
    gaussian,
    pixel_feature_count,
    pixel_features,
)


def test_smoothing_is_that_of_scipy() -> None:
    image = np.random.default_rng(0).random((1, 1, 40, 50)).astype(np.float32)
    found = gaussian(torch.from_numpy(image), 2.0).numpy()[0, 0]
    expected = ndimage.gaussian_filter(image[0, 0], 2.0, mode="mirror", truncate=3.0)
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_ramp_has_one_gradient_and_no_curvature() -> None:
    ramp = torch.linspace(0, 1, 60).expand(1, 3, 60, 60)
    found = pixel_features(ramp, (2.0,))[0]
    assert found.shape[0] == pixel_feature_count((2.0,)) == 12
    middle = found[:, 30, 30].tolist()
    step = 1 / 59
    assert middle[:6] == pytest.approx([30 * step] * 6, abs=1e-5)
    assert middle[6:8] == pytest.approx([1 / 3, 1 / 3], abs=1e-5)
    assert middle[8] == pytest.approx(step * 2.0, abs=1e-5)
    assert middle[9:11] == pytest.approx([0.0, 0.0], abs=1e-5)
    assert middle[11] == pytest.approx(step * 2.0, rel=0.03)


def test_images_smaller_than_the_scale_are_taken() -> None:
    assert torch.isfinite(pixel_features(torch.rand(1, 3, 5, 1), (1.0, 8.0))).all()


def test_principal_components_are_those_of_numpy() -> None:
    samples = np.random.default_rng(0).normal(size=(200, 5)) * [5, 3, 1, 0.5, 0.1]
    fitted = Projection.fit(torch.from_numpy(samples).float(), 2)
    found = fitted(torch.from_numpy(samples.T[None, :, None]).float())[0, :, 0].numpy()
    assert (found**2).sum(axis=1).sum() / 199 == pytest.approx(2.0, rel=1e-3)
    _, _, axes = np.linalg.svd(samples - samples.mean(axis=0), full_matrices=False)
    for component, axis in zip(found, axes, strict=False):
        expected = (samples - samples.mean(axis=0)) @ axis
        assert abs(np.corrcoef(component, expected)[0, 1]) == pytest.approx(1.0, abs=1e-6)
