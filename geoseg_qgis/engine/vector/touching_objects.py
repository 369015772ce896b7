"""Touching objects of one class as areas of their own, from a map of object numbers.

Pixels of an area are labelled with class and object together. Where an object falls into pieces,
its largest piece is the object. A connected area of a class is divided where at least two objects
cover half of it or more; the rest of its pixels join the object with which they share the longest
border. Other areas stay as they are, so that a mask of part of a roof cuts nothing off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from .components import Components, ReadClasses, join_labels, labelled_bands

ReadObjects = Callable[[Window], NDArray[np.int32]]
"""Returns the object numbers (h, w) of a window, 0 for none."""

DIVIDING_COVER = 0.5
# A key is the number of an object times this, plus the class.
_KEYS = 256
_Integers = NDArray[np.int64]


def read_keys(read_classes: ReadClasses, read_objects: ReadObjects) -> ReadClasses:
    """Return a reader of keys that tell class and object; 0 where there is no class."""

    def read(window: Window) -> NDArray[np.integer]:
        classes = read_classes(window).astype(np.int64)
        return np.where(classes > 0, read_objects(window) * np.int64(_KEYS) + classes, 0)

    return read


def gather_objects(found: Components, read: ReadClasses) -> Components:
    """Return the areas of the objects of components of keys, with the classes of the keys.

    Args:
        found: Components of equal keys.
        read: Returns the keys (h, w) of a window, see `read_keys`.
    """
    keys = found.class_ids.astype(np.int64)
    if not len(keys):
        return replace(found, class_ids=found.class_ids.astype(np.uint8))
    first, second, border = _borders(found, read, keys % _KEYS)
    groups = _group(keys, found.pixels, first, second, border)
    return _merged(found, groups, keys % _KEYS)


def _group(
    keys: _Integers, pixels: _Integers, first: _Integers, second: _Integers, border: _Integers
) -> NDArray[np.int32]:
    """Return the group of each component, from 0.

    Args:
        keys: (n,) key of each component.
        pixels: (n,) its pixels.
        first: (m,) one component of each pair of the same class that touches.
        second: (m,) the other one.
        border: (m,) pixel edges that they share.
    """
    count = len(keys)
    main = _largest_pieces(keys, pixels)
    whole = join_labels(first, second, count)
    covered = np.bincount(whole, np.where(main, pixels, 0))
    divided = covered >= DIVIDING_COVER * np.bincount(whole, pixels)
    divided &= np.bincount(whole, main) > 1
    # Rests of a divided area hang together, up to its objects.
    apart = divided[whole]
    loose = ~main[first] & ~main[second] & apart[first]
    pieces = join_labels(first[loose], second[loose], count)
    mixed = (main[first] != main[second]) & apart[first]
    objects = np.where(main[first], first, second)[mixed]
    rests = pieces[np.where(main[first], second, first)[mixed]]
    pairs, index = np.unique(np.stack([rests, objects]), axis=1, return_inverse=True)
    lengths = np.bincount(index.ravel(), border[mixed], minlength=pairs.shape[1])
    order = np.lexsort((pairs[1], -lengths, pairs[0]))
    rests, longest = np.unique(pairs[0][order], return_index=True)
    owner_of = np.full(count, -1, dtype=np.int64)
    owner_of[rests] = pairs[1][order][longest]
    joining = np.flatnonzero(apart & ~main & (owner_of[pieces] >= 0))
    together = ~apart[first]
    return join_labels(
        np.concatenate([joining, first[together]]),
        np.concatenate([owner_of[pieces][joining], second[together]]),
        count,
    )


def _largest_pieces(keys: _Integers, pixels: _Integers) -> NDArray[np.bool_]:
    """Return which components are the largest piece of their object."""
    objects = keys // _KEYS
    order = np.lexsort((np.arange(len(keys)), -pixels, objects))
    leads = np.r_[True, objects[order][1:] != objects[order][:-1]]
    main = np.zeros(len(keys), dtype=np.bool_)
    main[order[leads]] = True
    return main & (objects > 0)


def _borders(
    found: Components, read: ReadClasses, classes: _Integers
) -> tuple[_Integers, _Integers, _Integers]:
    """Return the pairs of components of one class that touch, and the edges that they share."""
    numbers = found.joins.astype(np.int32) + 1
    count = len(found.pixels) + 1
    class_of = np.concatenate([[0], classes])
    above: NDArray[np.int32] | None = None
    codes, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for _, labels in labelled_bands(found.shape, read, numbers):
        rows = labels if above is None else np.concatenate([above[None], labels])
        for one, other in ((labels[:, :-1], labels[:, 1:]), (rows[:-1], rows[1:])):
            touching = (one != other) & (class_of[one] == class_of[other]) & (class_of[one] > 0)
            low = np.minimum(one[touching], other[touching]).astype(np.int64)
            code, number = np.unique(
                low * count + np.maximum(one[touching], other[touching]), return_counts=True
            )
            codes.append(code)
            counts.append(number.astype(np.int64))
        above = labels[-1]
    pairs, index = np.unique(np.concatenate(codes), return_inverse=True)
    lengths = np.bincount(index, np.concatenate(counts), minlength=len(pairs))
    first, second = np.divmod(pairs, count)
    return first - 1, second - 1, lengths.astype(np.int64)


def _merged(found: Components, groups: NDArray[np.int32], classes: _Integers) -> Components:
    count = int(groups.max()) + 1

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(groups, values * found.pixels, minlength=count) / pixels

    pixels = np.bincount(groups, found.pixels, minlength=count)
    class_ids = np.zeros(count, dtype=np.uint8)
    class_ids[groups] = classes
    return Components(
        class_ids=class_ids,
        pixels=pixels.astype(np.int64),
        columns=mean(found.columns),
        rows=mean(found.rows),
        scores=mean(found.scores),
        joins=groups[found.joins],
        shape=found.shape,
    )
