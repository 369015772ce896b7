"""A plain supervised U-Net, the yardstick of the open-vocabulary numbers.

`python -m training.train_unet --data FOLDER` trains on the same crops as CLIP
for the same time, but on five fixed classes and without text.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from .command import begin_run, read_options, run_parser
from .crops import Batch, CropSampler
from .datasets import load_images
from .device import device_of, half_precision
from .evaluate import LEGENDS, WindowNetwork, evaluate
from .exported_networks import UNET
from .losses import compatible, partial_cross_entropy, rarity
from .model_pages import write_run_page
from .prefetching import prefetch

LEGEND = "dubai_landcover"
STRIDE = 2


def _convolutions(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """Four levels of convolutions with skip connections.

    Args:
        classes: Output channels.
        width: Channels of the first level, doubled at each further one.
    """

    def __init__(self, classes: int, width: int = 28) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.down = nn.ModuleList(
            _convolutions(inputs, outputs) for inputs, outputs in zip([3, *widths], widths)
        )
        self.up = nn.ModuleList(
            _convolutions(deep + shallow, shallow)
            for shallow, deep in zip(widths[-2::-1], widths[:0:-1])
        )
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, C, H, W) logits of (B, 3, H, W) pixels in 0..1."""
        skips: list[Tensor] = []
        features = (pixels - 0.45) / 0.25
        for index, block in enumerate(self.down):
            features = block(functional.max_pool2d(features, 2) if index else features)
            skips.append(features)
        for block, skip in zip(self.up, skips[-2::-1]):
            upsampled = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = block(torch.cat([upsampled, skip], dim=1))
        logits: Tensor = self.head(features)
        return logits


class UNetObjective:
    """The loss of one step.

    Args:
        model: The network.
        crops: Draws so many crops.
        batch: Crops a step.
    """

    def __init__(self, model: UNet, crops: Callable[[int], Batch], batch: int) -> None:
        self.model = model
        self.crops = crops
        self.batch = batch
        self.device = device_of(model)
        self._surfaces = torch.tensor([mask for _, mask in LEGENDS[LEGEND]], device=self.device)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Return the named losses of one step."""
        del step
        batch = self.crops(self.batch)
        pixels = batch.pixels.to(self.device, memory_format=torch.channels_last)
        with half_precision(self.device):
            logits = self.model(pixels).float()
        labels = batch.labels[:, ::STRIDE, ::STRIDE].flatten().to(self.device)
        rows = logits[:, :, ::STRIDE, ::STRIDE].permute(0, 2, 3, 1).flatten(0, 2)
        positive = compatible(labels, self._surfaces)
        return {"total": partial_cross_entropy(rows, positive, rarity(labels))}


def unet_network(model: UNet) -> WindowNetwork:
    """Return the network of the fixed classes; it computes on its own device."""

    def network(pixels: Tensor) -> Tensor:
        logits: Tensor = model(pixels.to(device_of(model)))
        return logits.to(pixels.device)

    return network


def main(arguments: list[str] | None = None) -> None:
    """Train and score from the command line."""
    parser = run_parser(__doc__, out="unet", minutes=25, batch=16, rate=2e-3, seed=1)
    parser.add_argument("--width", type=int, default=28)
    options = read_options(parser, arguments)
    model = UNet(len(LEGENDS[LEGEND]), options.width).to(memory_format=torch.channels_last)
    trainer = begin_run(options, model, width=options.width)
    learnt = load_images(options.data, "train")
    seed = trainer.stage_seed(options.seed)
    crops = prefetch(lambda n: CropSampler(learnt, 224, n).batch, seed, options.device)
    trainer.run(UNetObjective(model, crops, options.batch))
    trainer.finish()
    network = unet_network(model)
    scenes = load_images(options.data, "validation", (LEGEND,))
    validation = {}
    for zoom in (1.0, 1.5):
        result = evaluate(lambda _: network, scenes, {LEGEND: zoom})[LEGEND]
        validation[f"mean IoU at zoom {zoom}"] = result.mean
        validation |= {
            f"{name} at zoom {zoom}": iou for name, iou in zip(result.classes, result.iou)
        }
    write_run_page(options.out, UNET, validation=validation)


if __name__ == "__main__":
    main()
