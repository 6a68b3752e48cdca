"""What the headers of coded pictures, of AV1 and of HEVC, are read with."""

from __future__ import annotations

from typing import NamedTuple

MAX_UNITS = 2000  # of the data of a picture; real ones have at most some hundred
_LEAST_BYTES = 10_000  # what even the smallest picture costs, in time


class CodedPicture(NamedTuple):
    """What a decoder allocates for a picture, whatever the file around it says of its size."""

    width: int
    height: int
    samples: float  # of each pixel, in all planes
    depth: int  # bits of a sample

    @property
    def bytes(self) -> int:
        """What all of its planes take."""
        return max(_LEAST_BYTES, int(self.width * self.height * self.samples) * -(-self.depth // 8))


class Bits:
    """Numbers of any count of bits, the most significant one first.

    Bits(bytes([0x50])).read(4)   # 5
    """

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data), 8 * len(data)

    def read(self, count: int) -> int:
        """Read a number of `count` bits; EOFError if there are fewer left."""
        self._left -= count
        if self._left < 0:
            raise EOFError("truncated header of a picture")
        return self._value >> self._left & (1 << count) - 1

    def read_golomb(self) -> int:
        """Read a number in Exp-Golomb code: ue(v) of HEVC, uvlc() of AV1."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)
