"""SAM 2 as an image model: built from a card's sizes, loaded strictly, prompted.

Coordinates of prompts are pixel indices of the source image, x before y, as the package's own
predictor takes them: whole numbers are centres of pixels. The image is resized to the model's
square whatever its aspect, and masks are resized back.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn

from geoseg_qgis.engine.zoo.architecture import Sam2Architecture
from geoseg_qgis.engine.zoo.card import Sam2Component
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .meta_init import ParametersOnMeta
from .sam2_decoder import MASK_TOKENS, DecoderOutput, SharedImage, decode_prompts, share_image
from .weights import State, load_strictly, read_state, refuse_meta_tensors

# Tensors of a published checkpoint that serve video alone.
_VIDEO_KEYS = (
    "memory_attention.",
    "memory_encoder.",
    "obj_ptr_proj.",
    "obj_ptr_tpos_proj.",
    "mask_downsample.",
    "no_obj_ptr",
    "no_obj_embed_spatial",
    "maskmem_tpos_enc",
    "no_mem_pos_enc",
)
_LOGIT_LIMIT = 32.0
_BOX_LABELS = (2, 3)


class MaskChoice(str, Enum):
    """Which of the decoder's four masks to return for a prompt.

    ``SINGLE`` is the first mask; ``STABLE`` the same unless it is unstable, then the best of the
    other three; ``THREE`` the other three, for ambiguous prompts.
    """

    SINGLE = "single"
    STABLE = "stable"
    THREE = "three"


@dataclass(frozen=True)
class Sam2Embedding:
    """An encoded image, or a batch of them.

    Attributes:
        image: Embedding of stride 16, shape (B, C, h, w).
        quarter: Features of stride 4, shape (B, C/8, 4h, 4w).
        eighth: Features of stride 8, shape (B, C/4, 2h, 2w).
        source_size: (H, W) of the source in pixels.
    """

    image: Tensor
    quarter: Tensor
    eighth: Tensor
    source_size: tuple[int, int]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.image)

    def select(self, index: int) -> Sam2Embedding:
        """Return one image of the batch, still with a batch dimension."""
        one = slice(index, index + 1)
        return Sam2Embedding(self.image[one], self.quarter[one], self.eighth[one], self.source_size)


@dataclass(frozen=True)
class Sam2Model:
    """A SAM 2 image model with its weights.

    Attributes:
        module: The package's ``SAM2Base`` without video memory, in float32.
        architecture: Sizes of the network.
        mean: Per channel of images in 0..1, shape (1, 3, 1, 1).
        std: Per channel of images in 0..1, shape (1, 3, 1, 1).
        device: Device of the module.
        dtype: Number format of its matrix products (the module itself stays float32).
    """

    module: Any
    architecture: Sam2Architecture
    mean: Tensor
    std: Tensor
    device: torch.device
    dtype: torch.dtype

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""
        return self.architecture.image_size

    @property
    def logits_size(self) -> int:
        """Side of the decoder's masks in pixels."""
        return self.image_size // 4

    @property
    def prompt_bytes(self) -> int:
        """Size of the mask decoder's largest tensor for one prompt."""
        return 4 * (self.architecture.d_model // 8) * self.logits_size**2

    def computing(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context that the module computes in: no gradients, autocast below float32."""
        stack = contextlib.ExitStack()
        stack.enter_context(torch.inference_mode())
        if self.dtype != torch.float32:
            stack.enter_context(torch.autocast(self.device.type, dtype=self.dtype))
        return stack

    def normalise(self, images: Tensor, antialias: bool = True) -> Tensor:
        """Return images as the image encoder takes them.

        Args:
            images: Values in 0..1, shape (B, 3, H, W).
            antialias: Smooth before shrinking, as recent torchvision does.

        Returns:
            Shape (B, 3, S, S), float32.
        """
        images = images.to(self.device, torch.float32)
        side = self.image_size
        if tuple(images.shape[-2:]) != (side, side):
            images = nn.functional.interpolate(
                images, (side, side), mode="bilinear", align_corners=False, antialias=antialias
            )
        return (images - self.mean) / self.std

    def encode(self, images: Tensor, antialias: bool = True) -> Sam2Embedding:
        """Encode images of values in 0..1, shape (B, 3, H, W)."""
        height, width = int(images.shape[-2]), int(images.shape[-1])
        with self.computing():
            quarter, eighth, image = self.module.forward_image(self.normalise(images, antialias))[
                "backbone_fpn"
            ]
            image = image + self.module.no_mem_embed.reshape(1, -1, 1, 1)
        return Sam2Embedding(image.float(), quarter.float(), eighth.float(), (height, width))

    def share(self, embedding: Sam2Embedding) -> SharedImage:
        """Compute what all prompts on one image share."""
        with self.computing():
            return share_image(
                self.module.sam_mask_decoder,
                embedding.image,
                self.module.sam_prompt_encoder.get_dense_pe(),
                self.module.sam_prompt_encoder.no_mask_embed.weight[0],
                (embedding.quarter, embedding.eighth),
            )

    def predict(
        self,
        embedding: Sam2Embedding,
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        choice: MaskChoice = MaskChoice.STABLE,
        shared: SharedImage | None = None,
    ) -> DecoderOutput:
        """Return masks for N prompts on one image.

        Args:
            embedding: One encoded image.
            points: Source pixels (x, y), shape (N, P, 2).
            labels: 1 positive, 0 negative, -1 padding, shape (N, P).
            boxes: Source pixels (left, top, right, bottom), shape (N, 4).
            masks: Logits of an earlier prediction, shape (N, 1, h, w) with h = w = `logits_size`.
            choice: Which masks to return.
            shared: Result of `share` for this image, to save its cost.

        Returns:
            Masks of K = 1 or 3 a prompt, as logits of `logits_size`, float32; masks
                are where they are positive, at any size that they are resized to.

        Raises:
            JobError: ``INVALID_JOB`` when the prompts do not fit together.
        """
        _check_prompts(embedding, points, labels, boxes, masks)
        tokens = range(MASK_TOKENS)
        if choice is not MaskChoice.STABLE:
            tokens = range(1) if choice is MaskChoice.SINGLE else range(1, MASK_TOKENS)
        sparse = self.encode_prompts(embedding.source_size, points, labels, boxes, masks)
        with self.computing():
            if masks is None:
                image = shared or self.share(embedding)
                output = decode_prompts(self.module.sam_mask_decoder, image, sparse, tokens)
            else:
                output = self._decode_with_masks(embedding, sparse, masks, tokens)
        output = DecoderOutput(
            output.logits.float(), output.iou.float(), output.object_score.float()
        )
        return self._most_stable(output) if choice is MaskChoice.STABLE else output

    def encode_prompts(
        self,
        source_size: tuple[int, int],
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> Tensor:
        """Return the sparse embeddings of N prompts, shape (N, P, C); see `predict`."""
        height, width = source_size
        extent = torch.tensor([width, height], dtype=torch.float32)
        corners: list[Tensor] = []
        kinds: list[Tensor] = []
        # A box becomes two labelled points before the others, as in the package's predictor.
        if boxes is not None:
            corners.append(boxes.reshape(-1, 2, 2).float().cpu() / extent * self.image_size)
            kinds.append(torch.tensor(_BOX_LABELS).expand(len(boxes), 2))
        if points is not None and labels is not None:
            corners.append(points.float().cpu() / extent * self.image_size)
            kinds.append(labels.cpu())
        if not corners:
            count = 0 if masks is None else len(masks)
            return torch.zeros(count, 0, self.architecture.d_model, device=self.device)
        coordinates = torch.cat(corners, dim=1).to(self.device)
        point_labels = torch.cat(kinds, dim=1).to(self.device, torch.int32)
        with torch.inference_mode():
            sparse: Tensor
            sparse, _ = self.module.sam_prompt_encoder(
                points=(coordinates, point_labels), boxes=None, masks=None
            )
        return sparse

    def _decode_with_masks(
        self, embedding: Sam2Embedding, sparse: Tensor, masks: Tensor, tokens: range
    ) -> DecoderOutput:
        encoder = self.module.sam_prompt_encoder
        prompts = masks.to(self.device, torch.float32).clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT)
        _, dense = encoder(points=None, boxes=None, masks=prompts)
        logits, iou, _, score = self.module.sam_mask_decoder.predict_masks(
            image_embeddings=embedding.image,
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            repeat_image=True,
            high_res_features=[embedding.quarter, embedding.eighth],
        )
        wanted = list(tokens)
        return DecoderOutput(logits[:, wanted], iou[:, wanted], score[:, 0])

    def _most_stable(self, output: DecoderOutput) -> DecoderOutput:
        stable = (
            stability(output.logits[:, 0], self.architecture.stability_delta, nan=1.0)
            >= self.architecture.stability_threshold
        )
        best = torch.where(stable, 0, 1 + output.iou[:, 1:].argmax(dim=1))
        rows = torch.arange(len(best), device=best.device)
        return DecoderOutput(
            output.logits[rows, best][:, None], output.iou[rows, best][:, None], output.object_score
        )


def stability(
    logits: Tensor, offset: float, threshold: float = 0.0, nan: float = float("nan")
) -> Tensor:
    """Return the stability of masks when the threshold changes.

    The intersection over union of the masks at ``threshold + offset`` and ``threshold - offset``.

    Args:
        logits: Shape (..., h, w).
        offset: Distance of the two thresholds from the middle one, in logits.
        threshold: Logit at which a mask begins.
        nan: Value for masks that are empty at the lower threshold.

    Returns:
        Shape (...), float32, in 0..1.
    """
    inner = (logits > threshold + offset).flatten(-2).sum(-1, dtype=torch.int32)
    outer = (logits > threshold - offset).flatten(-2).sum(-1, dtype=torch.int32)
    return torch.where(outer > 0, inner / outer, nan)


def build_sam2(architecture: Sam2Architecture) -> Any:
    """Return SAM 2 without its video memory, the parameters of its layers on the meta device.

    Raises:
        JobError: ``MODEL_INVALID`` when the sizes do not fit together.
    """
    try:
        with ParametersOnMeta():
            return new_sam2(architecture)
    except (TypeError, ValueError, AssertionError, ZeroDivisionError, RuntimeError) as error:
        raise JobError(
            ErrorCode.MODEL_INVALID,
            "The card's sam2.model does not describe a SAM 2 model.",
            "Use one of the named architectures.",
            str(error),
        ) from error


def new_sam2(architecture: Sam2Architecture) -> Any:
    """Return SAM 2 without its video memory, randomly initialised for training."""
    trunk = Hiera(
        embed_dim=architecture.embed_dim,
        num_heads=architecture.num_heads,
        stages=architecture.stages,
        global_att_blocks=architecture.global_att_blocks,
        window_spec=architecture.window_spec,
        window_pos_embed_bkg_spatial_size=architecture.window_pos_embed_bkg_spatial_size,
    )
    neck = FpnNeck(
        position_encoding=PositionEmbeddingSine(architecture.d_model, warmup_cache=False),
        d_model=architecture.d_model,
        backbone_channel_list=architecture.channel_list,
        fpn_top_down_levels=list(architecture.fpn_top_down_levels),
        fpn_interp_model="nearest",
    )
    model = SAM2Base(
        ImageEncoder(trunk=trunk, neck=neck, scalp=1),
        memory_attention=None,
        memory_encoder=None,
        image_size=architecture.image_size,
        directly_add_no_mem_embed=True,
        use_high_res_features_in_sam=True,
        iou_prediction_use_sigmoid=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
    )
    # Both serve video alone, and published files hold them in the shape of the memory encoder.
    del model.maskmem_tpos_enc, model.no_mem_pos_enc
    return model


def without_video_keys(state: State) -> State:
    """Return the tensors of a published checkpoint that the image model uses."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(_VIDEO_KEYS)}


def load_sam2(
    component: Sam2Component,
    folder: Path,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Sam2Model:
    """Return a SAM 2 image model with its weights.

    Args:
        component: What the card says.
        folder: The card's folder.
        device: Where to compute.
        dtype: float32, or float16 or bfloat16 for matrix products under autocast.

    Raises:
        JobError: ``MODEL_MISSING`` or ``MODEL_INVALID``.
    """
    module = build_sam2(component.model)
    state = read_state(folder / component.weights.file, component.weights)
    load_strictly(module, without_video_keys(state), component.weights.file)
    refuse_meta_tensors(module, "SAM 2")
    return Sam2Model(
        module=module.to(device),
        architecture=component.model,
        mean=torch.tensor(component.mean, device=device).reshape(1, 3, 1, 1),
        std=torch.tensor(component.std, device=device).reshape(1, 3, 1, 1),
        device=device,
        dtype=dtype,
    )


def _check_prompts(
    embedding: Sam2Embedding,
    points: Tensor | None,
    labels: Tensor | None,
    boxes: Tensor | None,
    masks: Tensor | None,
) -> None:
    counts = {len(prompt) for prompt in (points, boxes, masks) if prompt is not None}
    if len(counts) != 1 or len(embedding) != 1:
        raise _unfit("Prompts are given for different numbers of objects, or for several images")
    if (points is None) != (labels is None):
        raise _unfit("Points and their labels are not given together")
    if points is not None and labels is not None and points.shape[:2] != labels.shape:
        raise _unfit("There are not as many labels as points")


def _unfit(what: str) -> JobError:
    return JobError(ErrorCode.INVALID_JOB, f"{what}.", "Give one set of prompts for each object.")
