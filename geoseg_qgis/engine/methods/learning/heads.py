"""Classifiers of the features of a pixel: logistic regression, a small network, boosted trees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from geoseg_qgis.engine.models.weights import State
from geoseg_qgis.engine.progress import Progress
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .boosting import BoostedTrees, BoostingSettings, grow

LOGISTIC, NETWORK, BOOSTING = "logistic", "network", "boosting"
TITLES = {
    LOGISTIC: "Logistic regression",
    NETWORK: "Small network",
    BOOSTING: "Gradient boosting",
}
_MEMBERS = 3
_HIDDEN = 64
_EPOCHS, _LEAST_EPOCHS = 120, 30
_BATCH = 1024
_RATE, _DECAY, _SMOOTHING = 3e-3, 0.05, 0.05
# Shares of the features and of the hidden values that are dropped in training.
_DROPPED = (0.1, 0.3)
_LOGISTIC_STEPS = 100
_LOGISTIC_PENALTY = 1e-2
# Standard deviations; what lies farther off is treated alike.
_LARGEST_FEATURE = 8.0


@dataclass(frozen=True)
class Head:
    """A classifier.

    Attributes:
        kind: One of `TITLES`.
        mean: (F,) subtracted from features.
        scale: (F,) features are divided by it.
        model: What gives logits of scaled features.
        temperature: Logits are divided by it, so that probabilities are calibrated.
    """

    kind: str
    mean: Tensor
    scale: Tensor
    model: Layers | BoostedTrees
    temperature: float = 1.0

    def logits(self, samples: Tensor) -> Tensor:
        """Return (n, C) calibrated logits of features (n, F), on their device."""
        scaled = scale_features(samples, self.mean, self.scale)
        return self.model.logits(scaled) / self.temperature

    def state(self) -> State:
        """Return the tensors to save."""
        own = {f"head.{name}": tensor for name, tensor in self.model.state().items()}
        return {"mean": self.mean, "scale": self.scale, **own}

    @classmethod
    def load(cls, kind: str, state: State, temperature: float) -> Head:
        """Return the head that `state` was taken of.

        Raises:
            KeyError: A tensor is missing.
        """
        own = {
            name.removeprefix("head."): tensor
            for name, tensor in state.items()
            if name.startswith("head.")
        }
        model: Layers | BoostedTrees
        if kind == BOOSTING:
            model = BoostedTrees(
                own["features"].long(), own["thresholds"], own["leaves"], own["start"]
            )
        else:
            model = Layers.load(own)
        return cls(kind, state["mean"], state["scale"], model, temperature)


@dataclass(frozen=True)
class Layers:
    """Networks of linear layers with ReLU between them, whose probabilities are averaged.

    Attributes:
        members: Weight (out, in) and bias (out,) of each layer of each network.
    """

    members: tuple[tuple[tuple[Tensor, Tensor], ...], ...]

    def logits(self, samples: Tensor) -> Tensor:
        """Return (n, C), the logarithms of the mean probabilities, of samples (n, F)."""
        device = samples.device
        found = []
        for layers in self.members:
            values = samples
            for number, (weight, bias) in enumerate(layers):
                values = functional.linear(
                    functional.relu(values) if number else values,
                    weight.to(device),
                    bias.to(device),
                )
            found.append(functional.log_softmax(values, dim=1))
        mean: Tensor = torch.logsumexp(torch.stack(found), dim=0) - np.log(len(found))
        return mean

    def state(self) -> State:
        """Return the tensors to save."""
        return {
            f"{member}.{layer}.{name}": tensor
            for member, layers in enumerate(self.members)
            for layer, pair in enumerate(layers)
            for name, tensor in zip(("weight", "bias"), pair, strict=True)
        }

    @classmethod
    def load(cls, state: State) -> Layers:
        """Return the networks that `state` was taken of."""
        members: dict[int, dict[int, tuple[Tensor, Tensor]]] = {}
        for key in state:
            member, layer, _ = key.split(".")
            pair = state[f"{member}.{layer}.weight"], state[f"{member}.{layer}.bias"]
            members.setdefault(int(member), {})[int(layer)] = pair
        return cls(
            tuple(
                tuple(layers[number] for number in sorted(layers))
                for _, layers in sorted(members.items())
            )
        )


def scale_features(samples: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Return standardised features, far outliers brought near."""
    scaled = (samples - mean.to(samples.device)) / scale.to(samples.device)
    return scaled.clamp(-_LARGEST_FEATURE, _LARGEST_FEATURE)


def fit_head(  # noqa: PLR0917
    kind: str,
    samples: Tensor,
    classes: NDArray[np.int64],
    count: int,
    deep: int,
    seed: int,
    progress: Progress,
) -> Head:
    """Return a head that was fitted to samples.

    Args:
        kind: One of `TITLES`.
        samples: (n, F) float32.
        classes: (n,).
        count: Number of classes.
        deep: How many of the first features are principal components, which keep their scale.
        seed: Of the weights, the batches and the features that trees ask for.
        progress: Called with the finished fraction; raises to stop.

    Raises:
        JobError: ``MODEL_INVALID`` for another kind.
    """
    if kind not in TITLES:
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"There is no head called {kind!r}.",
            f"Use one of {', '.join(TITLES)}.",
        )
    mean, scale = samples.mean(dim=0), samples.std(dim=0).clamp(min=1e-6)
    scale[:deep] = 1.0
    scaled = scale_features(samples, mean, scale)
    known = torch.from_numpy(classes)
    weights = _class_weights(known, count)
    if kind == BOOSTING:
        trees = grow(scaled, known, weights, count, BoostingSettings(), seed, progress)
        return Head(kind, mean, scale, trees)
    fit = _fit_logistic if kind == LOGISTIC else _fit_network
    return Head(kind, mean, scale, Layers(fit(scaled, known, weights, count, seed, progress)))


def _class_weights(classes: Tensor, count: int) -> Tensor:
    """Return a weight for each sample: rare classes count more, but not as much as common ones."""
    numbers = torch.bincount(classes, minlength=count).clamp(min=1).float()
    weights = numbers.rsqrt()[classes]
    return weights / weights.mean()


def _fit_logistic(  # noqa: PLR0917
    samples: Tensor, classes: Tensor, weights: Tensor, count: int, seed: int, progress: Progress
) -> tuple[tuple[tuple[Tensor, Tensor], ...], ...]:
    del seed
    weight = torch.zeros(count, samples.shape[1], requires_grad=True)
    bias = torch.zeros(count, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=_LOGISTIC_STEPS, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        losses = functional.cross_entropy(
            functional.linear(samples, weight, bias), classes, reduction="none"
        )
        value: Tensor = (losses * weights).mean() + _LOGISTIC_PENALTY * weight.square().sum() / 2
        value.backward()
        progress(0.5)
        return value

    optimiser.step(loss)
    return (((weight.detach(), bias.detach()),),)


def _fit_network(  # noqa: PLR0917
    samples: Tensor, classes: Tensor, weights: Tensor, count: int, seed: int, progress: Progress
) -> tuple[tuple[tuple[Tensor, Tensor], ...], ...]:
    """Train all members at once; they differ in their first weights and in what is dropped."""
    generator = torch.Generator().manual_seed(seed)
    layers = [
        _first_weights(samples.shape[1], _HIDDEN, generator),
        _first_weights(_HIDDEN, count, generator),
    ]
    parameters = [tensor for layer in layers for tensor in layer]
    optimiser = torch.optim.AdamW(parameters, lr=_RATE, weight_decay=_DECAY)
    batches = -(-len(samples) // _BATCH)
    epochs = max(_EPOCHS // batches, _LEAST_EPOCHS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, epochs * batches)
    for epoch in range(epochs):
        for part in torch.randperm(len(samples), generator=generator).chunk(batches):
            values = samples[part].expand(_MEMBERS, -1, -1)
            for number, (weight, bias) in enumerate(layers):
                values = functional.relu(values) if number else values
                kept = torch.rand(values.shape, generator=generator) >= _DROPPED[number]
                values = torch.baddbmm(
                    bias[:, None], values * kept / (1 - _DROPPED[number]), weight.transpose(1, 2)
                )
            losses = functional.cross_entropy(
                values.flatten(0, 1), classes[part].repeat(_MEMBERS), reduction="none",
                label_smoothing=_SMOOTHING,
            )  # fmt: skip
            optimiser.zero_grad()
            (losses * weights[part].repeat(_MEMBERS)).sum().div(len(part)).backward()
            optimiser.step()
            schedule.step()
        progress((epoch + 1) / epochs)
    return tuple(
        tuple((weight[member].detach(), bias[member].detach()) for weight, bias in layers)
        for member in range(_MEMBERS)
    )


def _first_weights(inputs: int, outputs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return weights and biases of a layer of all members, as PyTorch draws them."""
    bound = inputs**-0.5
    shapes = (_MEMBERS, outputs, inputs), (_MEMBERS, outputs)
    weight, bias = (
        (torch.rand(shape, generator=generator) * 2 - 1).mul_(bound).requires_grad_()
        for shape in shapes
    )
    return weight, bias
