"""The pictures that AV1 data hold, read without decoding (AV1 specification, section 5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pipeline.images.bitstream import MAX_UNITS, Bits, CodedPicture

_SEQUENCE_HEADER, _FRAME_HEADERS = 1, {3, 6, 7}
_HEADER_BYTES = 1024  # more than any header takes
_KEY, _SWITCH = 0, 3  # types of frames
_CHOSEN_BY_FRAME = 2
_LAST_LEVEL_OF_ONE_TIER = 7


class _Sequence(NamedTuple):
    """What a sequence header says about the frames that follow it."""

    picture: CodedPicture
    is_reduced: bool  # one frame, whose header says less
    time_bits: int
    id_bits: int
    screen_content: int
    whole_vectors: int


def av1_pictures(data: bytes) -> list[CodedPicture]:
    """List the frames of AV1 data, shown or hidden, in the size in which they are coded.

    Raises:
        EOFError: it is truncated.
        ValueError: it is damaged, or a frame has another size than its sequence.
    """
    pictures: list[CodedPicture] = []
    sequence: _Sequence | None = None
    for kind, payload in _units(data):
        if kind == _SEQUENCE_HEADER:
            sequence = _read_sequence(Bits(payload[:_HEADER_BYTES]))
        elif kind in _FRAME_HEADERS:
            if sequence is None:
                raise ValueError("a frame without its sequence")
            if _is_coded(Bits(payload[:_HEADER_BYTES]), sequence):
                pictures.append(sequence.picture)
    return pictures


def _units(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Split data into open bitstream units: (type, payload)."""
    position = 0
    for _ in range(MAX_UNITS):
        if position == len(data):
            return
        header = data[position]
        position += 2 if header & 4 else 1
        size = len(data) - position
        if header & 2:
            size, position = _read_leb128(data, position)
        if position + size > len(data):
            raise EOFError("truncated AV1 data")
        yield header >> 3 & 15, data[position : position + size]
        position += size
    raise ValueError("too many units")


def _read_leb128(data: bytes, position: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte, the lowest first, and where it ends."""
    value = 0
    for index in range(8):
        value |= (data[position + index] & 127) << 7 * index
        if data[position + index] < 128:
            break
    return value, position + index + 1


def _read_sequence(bits: Bits) -> _Sequence:
    profile, _, is_reduced = bits.read(3), bits.read(1), bool(bits.read(1))
    time_bits = 0
    if is_reduced:
        bits.read(5)  # level
    else:
        time_bits = _read_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    width, height = bits.read(width_bits) + 1, bits.read(height_bits) + 1
    id_bits = 0
    if not is_reduced and bits.read(1):
        id_bits = 3 + bits.read(4) + bits.read(3)
    screen_content, whole_vectors = _read_tools(bits, is_reduced)
    is_deep = bits.read(1)
    depth = 8 + 2 * is_deep
    if profile == 2 and is_deep:
        depth += 2 * bits.read(1)
    is_gray = profile != 1 and bits.read(1)
    samples = 1 if is_gray else 1.5 if profile == 0 else 3
    picture = CodedPicture(width, height, samples, depth)
    return _Sequence(picture, is_reduced, time_bits, id_bits, screen_content, whole_vectors)


def _read_operating_points(bits: Bits) -> int:
    """Skip all that is about time; return how many bits tell the time of a frame."""
    time_bits = delay_bits = 0
    if bits.read(1):
        bits.read(64)
        is_steady = bits.read(1)
        if is_steady:
            bits.read_golomb()
        if bits.read(1):
            delay_bits = bits.read(5) + 1
            bits.read(37)
            time_bits = (bits.read(5) + 1) * (not is_steady)
    has_display_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > _LAST_LEVEL_OF_ONE_TIER:
            bits.read(1)
        if delay_bits and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if has_display_delay and bits.read(1):
            bits.read(4)
    return time_bits


def _read_tools(bits: Bits, is_reduced: bool) -> tuple[int, int]:
    """Read which tools of coding are on: for screen content, and vectors of whole pixels."""
    bits.read(3)
    screen_content = whole_vectors = _CHOSEN_BY_FRAME
    if not is_reduced:
        bits.read(4)
        has_order = bits.read(1)
        bits.read(2 * has_order)
        if not bits.read(1):
            screen_content = bits.read(1)
        if screen_content and not bits.read(1):
            whole_vectors = bits.read(1)
        bits.read(3 * has_order)
    bits.read(3)
    return screen_content, whole_vectors


def _is_coded(bits: Bits, sequence: _Sequence) -> bool:
    """Whether a frame is decoded, not shown again; ValueError if it has a size of its own."""
    if sequence.is_reduced:
        return True
    if bits.read(1):
        return False
    kind, is_shown = bits.read(2), bits.read(1)
    bits.read(sequence.time_bits if is_shown else 1)
    if kind != _SWITCH and not (kind == _KEY and is_shown):
        bits.read(1)
    bits.read(1)
    screen_content = sequence.screen_content
    if screen_content == _CHOSEN_BY_FRAME:
        screen_content = bits.read(1)
    if screen_content and sequence.whole_vectors == _CHOSEN_BY_FRAME:
        bits.read(1)
    bits.read(sequence.id_bits)
    if kind == _SWITCH or bits.read(1):
        raise ValueError("a frame of another size than its sequence")
    return True
