"""Features of every pixel: those of frozen networks, and colour, edges and texture.

The networks' features are brought to few dimensions by a principal component analysis of the
labelled image, on their own cells, and then to the pixels. So the memory that a window takes does
not depend on the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor

from geoseg_qgis.engine.inference.chips import Chip
from geoseg_qgis.engine.inference.windows import Tile, plan_tiles
from geoseg_qgis.engine.methods.open_vocabulary.fast import dense_embeddings
from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.models.weights import State
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.resampling.tensors import resize_bilinear

from .pixel_features import pixel_feature_count, pixel_features

DINO, CLIP = "dino", "clip"
_DINO_LAYERS = 4


@dataclass(frozen=True)
class FeatureRecipe:
    """How features are made; part of a learnt model's card.

    Attributes:
        networks: Networks whose features are used, of ``dino`` and ``clip``.
        window: Side of a window in pixels.
        stride: Step between windows in pixels.
        dino_scale: Enlargement of the windows that DINO reads.
        clip_scale: Enlargement of the windows that CLIP reads.
        components: Most principal components of each network's features.
        sigmas: Scales of colour, edges and texture, in pixels.
    """

    networks: tuple[str, ...] = (DINO, CLIP)
    window: int = 224
    stride: int = 160
    dino_scale: int = 1
    clip_scale: int = 1
    components: int = 48
    sigmas: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)

    def to_json(self) -> dict[str, object]:
        """Return the member of a card."""
        return asdict(self)


@dataclass(frozen=True)
class Projection:
    """A principal component analysis.

    Attributes:
        mean: (D,).
        axes: (D, K), scaled so that the components have a variance of one together.
    """

    mean: Tensor
    axes: Tensor

    def __call__(self, cells: Tensor) -> Tensor:
        """Return (B, K, h, w) of (B, D, h, w)."""
        mean, axes = self.mean.to(cells.device), self.axes.to(cells.device)
        return torch.einsum("bdhw,dk->bkhw", cells - mean[:, None, None], axes)

    @classmethod
    def fit(cls, samples: Tensor, components: int) -> Projection:
        """Return the analysis of samples (n, D).

        All components are divided by the same number, as small ones would be noise otherwise.
        """
        wide = samples.double()
        mean = wide.mean(dim=0)
        centred = wide - mean
        values, vectors = torch.linalg.eigh(centred.T @ centred / max(len(samples) - 1, 1))
        count = min(components, samples.shape[1])
        axes = vectors.flip(1)[:, :count]
        largest = axes.abs().argmax(dim=0)
        # The sign of an eigenvector is arbitrary; fixed, it is the same on every machine.
        axes = axes * axes[largest, torch.arange(count)].sign()
        spread = values.flip(0)[:count].clamp(min=0).mean().sqrt().clamp(min=1e-9)
        return cls(mean.float(), (axes / spread).float())


@dataclass
class FeatureExtractor:
    """Makes the features of windows.

    Attributes:
        models: The preset with the networks.
        recipe: How features are made.
        projections: The analysis of each network's features; `fit` fills it.
    """

    models: LoadedPreset
    recipe: FeatureRecipe
    projections: dict[str, Projection] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where features are computed."""
        return self.models.device.device

    @property
    def count(self) -> int:
        """Number of features of a pixel."""
        deep = sum(one.axes.shape[1] for one in self.projections.values())
        return deep + pixel_feature_count(self.recipe.sigmas)

    @property
    def deep_count(self) -> int:
        """Number of features that come from networks; they are the first."""
        return sum(one.axes.shape[1] for one in self.projections.values())

    def on(self, models: LoadedPreset) -> FeatureExtractor:
        """Return the same with networks on another device."""
        return FeatureExtractor(models, self.recipe, self.projections)

    @torch.inference_mode()
    def cells(self, network: str, images: Tensor) -> Tensor:
        """Return a network's own features (B, D, h, w) of images (B, 3, H, W) in 0..1."""
        if network == DINO:
            return self._dino_cells(images)
        return self._clip_cells(images)

    def fit(self, samples: dict[str, Tensor]) -> None:
        """Analyse samples (n, D) of each network's features."""
        for network in self.recipe.networks:
            self.projections[network] = Projection.fit(samples[network], self.recipe.components)

    @torch.inference_mode()
    def __call__(self, chips: Sequence[Chip]) -> Tensor:
        """Return (B, F, H, W) float32 on the device of the networks."""
        images = to_images(chips, self.device)
        size = (int(images.shape[-2]), int(images.shape[-1]))
        found = [
            resize_bilinear(self.projections[network](self.cells(network, images)), size)
            for network in self.recipe.networks
        ]
        found.append(pixel_features(images, self.recipe.sigmas))
        return torch.cat(found, dim=1)

    def _dino_cells(self, images: Tensor) -> Tensor:
        dino = self.models.dino
        enlarged = _enlarged(images, self.recipe.dino_scale, dino.patch_size)
        count = min(_DINO_LAYERS, dino.layers)
        layers = dino.last_layers(dino.normalise(enlarged), count)
        height, width = (side // dino.patch_size for side in enlarged.shape[-2:])
        # An early layer sees edges and texture, the last one what a thing is.
        cells = torch.cat([layers[0], layers[-1]], dim=-1).float()
        found: Tensor = cells.transpose(1, 2).unflatten(2, (height, width))
        return found

    def _clip_cells(self, images: Tensor) -> Tensor:
        clip = self.models.clip
        enlarged = _enlarged(images, self.recipe.clip_scale, clip.patch_size)
        weight = next(clip.module.visual.parameters())
        mean, std = (
            values.to(enlarged.device).reshape(1, 3, 1, 1) for values in (clip.mean, clip.std)
        )
        tokens, grid = dense_embeddings(
            clip.module.visual, ((enlarged - mean) / std).to(weight.dtype)
        )
        unit = torch.nn.functional.normalize(tokens[:, 1:].float(), dim=-1)
        found: Tensor = unit.transpose(1, 2).unflatten(2, grid)
        return found

    def state(self) -> State:
        """Return the tensors to save."""
        found: State = {}
        for network, projection in self.projections.items():
            found[f"{network}.mean"] = projection.mean
            found[f"{network}.axes"] = projection.axes
        return found

    def load(self, state: State) -> None:
        """Take the tensors of `state` back."""
        for network in self.recipe.networks:
            self.projections[network] = Projection(
                state[f"{network}.mean"], state[f"{network}.axes"]
            )


def to_images(chips: Sequence[Chip], device: torch.device) -> Tensor:
    """Return (B, 3, H, W) float32 in 0..1, mirrored beyond the image."""
    pixels = np.stack([chip.continued() for chip in chips])
    return torch.from_numpy(pixels).to(device).float() / 255.0


def available_networks(models: LoadedPreset) -> tuple[str, ...]:
    """Return those of the networks that a preset has on this disk."""
    names = [name for name in (DINO, CLIP) if name in models.card.components]
    return tuple(name for name in names if not models.preset.missing_files([name]))


def plan_windows(grid: Grid, recipe: FeatureRecipe) -> list[Tile]:
    """Return the windows of a grid, the same for learning and for classification."""
    return plan_tiles(grid.height, grid.width, recipe.window, recipe.window - recipe.stride)


def _enlarged(images: Tensor, scale: int, patch: int) -> Tensor:
    """Return images of whole patches, enlarged."""
    sides = [-(-side * scale // patch) * patch for side in images.shape[-2:]]
    return resize_bilinear(images, sides)
