"""The pictures that HEVC data hold, read without decoding (ITU-T H.265, section 7.3)."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.images.bitstream import MAX_UNITS, Bits, CodedPicture

_SPS, _SLICES = 33, range(32)
_MAX_SPS_BYTES = 4096
_SAMPLES = {0: 1, 1: 1.5, 2: 2, 3: 3}  # of each pixel, by chroma_format_idc


def hevc_pictures(data: bytes, configuration: bytes) -> list[CodedPicture]:
    """List the picture of HEVC data, in each size in which it may be coded.

    A size stands in a sequence parameter set (SPS): one in the `configuration`, which is a box
    hvcC, or among the data.

    Raises:
        EOFError, IndexError: they are truncated.
        ValueError: there are several pictures, or they disagree with the configuration.
    """
    units = list(_units(data, (configuration[21] & 3) + 1))
    first_slices = [unit for unit in units if unit[0] >> 1 & 63 in _SLICES and unit[2] & 128]
    if sum(_layer(unit) == 0 for unit in first_slices) > 1:
        raise ValueError("several pictures in one")
    sets = {unit for unit in (*_configured(configuration), *units) if unit[0] >> 1 & 63 == _SPS}
    return [_read_sps(unit, configuration) for unit in sets if _layer(unit) == 0]


def _layer(unit: bytes) -> int:
    return (unit[0] & 1) << 5 | unit[1] >> 3


def _units(data: bytes, length_bytes: int) -> Iterator[bytes]:
    """Split data into their NAL units, before each of which stands its length."""
    position = 0
    for _ in range(MAX_UNITS):
        if position == len(data):
            return
        start = position + length_bytes
        position = start + int.from_bytes(data[position:start])
        if position > len(data) or position < start + 3:
            raise EOFError("truncated HEVC data")
        yield data[start:position]
    raise ValueError("too many units")


def _configured(configuration: bytes) -> Iterator[bytes]:
    """Give the NAL units of a box hvcC."""
    position = 23
    for _ in range(configuration[22]):
        count = int.from_bytes(configuration[position + 1 : position + 3])
        position += 3
        for _ in range(count):
            start = position + 2
            position = start + int.from_bytes(configuration[position:start])
            if position > len(configuration) or position < start + 3:
                raise EOFError("truncated HEVC configuration")
            yield configuration[start:position]


def _read_sps(unit: bytes, configuration: bytes) -> CodedPicture:
    bits = Bits(unit[2:_MAX_SPS_BYTES].replace(b"\0\0\3", b"\0\0"))
    bits.read(4)
    layers = bits.read(3)
    bits.read(1 + 96)  # profile, tier and level
    present = [bits.read(2) for _ in range(8 if layers else 0)][:layers]
    for flags in present:
        bits.read(88 * (flags >> 1) + 8 * (flags & 1))
    bits.read_golomb()
    chroma = bits.read_golomb()
    if chroma == 3:
        bits.read(1)
    width, height = bits.read_golomb(), bits.read_golomb()
    if bits.read(1):  # a margin that is not shown
        for _ in range(4):
            bits.read_golomb()
    depths = [bits.read_golomb(), bits.read_golomb()]
    # By what the configuration says pi-heif allocates the memory that libheif fills.
    declared = [configuration[16] & 3, configuration[17] & 7, configuration[18] & 7]
    if [chroma, *depths] != declared:
        raise ValueError("samples of another depth than declared")
    return CodedPicture(width, height, _SAMPLES[chroma], 8 + max(depths))
