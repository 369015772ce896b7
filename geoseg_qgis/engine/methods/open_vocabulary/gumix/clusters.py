"""Merging of similar regions on the grid of the DINO features (paper: mask merging).

Density clustering with at least one sample a cluster has no noise points: its clusters are the
connected components of the graph "distance at most epsilon".
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn import functional


def region_features(features: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Unit mean feature of each region.

    Args:
        features: (B, N, D).
        codes: (B, N) int64 dense codes.

    Returns:
        Means (B, K, D) float32, K the greatest code plus one, and presence (B, K) bool.
    """
    batch, _, width = features.shape
    count = int(codes.max()) + 1
    offsets = torch.arange(batch, device=codes.device)[:, None] * count
    flat = (codes + offsets).reshape(-1)
    sums = torch.zeros(batch * count, width, device=features.device)
    sums.index_add_(0, flat, features.reshape(-1, width).float())
    sizes = torch.bincount(flat, minlength=batch * count)
    means = functional.normalize(sums / sizes.clamp(min=1)[:, None], dim=-1)
    return means.reshape(batch, count, width), (sizes > 0).reshape(batch, count)


def number_components(adjacency: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Component of each node, numbered in order of first appearance.

    Args:
        adjacency: (N, N) symmetric.

    Returns:
        (N,) component numbers from 0.
    """
    rows, columns = np.nonzero(adjacency)
    return _components(rows, columns, len(adjacency))


def merge_regions(features: Tensor, codes: Tensor, epsilon: float) -> Tensor:
    """Give regions with similar mean features one code; code 0 is left out.

    The distance of two regions is the greatest cosine of the window minus their cosine.

    Args:
        features: (B, N, D) unit rows.
        codes: (B, N) int64 dense codes.
        epsilon: Greatest distance that links two regions.

    Returns:
        (B, N) int64, clusters counted from 1 by first appearance among ascending codes.
    """
    means, present = region_features(features, codes)
    present[:, 0] = False
    cosine = means @ means.transpose(1, 2)
    pairs = present[:, :, None] & present[:, None, :]
    greatest = cosine.masked_fill(~pairs, -torch.inf).amax(dim=(1, 2), keepdim=True)
    window, row, column = torch.nonzero(pairs & (greatest - cosine <= epsilon), as_tuple=True)
    count = codes.shape[0] * means.shape[1]
    components = _components(
        (window * means.shape[1] + row).cpu().numpy(),
        (window * means.shape[1] + column).cpu().numpy(),
        count,
    ).reshape(present.shape)
    clusters = _number_by_window(components, present.cpu().numpy())
    return torch.gather(torch.from_numpy(clusters).to(codes.device), 1, codes)


def _components(
    rows: NDArray[np.int64], columns: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    graph = coo_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    return _rank_by_appearance(labels)


def _rank_by_appearance(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    ranked: NDArray[np.int64] = rank[inverse.reshape(-1)]
    return ranked


def _number_by_window(
    components: NDArray[np.int64], present: NDArray[np.bool_]
) -> NDArray[np.int64]:
    clusters = np.zeros(components.shape, dtype=np.int64)
    for window, here in enumerate(present):
        clusters[window, here] = _rank_by_appearance(components[window, here]) + 1
    return clusters
