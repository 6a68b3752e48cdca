"""What happens to JPEG files on their way: parts lost, emptied, or followed by something else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

_MARKER = re.compile(rb"\xff[^\x00\xff]")
TRAILER = b"\0\0\1\nImage_UTC_Data1700000000000SEFHj\0\0\0SEFT"  # as of a Samsung phone
END = b"\xff\xd9"


def coded_runs(data: bytes) -> list[tuple[int, int]]:
    """(start, end) of each run of entropy-coded data in a JPEG file that libjpeg wrote."""
    runs, position, start = [], 2, 0
    while match := _MARKER.search(data, position):
        marker, end = match[0][1], match.end()
        if start:
            runs.append((start, match.start()))
        if marker == END[1]:
            break
        is_restart = 0xD0 <= marker < 0xD8
        position = end if is_restart else end + int.from_bytes(data[end : end + 2])
        start = position if is_restart or marker == 0xDA else 0
    return runs


def _without(data: bytes, runs: list[tuple[int, int]]) -> bytes:
    """Cut runs out; the markers between them stay."""
    for start, end in reversed(runs):
        data = data[:start] + data[end:]
    return data


def whole(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Files of the same picture: what is added or lacking does not belong to it."""
    yield "no end marker", data[:-2]
    yield "half an end marker", data[:-1]
    yield "line break for end marker", data[:-2] + b"\r\n"
    yield "line break after it", data + b"\r\n"
    yield "trailer for end marker", data[:-2] + TRAILER
    yield "trailer with markers", data[:-2] + b"\0\xff\xd5\xff\xe1\xff\xda\xff\x77" + TRAILER
    yield "second picture", data + data
    yield "zeros before the end", data[:-2] + bytes(50) + END
    yield "fill bytes", data[:-2] + b"\xff\xff" + END
    thumbnail = b"\xff\xe1" + (8 + len(data)).to_bytes(2) + b"Exif\0\0" + data
    yield "thumbnail", data[:2] + thumbnail + data[2:]


def lost_anywhere(data: bytes, rng: Random) -> Iterator[tuple[str, bytes]]:
    """Files of which a large part is lost."""
    runs = coded_runs(data)
    first, size = runs[0][0], runs[-1][1] - runs[0][0]
    cut = first + int(size * rng.uniform(0.1, 0.9))
    yield "cut", data[:cut]
    yield "cut, end marker", data[:cut] + END
    yield "cut, trailer", data[:cut] + TRAILER
    yield "cut, zeros", data[:cut] + bytes(len(data) - cut)
    yield "cut, second picture", data[:cut] + data


def lost_intervals(data: bytes, rng: Random) -> Iterator[tuple[str, bytes]]:
    """Files with restart markers of which intervals are lost or shortened."""
    runs = coded_runs(data)
    first, size, count = runs[0][0], runs[-1][1] - runs[0][0], len(runs)
    markers = [at for _, at in runs if 0xD0 <= data[at + 1] < 0xD8]
    one, few = rng.choice(range(count)), max(2, count // 4)
    start, end = rng.choice([run for run in runs if run[1] in markers])
    middle = (start + end) // 2
    yield "first ones emptied", _without(data, runs[:few])
    yield "some emptied", _without(data, runs[one : one + few])
    yield "one emptied", _without(data, [(start, end)])
    yield "last ones emptied", _without(data, runs[-few:])
    yield "one halved", data[:middle] + data[end:]
    yield "one lost", data[:start] + data[end + 2 :]
    head = first + size * rng.randrange(10, 60) // 100
    yield "head lost", data[:first] + data[head:]
    tail = min(head + size // 3, runs[-1][0])
    yield "piece lost", data[:head] + data[tail:]
    yield "hole of zeros", data[:head] + bytes(tail - head) + data[tail:]
    at = rng.choice(markers)
    other = 0xD0 + (data[at + 1] - 0xD0 + rng.randrange(1, 8)) % 8
    yield "marker out of order", data[: at + 1] + bytes((other,)) + data[at + 2 :]
    yield "marker lost", data[:at] + data[at + 2 :]
    yield "marker doubled", data[:at] + data[at : at + 2] + data[at:]
