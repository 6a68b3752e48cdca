"""Projector: indexes → a folder that TensorBoard's Embedding Projector shows.

    projector_config.pbtxt   an embedding for each engine, and the files that belong to it
    <engine>/vectors.bytes   (points, dim) float32, little-endian; `vectors.tsv` where need be
    metadata.tsv             a row for each point: the first item that shows its photo
    sprite.jpg               a thumbnail for each point, row by row

A point is a photo that all of the engines have, so they share metadata and sprite.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import QueryError
from pipeline.progress import SILENT, Progress
from pipeline.report.exports import exporting
from pipeline.report.points import Point, choose, grid, sprite
from pipeline.search.engine_searcher import EngineSearcher

F32Matrix = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

_KIND = "projector"
_CONFIG, _METADATA, _SPRITE = "projector_config.pbtxt", "metadata.tsv", "sprite.jpg"
_MOST = 100_000  # points; the projector asks for no more
_SPRITE_SIDE = 8192  # pixels; the projector refuses a longer one
_TILE_SIDE = 64  # pixels at most
_QUALITY = 90
_BLOCK = 256  # vectors read and written at a time
# The projector labels points by the first column that has anything but numbers.
_COLUMNS = ("name", "id", "key", "category", "items", "photo")
# What ends a cell or a line here or in a browser, and what has no encoding.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


@dataclass(frozen=True)
class Export:
    """What was written."""

    folder: Path
    engines: dict[str, str]
    """Each engine → what the projector calls it."""
    points: int
    photos: int
    """That all of the engines have; if they are more than `points`, those are a sample."""
    unreadable: int
    """Points whose photo cannot be read any more."""
    sprite_side: int
    """Pixels of one thumbnail's side."""


def export(
    searchers: Sequence[EngineSearcher],
    folder: Path,
    most: int = 10_000,
    seed: int = 7,
    progress: Progress = SILENT,
) -> Export:
    """Write vectors, metadata and thumbnails of the photos that all of these engines have.

    Of more than `most` photos, that many are chosen at random, the same ones for every engine.

    Raises:
        QueryError: `most` is out of bounds, no photo is common to the engines, or `folder` holds
            something else than an earlier export.
        BusyError: another process is writing there.
        OSError: it cannot be written.
    """
    if not 1 <= most <= _MOST:
        raise QueryError(f"--most {most}: give 1 to {_MOST:,}; the projector shows no more")
    chosen = choose(searchers, most, seed)
    points = chosen.points
    if not points:
        names = ", ".join(searcher.name for searcher in searchers)
        raise QueryError(f"{names}: no photo is in all of their indexes; run `imgsearch build`")
    engines = {searcher.name: _title(searcher) for searcher in searchers}
    side = tile_side(len(points))
    with exporting(folder, _KIND, {"engines": engines, "photos": chosen.photos}) as aside:
        entries = []
        for searcher, own in zip(searchers, chosen.rows, strict=True):
            file = write_vectors(aside / searcher.name, searcher, own, progress)
            shape = (len(points), searcher.index.dim)
            path = file.relative_to(aside).as_posix()
            entries.append(_entry(engines[searcher.name], shape, path, side))
        (aside / _CONFIG).write_text("".join(entries), encoding="utf-8")
        lines = "".join("\t".join(cells) + "\n" for cells in table(points))
        (aside / _METADATA).write_text(lines, encoding="utf-8", newline="\n")
        limits, decoders = searchers[0].limits, searchers[0].config.embedding.decoders
        # The square that the projector needs: it divides by the rows where it means the columns.
        picture, unreadable = sprite(points, side, limits, decoders, progress)
        # Colors are kept at full resolution, so that no tile bleeds into the next.
        picture.save(aside / _SPRITE, "JPEG", quality=_QUALITY, subsampling=0)
    return Export(folder, engines, len(points), chosen.photos, unreadable, side)


def _title(searcher: EngineSearcher) -> str:
    return f"{searcher.name} (RANDOM weights)" if searcher.warning else searcher.name


def tile_side(count: int) -> int:
    """Pixels of a tile's side: less where a square of `count` tiles would be too long for it."""
    return min(_TILE_SIDE, _SPRITE_SIDE // grid(count))


def _entry(name: str, shape: tuple[int, int], tensor: str, side: int) -> str:
    """One embedding of the configuration; names are those of engines, and need no escapes."""
    return f"""embeddings {{
  tensor_name: "{name}"
  tensor_shape: {shape[0]}
  tensor_shape: {shape[1]}
  tensor_path: "{tensor}"
  metadata_path: "{_METADATA}"
  sprite {{
    image_path: "{_SPRITE}"
    single_image_dim: {side}
    single_image_dim: {side}
  }}
}}
"""


def write_vectors(folder: Path, searcher: EngineSearcher, rows: Ids, progress: Progress) -> Path:
    """Write the vectors of these rows into a new folder, exactly; return the file.

    TensorBoard reads any file of vectors as text, and as numbers only if it fails to decode it.
    Numbers are far less work for both, so text is written only where they could be taken for it.
    """
    folder.mkdir()
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    is_text = may_be_text(_bytes(searcher.index.vectors(blocks[0])))
    file = folder / ("vectors.tsv" if is_text else "vectors.bytes")
    label = f"{searcher.name}: writing vectors"
    with file.open("wb") as out, progress.task(label, len(rows), "photos") as advance:
        for block in blocks:
            vectors = searcher.index.vectors(block)
            if is_text:
                np.savetxt(out, vectors, "%.9g", "\t")  # 9 digits tell any two float32 apart
            else:
                out.write(_bytes(vectors))
            advance(len(block))
    return file


def _bytes(vectors: F32Matrix) -> bytes:
    return vectors.astype("<f4").tobytes()


def may_be_text(start: bytes) -> bool:
    """Whether the first line of a file that starts so, or all that is known of it, is UTF-8."""
    line = start.partition(b"\n")[0]
    try:
        codecs.getincrementaldecoder("utf-8")().decode(line)  # its last letter may be cut
    except UnicodeDecodeError:
        return False
    return True


def table(points: Sequence[Point]) -> Iterator[list[str]]:
    """Yield the cells of the metadata: a heading, then a row for each point.

    After our own columns come those of the catalog that nowhere hold anything but texts and
    numbers. A heading is never a second time the same.
    """
    metadata = [point.record.metadata if point.record else {} for point in points]
    columns = _scalar_columns(metadata)
    heading = list(_COLUMNS)
    for column in columns:
        name = _cell(column)
        while name in heading:
            name += " (metadata)"
        heading.append(name)
    yield heading
    for point, cells in zip(points, metadata, strict=True):
        record = point.record
        key, name, category = (record.key, record.name, record.category) if record else ("",) * 3
        own = (name, point.item, key, category, point.items, point.photo.file)
        yield [_cell(value) for value in (*own, *(cells.get(column) for column in columns))]


def _scalar_columns(metadata: Sequence[Any]) -> list[str]:
    is_scalar: dict[str, bool] = {}
    for cells in metadata:
        for column, value in cells.items():
            if value is not None:
                fits = isinstance(value, str | int | float)
                is_scalar[column] = fits and is_scalar.get(column, True)
    return sorted(column for column, fits in is_scalar.items() if fits)


def _cell(value: object) -> str:
    return "" if value is None else _UNSAFE.sub(" ", str(value)).strip()
