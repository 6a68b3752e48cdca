"""What finds neighbors. A new kind of index is a module here and a line in each function."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pipeline.index.base import F32Matrix, Ids, VectorIndex
from pipeline.index.builds import INDEX_FILE
from pipeline.index.flat import FlatIndex, write_flat

Kind = Literal["flat", "pruned"]


def write_index(
    kind: Kind, folder: Path, rows: int, dim: int, parts: Iterable[tuple[Ids, F32Matrix]]
) -> None:
    """Write an index of (rows, dim) float32 into a folder, from parts of (row numbers, vectors).

    Raises:
        OSError: the files cannot be written.
    """
    write_flat(folder / INDEX_FILE, rows, dim, parts)
    if kind == "pruned":
        from pipeline.index.pruned import write_pruned

        write_pruned(folder)


def open_index(kind: Kind, folder: Path) -> VectorIndex:
    """Open the index in a folder.

    Raises:
        DamagedArtifactError: its files are not what `write_index` wrote.
    """
    flat = FlatIndex(folder / INDEX_FILE)
    if kind == "flat":
        return flat
    from pipeline.index.pruned import PrunedIndex

    return PrunedIndex(folder, flat.file, flat)
