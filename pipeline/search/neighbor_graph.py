"""Neighbors: an index → the k-nearest-neighbor graph of its catalog, in one file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import replacing
from pipeline.concurrency import cores, ordered_map
from pipeline.errors import QueryError
from pipeline.progress import SILENT, Progress
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.search.ranking import QueryVectors, RankedItem, Ranking, SearchFilter
from pipeline.search.spec import positive

EDGE = np.dtype([("item", "<i8"), ("rank", "<i4"), ("neighbor", "<i8"), ("distance", "<f8")])
"""One row of the graph: `neighbor` is the `rank`-th nearest to `item`, at a Euclidean distance."""
SUFFIXES = (".parquet", ".npy")
BLOCK = 1024  # items whose neighbors are searched for at a time

Edges = npt.NDArray[np.void]


def neighbor_blocks(
    searcher: EngineSearcher, k: int, block_size: int = BLOCK
) -> Iterator[list[tuple[int, list[RankedItem]]]]:
    """Yield every item of the index with its k nearest others, in blocks, by ascending id.

    Each core searches for a block: one search takes one core (`index.vectors.import_faiss`).

        for block in neighbor_blocks(searcher, 3): ...
    """
    items, rows = searcher.build.ids[np.lexsort(searcher.build.ids.T)].T[::-1]
    ids, starts = np.unique(items, return_index=True)
    ends = np.append(starts[1:], len(items))
    ranking = Ranking(searcher.index, searcher.build, SearchFilter())

    def search(first: int) -> list[tuple[int, list[RankedItem]]]:
        block = slice(first, first + block_size)
        begin = starts[first]
        vectors = searcher.index.vectors(rows[begin : ends[block][-1]])
        queries = [
            QueryVectors(vectors[start - begin : end - begin], exclude=(item,))
            for item, start, end in zip(
                ids[block].tolist(), starts[block], ends[block], strict=True
            )
        ]
        return list(zip(ids[block].tolist(), ranking.rank(queries, k), strict=True))

    workers = cores()
    yield from ordered_map(search, range(0, len(ids), block_size), workers, ahead=workers)


def write_graph(
    searcher: EngineSearcher,
    k: int,
    file: Path,
    progress: Progress = SILENT,
    block_size: int = BLOCK,
) -> int:
    """Write the k nearest others of every item, by item and rank; return how many rows there are.

    The file is Parquet or a structured NumPy array, by its name, with the columns of `EDGE`. It is
    written in a stream, and is there only when it is complete.

    Raises:
        QueryError: k is not positive, or the file has another ending.
        OSError: it cannot be written.
    """
    if file.suffix not in SUFFIXES:
        raise QueryError(f"give a name that ends in {' or '.join(SUFFIXES)}", where=file)
    items = int(searcher.build.manifest["items"])
    rows = items * min(positive(k), items - 1)
    label = f"{searcher.name}: finding neighbors"
    with progress.task(label, items, "items") as advance, replacing(file) as unfinished:

        def blocks() -> Iterator[Edges]:
            for block in neighbor_blocks(searcher, k, block_size):
                edges = [
                    (item, rank, neighbor.item, neighbor.distance)
                    for item, neighbors in block
                    for rank, neighbor in enumerate(neighbors, 1)
                ]
                yield np.array(edges, EDGE)
                advance(len(block))

        write = _write_parquet if file.suffix == ".parquet" else _write_npy
        write(unfinished, rows, blocks())
    return rows


def _write_npy(file: Path, rows: int, blocks: Iterable[Edges]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(EDGE), "fortran_order": False, "shape": (rows,)}
    with file.open("wb") as out:
        np.lib.format.write_array_header_2_0(out, header)
        for edges in blocks:
            out.write(edges.tobytes())


def _write_parquet(file: Path, rows: int, blocks: Iterable[Edges]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.from_numpy_dtype(EDGE[name])) for name in EDGE.names or ()])
    with pq.ParquetWriter(file, schema) as writer:
        for edges in blocks:
            columns = {name: np.ascontiguousarray(edges[name]) for name in schema.names}
            writer.write_table(pa.table(columns, schema))
