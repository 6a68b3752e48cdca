"""How much of two photos is the same picture, once one is laid on the other, mirrored or not."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.duplicates.alignment import F32, Mask, Placement, align, shrunk
from pipeline.duplicates.signature import (
    CROPS,
    HALVES,
    SIDE,
    WINDOWS,
    Signatures,
    mirrored_codes,
)

MAX_BITS = 11
"""Bits, of 64, in which the hashes of two windows differ at most that are worth a closer look."""
MIN_SIMILARITY = 0.8
"""From which two photos are near-duplicates: see docs/duplicates.md, where it is measured."""
COMPARISONS: tuple[tuple[int, int], ...] = (
    (0, 0),
    *((0, crop) for crop in CROPS),
    *((crop, 0) for crop in CROPS),
    *((half, half) for half in HALVES),
)
"""Which window of a photo is compared with which one of another."""
_BLOCK = 256  # pairs whose pixels are compared at a time
_CELLS, _MAX_LUMA, _MAX_CHROMA = 8, 30, 13
_MIN_OVERLAP = 0.5
_GAIN = (0.8, 1.25)  # brightness may differ by this much
_MAX_CAST = 8  # levels by which a tint may move the chroma of all pixels
_WHITE = 245  # levels from which white may have been cut off
_MAX_SQUEEZE = 0.05  # of a crop's sides' ratio: rounding, and what alignment misses
_WHOLE = 0.03  # of a side: a photo that was squeezed shows all of the other one
_CHROMA_LEVELS = 5  # of 256: differences that compression makes
_LUMA_LEVELS = 3, 12  # in black and in white: dark things are alike but for few levels
_SLOPE = 0.7  # pixels by which an edge may be off
_MAX_EDGE = 40  # levels: a stronger edge, as those of a logo, counts as this
_CLEAR = 60  # levels from the ground's color that make a pixel count in full


def similarity(a: Signatures, b: Signatures) -> F32:
    """Return the similarity of each of n photos to the one in its place in `b`: (n,), 0 to 1.

        similarity(signatures.take(rows), signatures.take(others)) >= MIN_SIMILARITY

    The share of the foreground that agrees, times that share where there are edges: most photos
    show something small on a plain ground, which all of them share. It is symmetric: which one is
    laid on the other follows from their content. 0 where no two windows look alike.
    """
    scores = np.zeros(len(a.codes), np.float32)
    for start in range(0, len(scores), _BLOCK):
        block = slice(start, start + _BLOCK)
        scores[block] = _similarity(*_in_order(a.take(block), b.take(block)))
    return scores


class _Likeness(NamedTuple):
    """The windows in which n pairs of photos are most alike."""

    bits: npt.NDArray[np.int64]
    is_mirrored: Mask
    start: Placement


def _similarity(a: Signatures, b: Signatures) -> F32:
    likeness = _likeness(a, b)
    scores = np.zeros(len(a.codes), np.float32)
    near = np.flatnonzero((likeness.bits <= MAX_BITS) & _is_worth_aligning(a, b, likeness))
    if len(near):
        start = Placement(*(line[near] for line in likeness.start))
        scores[near] = _agreement(a.take(near), b.take(near), likeness.is_mirrored[near], start)
    return scores


def _is_worth_aligning(a: Signatures, b: Signatures, likeness: _Likeness) -> Mask:
    """Whether cells of 8×8 have about the same luma and chroma; eight of nine others have not."""
    overlap = likeness.start.overlap(_CELLS)
    area = np.maximum(overlap.sum(axis=(1, 2)), 1)

    def differ(one: F32, other: F32) -> F32:
        """(n,) mean difference of cells, where one photo lies on the other."""
        cells, below = (shrunk(image, image.shape[-1] // _CELLS) for image in (one, other))
        apart = np.abs(
            _mirrored(cells, likeness.is_mirrored) - likeness.start.sample(below, _CELLS)
        )
        mean: F32 = (apart * overlap).sum(axis=(1, 2)) / area
        return mean

    is_alike: Mask = differ(a.luma, b.luma) <= _MAX_LUMA
    of_a, of_b = a.chroma, b.chroma
    for channel in (0, 1):
        is_alike &= differ(of_a[:, channel], of_b[:, channel]) <= _MAX_CHROMA
    return is_alike


def _likeness(a: Signatures, b: Signatures) -> _Likeness:
    of_a, of_b = np.array(COMPARISONS).T
    bits = [
        np.bitwise_count(codes[:, of_a] ^ b.codes[:, of_b])
        for codes in (a.codes, mirrored_codes(a.codes))
    ]
    either = np.concatenate(bits, axis=1)
    best = either.argmin(axis=1)
    across, down = _STARTS[:, best % len(COMPARISONS)]
    return _Likeness(
        either.min(axis=1).astype(np.int64), best >= len(COMPARISONS), Placement(across, down)
    )


def _starts() -> F32:
    """(2, comparisons, 2): across and down, the place and size of a photo on the other one."""
    starts = []
    for of_a, of_b in COMPARISONS:
        lines = [(0.0, 1.0), (0.0, 1.0)]
        if of_a == 0:
            left, right, top, bottom = WINDOWS[of_b]
            lines = [(left, right - left), (top, bottom - top)]
        elif of_b == 0:
            left, right, top, bottom = WINDOWS[of_a]
            lines = [(-s / (e - s), 1 / (e - s)) for s, e in ((left, right), (top, bottom))]
        starts.append(lines)
    return np.array(starts, np.float32).transpose(1, 0, 2)


_STARTS = _starts()


def _agreement(a: Signatures, b: Signatures, is_mirrored: Mask, start: Placement) -> F32:
    """The similarity of pairs of which it is known about how one lies on the other."""
    luma, chroma = (_mirrored(image, is_mirrored) for image in (a.luma, a.chroma))
    place = align(luma, b.luma, start)
    overlap = place.overlap(SIDE)
    whole = Placement(*np.tile(np.array([0, 1], np.float32), (2, len(luma), 1)))
    one = _layers(luma, chroma, whole)
    other = _in_light_of(one, _layers(b.luma, b.chroma, place), overlap)
    agrees, edges = _compare(one, other)
    foreground = np.minimum(_foreground(one), _foreground(other))
    shares = [_share(agrees, w * overlap) for w in (foreground, edges.clip(0, _MAX_EDGE))]
    is_possible = (overlap.mean(axis=(1, 2)) >= _MIN_OVERLAP) & _keeps_shape(a, b, place)
    result: F32 = shares[0] * shares[1] * is_possible
    return result


def _keeps_shape(a: Signatures, b: Signatures, place: Placement) -> Mask:
    """Whether each photo is a part of the other one, or the whole squeezed; not a squeezed part.

    So two products of other proportions are not stretched until they look the same.
    """
    width, height = place.across[:, 1], place.down[:, 1]
    squeeze = np.abs(np.log(width / height * b.aspects / a.aspects))
    is_whole = np.maximum(np.abs(width - 1), np.abs(height - 1)) < _WHOLE
    possible: Mask = (squeeze < _MAX_SQUEEZE) | is_whole
    return possible


def _layers(luma: F32, chroma: F32, place: Placement) -> F32:
    """(n, 3, side, side): luma, 0..255, Cb and Cr, around 0, of what lies at this place."""
    layers = (luma, *(chroma - 128).swapaxes(0, 1))
    return np.stack([place.sample(layer, SIDE) for layer in layers], axis=1)


def _in_light_of(photos: F32, below: F32, overlap: Mask) -> F32:
    """Layers of what lies below photos, as bright as these, and in their tint."""
    lit = _gain(photos[:, 0], below[:, 0], overlap)[:, np.newaxis, np.newaxis, np.newaxis] * below
    lit[:, 0] = np.minimum(lit[:, 0], 255)
    lit[:, 1:] += _cast(photos[:, 1:] - lit[:, 1:])
    return lit


def _compare(a: F32, b: F32) -> tuple[Mask, F32]:
    """Layers → (n, side, side): which pixels agree, and how strong the edges are there."""
    slopes = [np.abs(slope) for layers in (a, b) for slope in np.gradient(layers, axis=(2, 3))]
    edges: F32 = np.maximum.reduce(slopes)
    tolerance = _SLOPE * edges
    tolerance[:, 0] += np.interp(np.maximum(a[:, 0], b[:, 0]), (0, 255), _LUMA_LEVELS)
    tolerance[:, 1:] += _CHROMA_LEVELS
    agrees: Mask = (np.abs(a - b) <= tolerance).all(axis=1)
    return agrees, edges.sum(axis=1)


def _foreground(layers: F32) -> F32:
    """(n, side, side): how much each pixel differs from the ground: the median of the border."""
    sides = (layers[:, :, 0], layers[:, :, -1], layers[..., 0], layers[..., -1])
    ground = np.median(np.concatenate(sides, axis=2), axis=2)[..., np.newaxis, np.newaxis]
    weights: F32 = np.abs(layers - ground).max(axis=1).clip(0, _CLEAR)
    return weights


def _gain(luma: F32, below: F32, overlap: Mask) -> F32:
    """(n,): how much brighter the photos are than what lies below them."""
    is_used = overlap & (np.minimum(luma, below) < _WHITE)
    ratios = np.where(is_used, (luma + 4) / (below + 4), np.inf).reshape(len(luma), -1)
    ratios.sort(axis=1)  # what is not used comes last, so that the median is half as far
    median = ratios[np.arange(len(ratios)), is_used.sum(axis=(1, 2)) // 2]
    gain: F32 = np.where(median < np.inf, median, 1).clip(*_GAIN).astype(np.float32)
    return gain


def _cast(apart: F32) -> F32:
    """(n, 2, side, side) differences of chroma → (n, 2, 1, 1): what a tint of the light makes."""
    median: F32 = np.median(apart, axis=(2, 3), keepdims=True).clip(-_MAX_CAST, _MAX_CAST)
    return median


def _share(agrees: Mask, weights: npt.NDArray[np.generic]) -> F32:
    """(n,): the share of the weights that agrees; 1 where nothing has weight."""
    total = weights.sum(axis=(1, 2), dtype=np.float32)
    share: F32 = (agrees * weights).sum(axis=(1, 2), dtype=np.float32) / np.maximum(total, 1e-6)
    return np.where(total > 0, share, 1).astype(np.float32)


def _mirrored(images: F32, is_mirrored: Mask) -> F32:
    chosen = is_mirrored.reshape(-1, *(1,) * (images.ndim - 1))
    return np.where(chosen, images[..., ::-1], images)


def _in_order(a: Signatures, b: Signatures) -> tuple[Signatures, Signatures]:
    """Return both, each pair in the order of its photos' hashes."""
    swap = _comes_later(a.photos, b.photos)[:, np.newaxis]
    pairs: list[tuple[Any, Any]] = list(zip(a, b, strict=True))
    first = [np.where(swap if x.ndim > 1 else swap[:, 0], y, x) for x, y in pairs]
    second = [np.where(swap if x.ndim > 1 else swap[:, 0], x, y) for x, y in pairs]
    return Signatures(*first), Signatures(*second)


def _comes_later(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> Mask:
    """Whether each (32,) hash of `a` comes after that of `b`."""
    differ = a != b
    first = differ.argmax(axis=1)
    rows = np.arange(len(a))
    later: Mask = a[rows, first] > b[rows, first]
    return later
