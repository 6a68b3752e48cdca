"""The structure of a JPEG file, read without decoding: its scans and their restart intervals."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.errors import RejectedImage
from pipeline.images.jpeg_segments import (
    EOI,
    FRAMES,
    MARKER,
    RESTARTS,
    SOS,
    TABLES,
    Frame,
    JpegSegment,
    Tables,
    components_of,
    next_segment,
)
from pipeline.images.limits import Reject

_APPLICATION = {0xE0: b"JFIF\0", 0xE1: b"Exif\0\0", 0xEE: b"Adobe"}  # the first of each is read
_MAX_SEGMENTS = 10_000  # real files have at most some hundred: pieces of XMP and of ICC profiles
_MAX_INTERVALS = 500_000
_MAX_SCANS = 100  # real progressive files have about 10
_MAX_SAMPLES = 150_000_000  # libjpeg keeps 2 bytes of each if there are several scans
# They are decoded twice, in at most 1 s: a byte of their data takes as long as these samples.
_MAX_WORK, _SAMPLES_PER_BYTE = 900_000_000, 35
MAX_ZEROS = 8  # bytes that may end the data of a picture: the flat chroma of its last blocks
_HOLE = bytes(64)  # this many zeros are none of a picture's data, unless they can be flat blocks
_PADDING = bytes(value * 89 % 255 for value in range(2, 130))  # irregular, and without 0xFF
_BEGIN, _END = b"\xff\xd8", bytes((0xFF, EOI))


@dataclass
class JpegScans:
    """What of a JPEG file makes its picture."""

    is_huffman: bool = True
    is_ended: bool = False  # an end marker follows what completes the picture
    scans: int = 0
    intervals: int = 0  # restart intervals, over all scans
    samples: int = 0  # over all scans: how often one is refined
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
        RejectedImage: it has too many pixels for so many scans.
        ValueError, KeyError, struct.error: it is damaged, or has more parts than any real file.
    """
    result, frame, tables = JpegScans(), None, Tables()
    position, application = len(_BEGIN), dict(_APPLICATION)
    for _ in range(_MAX_SEGMENTS):
        segment = next_segment(data, position)
        marker, parameters, start, position = segment
        if marker in FRAMES:
            frame = Frame.of(segment)
            result.is_huffman = frame.is_huffman
        elif marker in TABLES:
            tables.read(segment)
        elif marker in application and parameters.startswith(application[marker]):
            del application[marker]
        elif marker != SOS:
            continue
        result.pieces.append(data[start:position])
        if marker == SOS and frame is not None:
            position = _read_scan(data, segment, result, frame, tables)
            if frame.is_complete:
                result.is_ended = data[position : position + 2] == _END
                return result
    raise ValueError("too many segments")


def _read_scan(
    data: bytes, segment: JpegSegment, result: JpegScans, frame: Frame, tables: Tables
) -> int:
    """Add the restart intervals of a scan; return where it ends."""
    frame.fill(segment.parameters)
    units = frame.units(segment.parameters)
    can_be_zeros = frame.can_be_zeros(segment.parameters, tables)
    expected = -(-units // tables.interval) if tables.interval else 1
    result.scans += 1
    result.intervals += expected
    result.samples += frame.samples(components_of(segment.parameters))
    if result.intervals > _MAX_INTERVALS:
        raise ValueError("too many restart intervals")
    _check_scans(result, frame, len(data))
    start = segment.end
    for number in range(expected):
        match = MARKER.search(data, start)
        end, following = (match.start(), match[1][0]) if match else (len(data), EOI)
        coded = data[start:end].rstrip(b"\xff")  # 0xFF may fill before a marker
        result.coded.append(len(result.pieces))
        result.pieces.append(coded if can_be_zeros else _without_zeros(coded))
        if number + 1 < expected:
            if following != RESTARTS[number % 8]:
                raise EOFError("truncated: restart intervals are missing")
            result.pieces.append(data[end : end + 2])
            end += 2
        start = end
    return start


def _check_scans(result: JpegScans, frame: Frame, size: int) -> None:
    """Refuse what takes too long, or too much memory, as it is read in several passes."""
    if result.scans > _MAX_SCANS:
        raise ValueError("too many scans")
    if result.scans > 1 and (
        frame.samples(frame.sampling) > _MAX_SAMPLES
        or result.samples + _SAMPLES_PER_BYTE * size > _MAX_WORK
    ):
        message = f"{frame.width}x{frame.height} in several scans"
        raise RejectedImage(Reject.TOO_MANY_PIXELS, message)


def _without_zeros(coded: bytes) -> bytes:
    """Drop zeros that follow entropy-coded data; EOFError if they stand in for some of it."""
    stripped = coded.rstrip(b"\0")
    if _HOLE in stripped:
        raise EOFError("truncated: zeros in place of picture data")
    return coded[: len(stripped) + MAX_ZEROS]
