"""Indexes → a folder that TensorBoard's Embedding Projector shows.

    projector_config.pbtxt   an embedding for each engine, and the files that belong to it
    <engine>/vectors.bytes   (points, dim) float32, little-endian; or `vectors.tsv`, if need be
    metadata.tsv             a row for each point, with the first item that shows its photo
    sprite.jpg               a thumbnail for each point, row by row

A point is a photo that all engines have, so that they share metadata and sprite.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import QueryError
from pipeline.progress import SILENT, Progress
from pipeline.report.exports import exporting
from pipeline.report.photo_sample import Rows, SampledPhoto, grid_side, sample_photos, sprite
from pipeline.search.engine_searcher import EngineSearcher

METADATA, SPRITE = "metadata.tsv", "sprite.jpg"
MAX_POINTS = 100_000  # the projector asks for no more
MAX_SPRITE_SIDE = 8192  # pixels; the projector refuses a longer one
MAX_TILE_SIDE = 64  # pixels
SPRITE_QUALITY = 90
VECTOR_BLOCK = 256  # vectors read and written at a time
# The projector labels points by the first column that has anything but numbers.
COLUMNS = ("name", "id", "key", "category", "items", "photo")
# What ends a cell or a line here or in a browser, and what has no encoding.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


@dataclass(frozen=True)
class Export:
    """What was written."""

    folder: Path
    engines: dict[str, str]  # engine → what the projector calls it
    points: int
    photos: int  # that all engines have; if that is more than `points`, those are a sample
    unreadable: int  # points whose photo can no longer be read
    sprite_side: int  # pixels of one thumbnail's side

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {**asdict(self), "folder": str(self.folder)}


def export(
    searchers: Sequence[EngineSearcher],
    folder: Path,
    limit: int = 10_000,
    seed: int = 7,
    progress: Progress = SILENT,
    *,
    max_sprite_side: int = MAX_SPRITE_SIDE,
    vector_block: int = VECTOR_BLOCK,
) -> Export:
    """Write vectors, metadata and thumbnails of the photos that all of these engines have.

        with pipeline.open(config) as searcher:
            export(list(searcher.engines.values()), Path("projector"))

    Of more than `limit` photos, that many are chosen at random, the same ones for every engine.

    Raises:
        QueryError: `limit` is out of bounds, no photo is common to the engines, or `folder` holds
            something else than an earlier export.
        BusyError: another process is writing there.
        OSError: it cannot be written.
    """
    if not 1 <= limit <= MAX_POINTS:
        hint = f"give 1 to {MAX_POINTS:,}, which is all that the projector shows"
        raise QueryError(f"{limit:,} photos", where="--limit", hint=hint)
    sample = sample_photos(searchers, limit, seed)
    photos = sample.photos
    if not photos:
        names = ", ".join(searcher.name for searcher in searchers)
        hint = "run `imgsearch build`"
        raise QueryError("no photo is in all of their indexes", where=names, hint=hint)
    titles = {s.name: s.name + (" (RANDOM weights)" if s.warning else "") for s in searchers}
    side = tile_side(len(photos), max_sprite_side)
    with exporting(folder, "projector", {"engines": titles, "photos": sample.common}) as aside:
        tensors = []
        for searcher, rows in zip(searchers, sample.rows, strict=True):
            file = write_vectors(aside / searcher.name, searcher, rows, progress, vector_block)
            shape = (len(photos), searcher.index.dim)
            tensors.append((titles[searcher.name], shape, file.relative_to(aside)))
        write_config(aside / "projector_config.pbtxt", tensors, side)
        lines = "".join("\t".join(cells) + "\n" for cells in table(photos))
        (aside / METADATA).write_text(lines, encoding="utf-8", newline="\n")
        limits, decoders = searchers[0].limits, searchers[0].config.embedding.decoders
        # The projector needs a square: it divides by the rows where it means the columns.
        picture, unreadable = sprite(photos, side, limits, decoders, progress)
        # Colors are kept at full resolution, so that no tile bleeds into the next.
        picture.save(aside / SPRITE, "JPEG", quality=SPRITE_QUALITY, subsampling=0)
    return Export(folder, titles, len(photos), sample.common, unreadable, side)


def tile_side(count: int, max_sprite_side: int = MAX_SPRITE_SIDE) -> int:
    """Return the pixels of a tile's side: as large as a sprite of `count` tiles may have them."""
    return min(MAX_TILE_SIDE, max_sprite_side // grid_side(count))


def write_config(
    file: Path, tensors: Sequence[tuple[str, tuple[int, int], Path]], tile_side: int
) -> None:
    """Write which (name, shape, file of vectors) there are, and what belongs to them."""
    # TensorBoard's own format; neither import loads TensorFlow.
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    config = ProjectorConfig()
    for name, shape, path in tensors:
        embedding = config.embeddings.add(
            tensor_name=name, tensor_shape=shape, tensor_path=str(path), metadata_path=METADATA
        )
        embedding.sprite.image_path = SPRITE
        embedding.sprite.single_image_dim.extend((tile_side, tile_side))
    file.write_text(text_format.MessageToString(config), encoding="utf-8")


def write_vectors(
    folder: Path, searcher: EngineSearcher, rows: Rows, progress: Progress, block_size: int
) -> Path:
    """Write the vectors of these rows into a new folder, exactly; return the file.

    TensorBoard reads a file of vectors as text, and as binary numbers only if that fails. Binary is
    far less work for both sides, so text is written only where binary could be taken for text.
    """
    folder.mkdir()
    blocks = [rows[start : start + block_size] for start in range(0, len(rows), block_size)]
    is_text = may_be_text(searcher.index.vectors(blocks[0]).astype("<f4").tobytes())
    file = folder / ("vectors.tsv" if is_text else "vectors.bytes")
    label = f"{searcher.name}: writing vectors"
    with file.open("wb") as out, progress.task(label, len(rows), "photos") as advance:
        for block in blocks:
            vectors = searcher.index.vectors(block)
            if is_text:
                np.savetxt(out, vectors, "%.9g", "\t")  # 9 digits tell any two float32 apart
            else:
                out.write(vectors.astype("<f4").tobytes())
            advance(len(block))
    return file


def may_be_text(start: bytes) -> bool:
    """Whether the first line of a file that starts with these bytes may be UTF-8."""
    line = start.partition(b"\n")[0]
    try:
        codecs.getincrementaldecoder("utf-8")().decode(line)  # the last letter may be cut off
    except UnicodeDecodeError:
        return False
    return True


def table(photos: Sequence[SampledPhoto]) -> Iterator[list[str]]:
    """Yield the cells of the metadata: a heading, then a row for each photo.

    After our columns come those of the catalog's metadata that hold only texts and numbers. All
    headings differ.
    """
    metadata = [photo.record.metadata if photo.record else {} for photo in photos]
    values = [item for row in metadata for item in row.items() if item[1] is not None]
    others = {column for column, value in values if not isinstance(value, str | int | float)}
    columns = sorted({column for column, _ in values} - others)
    heading = list(COLUMNS)
    for column in columns:
        name = _cell(column)
        while name in heading:
            name += " (metadata)"
        heading.append(name)
    yield heading
    for photo, texts in zip(photos, metadata, strict=True):
        record = photo.record
        key, name, category = (record.key, record.name, record.category) if record else ("",) * 3
        row = (name, photo.item, key, category, photo.items, photo.photo.file)
        yield [_cell(value) for value in (*row, *(texts.get(column) for column in columns))]


def _cell(value: object) -> str:
    return "" if value is None else _UNSAFE.sub(" ", str(value)).strip()
