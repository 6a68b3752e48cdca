"""The structure of a JPEG file, read without decoding: its segments, scans and restart intervals.

Markers, frames and scans are those of ITU-T T.81, annex B.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import NamedTuple

_MARKER = re.compile(rb"\xff([^\x00\xff])")
_TEM, _SOS, _EOI, _DRI = 0x01, 0xDA, 0xD9, 0xDD
_RESTARTS = range(0xD0, 0xD8)
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_HUFFMAN, _PROGRESSIVE = {0xC0, 0xC1, 0xC2}, {0xC2, 0xCA}
_TABLES = {0xC4, 0xCC, 0xDB, _DRI}  # Huffman's, arithmetic coding's, quantization
_APPLICATION = {0xE0: b"JFIF\0", 0xE1: b"Exif\0\0", 0xEE: b"Adobe"}  # the first of each is read
_MAX_SEGMENTS = 10_000  # real files have at most some hundred: pieces of XMP and of ICC profiles
_MAX_TABLE_BYTES = 1_000_000  # real files have at most 1 kB for each scan
_MAX_INTERVALS = 500_000
_MAX_SCANS = 100  # real progressive files have about 10
_MAX_SCANNED = 1_500_000_000  # pixels, over all scans: each is a pass over all of them
_PADDING = bytes(value * 89 % 255 for value in range(2, 130))  # irregular, and without 0xFF
_BEGIN, _END = b"\xff\xd8", b"\xff\xd9"


class _Segment(NamedTuple):
    """A marker, its parameters, and where the segment ends."""

    marker: int
    parameters: bytes
    end: int

    @property
    def encoded(self) -> bytes:
        """The segment as it stands in a file."""
        return struct.pack(">BBH", 255, self.marker, len(self.parameters) + 2) + self.parameters


@dataclass
class _Frame:
    """The picture that the scans fill, and what they have not filled yet."""

    marker: int
    width: int
    height: int
    sampling: dict[int, tuple[int, int]]  # component → horizontal, vertical
    missing: dict[int, list[int]]  # component → bits that are missing, by coefficient

    @classmethod
    def of(cls, segment: _Segment) -> _Frame:
        """Read the parameters of a start of frame."""
        _, height, width, count = struct.unpack_from(">BHHB", segment.parameters)
        sampling = {
            name: (factors >> 4, factors & 15)
            for name, factors, _ in struct.iter_unpack("3B", segment.parameters[6 : 6 + 3 * count])
        }
        return cls(segment.marker, width, height, sampling, {name: [99] * 64 for name in sampling})

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
        for component in scan[1 : 2 * scan[0] : 2]:
            missing = self.missing[component]
            if before and {*missing[first : last + 1]} != {before}:
                raise EOFError("truncated: scans are missing")
            missing[first : last + 1] = [after] * (last + 1 - first)

    def check_scans(self, scans: int) -> None:
        """Raise ValueError if so many passes over the picture are too many."""
        if scans > 2 and scans * max(self.width * self.height, _MAX_SCANNED // _MAX_SCANS) > (
            _MAX_SCANNED
        ):
            raise ValueError("too many scans")

    def units(self, scan: bytes) -> int:
        """Count the minimum coded units of a scan with these parameters."""
        x_max, y_max = (max(factors) for factors in zip(*self.sampling.values(), strict=True))
        x, y = self.sampling[scan[1]] if scan[0] == 1 else (1, 1)  # one component: its own blocks
        across, down = -(-self.width * x // (8 * x_max)), -(-self.height * y // (8 * y_max))
        return int(across * down)


@dataclass
class JpegScans:
    """What of a JPEG file makes its picture."""

    is_huffman: bool = True
    is_ended: bool = False  # an end marker follows what completes the picture
    scans: int = 0
    intervals: int = 0  # restart intervals, over all scans
    pieces: list[bytes] = field(default_factory=lambda: [_BEGIN])
    coded: list[int] = field(default_factory=list)  # which pieces are entropy-coded data

    @property
    def essentials(self) -> bytes:
        """The file without what does not belong to its picture."""
        return b"".join([*self.pieces, _END])

    @property
    def tail(self) -> bytes:
        """The entropy-coded data of the last restart interval."""
        return self.pieces[self.coded[-1]]

    def padded(self, tail: bytes | None = None) -> bytes:
        """Return the essentials with padding after the data of each restart interval.

        What follows the last block of an interval is skipped up to the next marker: padding changes
        nothing there, while an interval that lacks data reads it and shows another picture. `tail`
        stands in for the data of the last interval.
        """
        pieces = list(self.pieces)
        pieces[self.coded[-1]] = self.tail if tail is None else tail
        for index in self.coded:
            pieces[index] += _PADDING
        return b"".join([*pieces, _END])


def read_scans(data: bytes) -> JpegScans:
    """Read the structure of a JPEG file up to where its picture is complete.

        scans = read_scans(Path("photo.jpg").read_bytes())

    What comes later (an end marker, other pictures, what cameras append) is left out, and so are
    segments that do not belong to the picture.

    Raises:
        EOFError: there are scans or restart intervals missing.
        ValueError, KeyError, struct.error: it is damaged, or has more parts than any real file.
    """
    result, frame, interval, table_bytes = JpegScans(), None, 0, 0
    position, application = len(_BEGIN), dict(_APPLICATION)
    for _ in range(_MAX_SEGMENTS):
        segment = _next_segment(data, position)
        marker, parameters, position = segment
        if marker in _FRAMES:
            frame = _Frame.of(segment)
            result.is_huffman = marker in _HUFFMAN
        elif marker in _TABLES:
            table_bytes += len(parameters)
            interval = int.from_bytes(parameters) if marker == _DRI else interval
        elif marker in application and parameters.startswith(application[marker]):
            del application[marker]
        elif marker != _SOS:
            continue
        result.pieces.append(segment.encoded)
        if marker == _SOS:
            if frame is None:
                raise ValueError("a scan without a frame")
            frame.fill(parameters)
            frame.check_scans(result.scans + 1)
            position = _read_scan(data, position, result, frame.units(parameters), interval)
            if frame.is_complete:
                result.is_ended = data[position : position + 2] == _END
                return result
        if table_bytes > _MAX_TABLE_BYTES:
            raise ValueError("too many tables")
    raise ValueError("too many segments")


def _next_segment(data: bytes, position: int) -> _Segment:
    """Find the next marker that has parameters; EOFError if the picture ends before."""
    match = _MARKER.search(data, position)
    if match is None or match[1] == _END[1:]:
        raise EOFError("truncated: scans are missing")
    marker, start = match[1][0], match.end()
    if marker == _TEM or marker in _RESTARTS:
        return _Segment(marker, b"", start)
    (length,) = struct.unpack_from(">H", data, start)
    if start + length > len(data):
        raise EOFError("truncated within a segment")
    return _Segment(marker, data[start + 2 : start + length], start + max(length, 2))


def _read_scan(data: bytes, start: int, result: JpegScans, units: int, interval: int) -> int:
    """Add the restart intervals of a scan that begins at `start`; return where it ends."""
    expected = -(-units // interval) if interval else 1
    result.scans += 1
    result.intervals += expected
    if result.intervals > _MAX_INTERVALS:
        raise ValueError("too many restart intervals")
    for number in range(expected):
        match = _MARKER.search(data, start)
        end, following = (match.start(), match[1][0]) if match else (len(data), _EOI)
        result.coded.append(len(result.pieces))
        result.pieces.append(data[start:end].rstrip(b"\xff"))  # 0xFF may fill before a marker
        if number + 1 < expected:
            if following != _RESTARTS[number % 8]:
                raise EOFError("truncated: restart intervals are missing")
            result.pieces.append(data[end : end + 2])
            end += 2
        start = end
    return start
