"""Vectors → an index that finds the nearest ones.

A segment's folder always holds the vectors as a plain FAISS file, which `flat` searches
exhaustively. A type of index is what is written beside them, and how they are then searched: one
new module here and one line in `INDEX_TYPES` (and its name in `config`'s `IndexSettings.type`,
which refuses what is not there).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from pipeline.embeddings.flat_file import write_flat
from pipeline.embeddings.segment import INDEX_FILE, Segment
from pipeline.errors import DamagedArtifactError
from pipeline.index.base import F32Matrix, Ids, Mask, VectorIndex
from pipeline.index.builds import Build
from pipeline.index.flat import FlatIndex
from pipeline.index.promised import open_promised, write_promised
from pipeline.index.pruned import PrunedIndex, write_pruned
from pipeline.index.segment_rows import row_starts
from pipeline.index.segmented import LiveIndex, SegmentedIndex
from pipeline.index.vectors import VectorFile
from pipeline.index.watched import WatchedIndex
from pipeline.integrity import Watch


class IndexType(NamedTuple):
    """How an index of some type is written and opened."""

    write: Callable[[Path, VectorFile], None]
    """Writes into a folder what is needed beside the vectors. Raises OSError."""
    open: Callable[[Path, VectorFile, VectorIndex], VectorIndex]
    """Opens the index in a folder, given its vectors and the flat index of them; closing the index
    closes those two. Raises DamagedArtifactError."""
    write_promised: Callable[[Path, VectorFile, VectorIndex, float], None] | None = None
    """Writes, instead of `write`, what is needed to search with a promise of recall, too, given the
    flat index. None: what is searched is always exact."""
    open_promised: Callable[[Path, VectorFile, VectorIndex], VectorIndex] | None = None
    """Opens, instead of `open`, what keeps that promise."""


INDEX_TYPES: dict[str, IndexType] = {
    "flat": IndexType(lambda _folder, _file: None, lambda _folder, _file, flat: flat),
    "pruned": IndexType(write_pruned, PrunedIndex, write_promised, open_promised),
    # What a server holds is a whole build: `milvus.serve` puts it in front of this.
    "milvus": IndexType(lambda _folder, _file: None, lambda _folder, _file, flat: flat),
}


def write_index(
    kind: str,
    folder: Path,
    rows: int,
    dim: int,
    parts: Iterable[tuple[Ids, F32Matrix]],
    recall: float | None = None,
) -> None:
    """Write an index of (rows, dim) float32 into a folder, from parts of (row numbers, vectors).

    `kind` is a key of `INDEX_TYPES`: `write_index("flat", folder, *xb.shape, [(arange, xb)])`. With
    `recall` it may be opened to find that share of the nearest rows, and faster.

    Raises:
        OSError: the files cannot be written.
    """
    write_flat(folder / INDEX_FILE, rows, dim, parts)
    flat, index_type = FlatIndex(folder / INDEX_FILE), INDEX_TYPES[kind]
    with closing(flat):
        if recall is None or index_type.write_promised is None:
            index_type.write(folder, flat.file)
        else:
            index_type.write_promised(folder, flat.file, flat, recall)


def open_index(kind: str, folder: Path, *, exact: bool = True) -> VectorIndex:
    """Open the index in a folder, as just written: `open_index("flat", folder)`.

    If it is not to be `exact`, it was written with a promise of recall.

    Raises:
        DamagedArtifactError: its files are not what `write_index` wrote.
    """
    if kind not in INDEX_TYPES:
        raise DamagedArtifactError(
            f"its index is of the unknown type {kind!r}", where=folder, hint="run `imgsearch build`"
        )
    flat = FlatIndex(folder / INDEX_FILE)
    index_type = INDEX_TYPES[kind]
    open_ = index_type.open if exact else index_type.open_promised or index_type.open
    return open_(folder, flat.file, flat)


def open_segment(segment: Segment, *, exact: bool = False) -> VectorIndex:
    """Open the index of a segment, whose files are compared with their checksums.

    It keeps the promise of recall that it was written with, if any, or is `exact`.

    Raises:
        DamagedArtifactError: a file is not what was written; searching may raise this too.
    """
    with ExitStack() as opened:
        watch = opened.enter_context(
            closing(Watch(segment.path, segment.manifest, segment.index_files))
        )
        with watch:
            kind = str(segment.manifest["index"]["type"])
            exact = exact or "recall" not in segment.manifest["index"]
            index = opened.enter_context(closing(open_index(kind, segment.path, exact=exact)))
        opened.pop_all()
        return WatchedIndex(index, watch)


def open_segments(
    segments: Sequence[Segment], is_live: Mask, *, exact: bool = False
) -> VectorIndex:
    """Open segments, one or more, as one index of those of their rows that are live.

    `is_live` is (n,), for the rows of all segments one after another. `exact` is as of
    `open_segment`, and so is what is raised.
    """
    starts = row_starts(segments)
    with ExitStack() as opened:
        indexes: list[VectorIndex] = []
        for segment, start in zip(segments, starts[:-1], strict=True):
            index = opened.enter_context(closing(open_segment(segment, exact=exact)))
            is_live_here = is_live[start : start + segment.rows]
            indexes.append(index if is_live_here.all() else LiveIndex(index, is_live_here))
        opened.pop_all()
        return indexes[0] if len(indexes) == 1 else SegmentedIndex(indexes)


def open_build(build: Build, *, exact: bool = False) -> VectorIndex:
    """Open the index of a build: `open_build(engine.current_build())`.

    It keeps the promise of recall that it was built with, if any, or is `exact`.

    Raises:
        DamagedArtifactError: a file is not what was written; searching may raise this too.
    """
    return open_segments(build.segments, build.segment_rows.is_live, exact=exact)
