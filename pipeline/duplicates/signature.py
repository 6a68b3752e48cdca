"""What is kept of a photo to recognize its edited copies: 1.6 KB, whatever its size.

A thumbnail that is stretched to a square, and hashes of windows of it. A copy that was cropped has
about the hash of a window of the original; one with a logo has it where the logo is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.uint64]

SIDE, CHROMA_SIDE = 32, 16  # of the thumbnails of luma and of chroma
_LUMA_BYTES = SIDE**2
THUMBNAIL_BYTES = _LUMA_BYTES + 2 * CHROMA_SIDE**2
DIGEST_BYTES = 16
_BITS_SIDE = 8  # 8² = 64 bits: coarse enough to forgive an edge that is 2 % off
_CROP_SIDES = (
    *((0.05, 0.95, 0.05, 0.95), (0.1, 0.9, 0.1, 0.9)),
    *((0.05, 0.9, 0.05, 0.95), (0.1, 0.95, 0.05, 0.95)),
    *((0.05, 0.95, 0.05, 0.9), (0.05, 0.95, 0.1, 0.95)),
    *((0.05, 0.9, 0.05, 0.9), (0.1, 0.95, 0.05, 0.9)),
    *((0.05, 0.9, 0.1, 0.95), (0.1, 0.95, 0.1, 0.95)),
)
WINDOWS: tuple[tuple[float, float, float, float], ...] = (
    *((0, 1, 0, 1), *_CROP_SIDES),
    *((0, 1, 0, 0.75), (0, 1, 0.25, 1)),
)
"""(left, right, top, bottom) of the parts that are hashed: the whole; what is left by crops; and
two without the top or the bottom, where logos are. Each has its mirror image among them."""
CROPS, HALVES = range(1, 1 + len(_CROP_SIDES)), range(len(WINDOWS) - 2, len(WINDOWS))
METHOD = "windows 3"
"""Names what is kept: signatures, and links, by another method are made anew."""


class Signatures(NamedTuple):
    """The signatures of n photos."""

    photos: U8
    """(n, 32): the SHA-256 of each file."""
    pixels: U8
    """(n, 16): a digest of each picture, which files of the same pixels share."""
    aspects: F32
    """(n,): width / height."""
    codes: Codes
    """(n, windows) uint64: a perceptual hash of each of `WINDOWS`."""
    thumbnails: U8
    """(n, 1536): luma, 32×32, then Cb and Cr, 16×16."""

    @classmethod
    def join(cls, parts: Sequence[Signatures]) -> Signatures:
        """Return the signatures of several arrays of photos as one."""
        fields: list[Any] = [np.concatenate(x) for x in zip(empty(), *parts, strict=True)]
        return cls(*fields)

    def take(self, rows: npt.NDArray[np.int64] | slice) -> Signatures:
        """Return those of some rows."""
        return Signatures._make(array[rows] for array in self)

    @property
    def luma(self) -> F32:
        """(n, 32, 32) float32, 0..255."""
        return self.thumbnails[:, :_LUMA_BYTES].reshape(-1, SIDE, SIDE).astype(np.float32)

    @property
    def chroma(self) -> F32:
        """(n, 2, 16, 16) float32, 0..255: Cb and Cr."""
        sides = CHROMA_SIDE, CHROMA_SIDE
        return self.thumbnails[:, _LUMA_BYTES:].reshape(-1, 2, *sides).astype(np.float32)


def empty() -> Signatures:
    """Return the signatures of no photos."""
    return Signatures(
        np.empty((0, 32), np.uint8),
        np.empty((0, DIGEST_BYTES), np.uint8),
        np.empty(0, np.float32),
        np.empty((0, len(WINDOWS)), np.uint64),
        np.empty((0, THUMBNAIL_BYTES), np.uint8),
    )


def sign(sha256: bytes, image: Image.Image) -> Signatures:
    """RGB image → the signature of one photo, whose file has this SHA-256.

    sign(photo.sha256, decode(data, limits)).codes  # (1, 9)
    """
    picture = hashlib.sha256(np.asarray(image).tobytes() + str(image.size).encode())
    luma, *chroma = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR).convert("YCbCr").split()
    halves = [c.resize((CHROMA_SIDE, CHROMA_SIDE), Image.Resampling.BOX) for c in chroma]
    thumbnail = np.concatenate([np.asarray(part).ravel() for part in (luma, *halves)])[np.newaxis]
    rows = [np.frombuffer(digest, np.uint8)[np.newaxis] for digest in (sha256, picture.digest())]
    codes = window_codes(np.asarray(luma, np.float32)[np.newaxis])
    aspect = np.array([image.width / image.height], np.float32)
    return Signatures(rows[0], rows[1][:, :DIGEST_BYTES], aspect, codes, thumbnail)


def window_codes(luma: F32) -> Codes:
    """(n, 32, 32) luma → (n, windows) uint64: the signs of a window's low frequencies.

    Both the window and its cosine transform are linear: they are one matrix for each side.
    """
    codes = []
    for left, right, top, bottom in WINDOWS:
        frequencies = _frequencies(top, bottom) @ luma @ _frequencies(left, right).T
        codes.append(np.packbits(frequencies.reshape(len(luma), -1) > 0, axis=1).view(np.uint64))
    return np.concatenate(codes, axis=1) if len(luma) else np.empty((0, len(WINDOWS)), np.uint64)


def mirrored_codes(codes: Codes) -> Codes:
    """(n, windows) → those of the mirrored photos: odd frequencies across have the other sign."""
    return codes[:, _MIRROR_IMAGES] ^ _ODD_ACROSS


def _frequencies(start: float, end: float) -> F32:
    """(8, 32) float32: the first cosines of what is between two places of a line of pixels."""
    cosines = np.cos(np.pi / SIDE * np.outer(np.arange(_BITS_SIDE), np.arange(SIDE) + 0.5))
    edges = np.linspace(start, end, SIDE + 1) * SIDE
    pixels = np.arange(SIDE)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    covered = covered.clip(0)
    window = covered / covered.sum(axis=1, keepdims=True)
    product: F32 = (cosines @ window).astype(np.float32)
    return product


def _mirror_image(window: int) -> int:
    left, right, top, bottom = WINDOWS[window]
    image = (1 - right, 1 - left, top, bottom)
    return int(np.abs(np.array(WINDOWS) - image).sum(axis=1).argmin())


_MIRROR_IMAGES = np.array([_mirror_image(window) for window in range(len(WINDOWS))])
_ODD_ACROSS = np.packbits(np.arange(_BITS_SIDE**2) % 2 == 1).view(np.uint64)
