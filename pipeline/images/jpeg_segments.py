"""The segments of a JPEG file, and what its frame and its tables say about the scans.

Markers are those of ITU-T T.81, annex B.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

MARKER = re.compile(rb"\xff([^\x00\xff])")
TEM, SOS, EOI, DHT, DRI = 0x01, 0xDA, 0xD9, 0xC4, 0xDD
RESTARTS = range(0xD0, 0xD8)
FRAMES = {*range(0xC0, 0xD0)} - {DHT, 0xC8, 0xCC}
TABLES = {DHT, 0xCC, 0xDB, DRI}  # Huffman's, arithmetic coding's, quantization, restart interval
_SEQUENTIAL = {0xC0, 0xC1}  # coded with Huffman's tables
_HUFFMAN, _PROGRESSIVE = {0xC0, 0xC1, 0xC2}, {0xC2, 0xCA}
_MAX_TABLE_BYTES = 1_000_000  # real files have at most 1 kB for each scan


class JpegSegment(NamedTuple):
    """A marker, its parameters, and where in the data both stand."""

    marker: int
    parameters: bytes
    start: int
    end: int


def next_segment(data: bytes, position: int) -> JpegSegment:
    """Find the next marker that has parameters; EOFError if the picture ends before."""
    match = MARKER.search(data, position)
    if match is None or match[1][0] == EOI:
        raise EOFError("truncated: scans are missing")
    marker, start = match[1][0], match.end()
    if marker == TEM or marker in RESTARTS:
        return JpegSegment(marker, b"", start - 2, start)
    end = start + max(2, int.from_bytes(data[start : start + 2]))
    if end > len(data):
        raise EOFError("truncated within a segment")
    return JpegSegment(marker, data[start + 2 : end], start - 2, end)


def components_of(scan: bytes) -> bytes:
    """Return the components of a scan with these parameters, one in each byte."""
    return scan[1 : 2 * scan[0] : 2]


@dataclass
class Tables:
    """What the tables that precede a scan say about it."""

    interval: int = 0  # minimum coded units between restart markers; 0: there are none
    zero_codes: dict[int, int] = field(default_factory=dict)
    """Huffman table → the symbol whose code is all zeros, which is its first."""
    size: int = 0  # bytes so far

    def read(self, segment: JpegSegment) -> None:
        """Take in a segment of tables; ValueError if there are more than in any real file."""
        data, position = segment.parameters, 0
        self.size += len(data)
        if self.size > _MAX_TABLE_BYTES:
            raise ValueError("too many tables")
        if segment.marker == DRI:
            self.interval = int.from_bytes(data)
        while segment.marker == DHT and position + 17 < len(data):
            self.zero_codes[data[position]] = data[position + 17]
            position += 17 + sum(data[position + 1 : position + 17])


@dataclass
class Frame:
    """The picture that the scans fill, and what they have not filled yet."""

    marker: int
    width: int
    height: int
    sampling: dict[int, tuple[int, int]]  # component → horizontal, vertical
    missing: dict[int, list[int]]  # component → bits that are missing, by coefficient

    @classmethod
    def of(cls, segment: JpegSegment) -> Frame:
        """Read the parameters of a start of frame."""
        _, height, width, count = struct.unpack_from(">BHHB", segment.parameters)
        sampling = {
            name: (factors >> 4, factors & 15)
            for name, factors, _ in struct.iter_unpack("3B", segment.parameters[6 : 6 + 3 * count])
        }
        return cls(segment.marker, width, height, sampling, {name: [99] * 64 for name in sampling})

    @property
    def is_huffman(self) -> bool:
        """Whether its scans are coded with Huffman's tables."""
        return self.marker in _HUFFMAN

    @property
    def is_complete(self) -> bool:
        """Whether every coefficient of every component has its last bit."""
        return not any(map(any, self.missing.values()))

    def fill(self, scan: bytes) -> None:
        """Note what a scan with these parameters brings; EOFError if one before it is missing."""
        first, last, approximation = scan[-3:]
        if self.marker not in _PROGRESSIVE:  # the three mean nothing there
            first, last, approximation = 0, 63, 0
        before, after = approximation >> 4, approximation & 15
        for component in components_of(scan):
            missing = self.missing[component]
            if before and {*missing[first : last + 1]} != {before}:
                raise EOFError("truncated: scans are missing")
            missing[first : last + 1] = [after] * (last + 1 - first)

    def samples(self, components: Iterable[int]) -> int:
        """Count the samples of components of the picture, about."""
        x_max, y_max = self._largest
        factors = sum(x * y for x, y in map(self.sampling.__getitem__, components))
        return self.width * self.height * factors // (x_max * y_max)

    @cached_property
    def _largest(self) -> tuple[int, int]:
        """The largest horizontal and vertical sampling factors."""
        x, y = zip(*self.sampling.values(), strict=True)
        return max(x), max(y)

    def units(self, scan: bytes) -> int:
        """Count the minimum coded units of a scan with these parameters."""
        x_max, y_max = self._largest
        x, y = self.sampling[scan[1]] if scan[0] == 1 else (1, 1)  # one component: its own blocks
        across, down = -(-self.width * x // (8 * x_max)), -(-self.height * y // (8 * y_max))
        return int(across * down)

    def can_be_zeros(self, scan: bytes, tables: Tables) -> bool:
        """Whether long runs of zeros may be data of a scan.

        In a sequential scan they are flat blocks, if zeros are the code of the end of a block;
        else each coefficient of each block is -1, which no picture shows.
        """
        table = 0x10 | scan[2] & 15  # of the first component's AC coefficients
        return self.marker not in _SEQUENTIAL or tables.zero_codes.get(table, 0) == 0
