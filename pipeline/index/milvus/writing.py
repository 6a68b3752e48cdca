"""Write a collection: insert, flush, index, load, count, and compare what it finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.errors import VectorDatabaseError
from pipeline.index.base import F32Matrix, Ids, VectorIndex
from pipeline.index.milvus.checking import content_fault, count_fault
from pipeline.index.milvus.collection import (
    BYTES_PER_ROW,
    COLUMNS,
    ROW,
    SHARED,
    VECTOR,
    Collection,
)
from pipeline.index.milvus.columns import Columns, row_blocks
from pipeline.index.milvus.probing import find_levels
from pipeline.index.milvus.server import MilvusServer
from pipeline.progress import Advance

MESSAGE_BYTES = 16 << 20  # of an insert: Milvus takes 64 MiB
MAX_ROWS = 4096  # of an insert
INDEX_PAUSE = 0.1  # seconds until Milvus is asked again whether it has made an index

ColumnsOf = Callable[[Ids], Sequence[Columns | None]]
"""Row numbers → what `columns.row_columns` says of them."""


def write_collection(
    server: MilvusServer,
    collection: Collection,
    index: VectorIndex,
    columns_of: ColumnsOf,
    advance: Advance,
) -> Collection:
    """Write the vectors of an exact index, and what items' columns say, unless they are there.

    A collection that a killed run left unfinished is written anew. It is compared with the index
    before this returns it, with what was measured if it promises recall.

    Raises:
        VectorDatabaseError: it does not work, does not fit, or does not hold what it should.
    """
    _check_memory(server, collection)
    name = collection.name
    if not _is_whole(server, name):
        drop(server, name)
        _create(server, collection)
        _insert(server, collection, index, columns_of, advance)
        server.call("flush", name)
        _create_index(server, collection)
    _wait_for_index(server, name)
    server.call("load_collection", name, replica_number=server.settings.replicas)
    _remove_if(count_fault(server, collection), server, collection)
    if collection.promise is not None and collection.measured is None:
        collection = find_levels(server, collection, index)
    _remove_if(content_fault(server, collection, index), server, collection)
    return collection


def drop(server: MilvusServer, name: str) -> None:
    """Drop a collection, if it is there, and the aliases that name it: Milvus may refuse else."""
    if not server.call("has_collection", name):
        return
    for alias in server.call("describe_collection", name).get("aliases", ()):
        server.call("drop_alias", alias)
    server.call("drop_collection", name)


def _is_whole(server: MilvusServer, name: str) -> bool:
    """Whether all rows were inserted: the index is made afterwards."""
    return server.call("has_collection", name) and bool(server.call("list_indexes", name))


def _create(server: MilvusServer, collection: Collection) -> None:
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field(ROW, DataType.INT64, is_primary=True)
    schema.add_field(SHARED, DataType.BOOL)
    schema.add_field(COLUMNS, DataType.JSON)
    schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=collection.dim)
    # Nothing is written to it once it answers, so no query need wait for the latest time tick.
    server.call("create_collection", collection.name, schema=schema, consistency_level="Bounded")


def _insert(
    server: MilvusServer,
    collection: Collection,
    index: VectorIndex,
    columns_of: ColumnsOf,
    advance: Advance,
) -> None:
    per_row = 4 * collection.dim + BYTES_PER_ROW
    for rows in row_blocks(collection.rows, max(1, min(MAX_ROWS, MESSAGE_BYTES // per_row))):
        entities = _entities(rows, index.vectors(rows), columns_of(rows))
        for part in _parts(entities, per_row):
            # What may have arrived is not sent again: rows would be there twice.
            server.call("insert", collection.name, part, retry=False)
        advance(len(rows))


def _entities(
    rows: Ids, vectors: F32Matrix, columns: Sequence[Columns | None]
) -> list[dict[str, Any]]:
    return [
        {ROW: row, SHARED: own is None, COLUMNS: own or {}, VECTOR: vector}
        for row, own, vector in zip(rows.tolist(), columns, vectors, strict=True)
    ]


def _parts(entities: list[dict[str, Any]], per_row: int) -> list[list[dict[str, Any]]]:
    """Split what long columns make too long for one message."""
    size = sum(per_row + len(str(one[COLUMNS])) for one in entities)
    if size <= 2 * MESSAGE_BYTES or len(entities) == 1:
        return [entities]
    middle = len(entities) // 2
    return _parts(entities[:middle], per_row) + _parts(entities[middle:], per_row)


def _create_index(server: MilvusServer, collection: Collection) -> None:
    from pymilvus import MilvusClient

    parameters = MilvusClient.prepare_index_params()
    parameters.add_index(VECTOR, index_name=VECTOR, **collection.index_parameters)
    server.call("create_index", collection.name, parameters, sync=False)


def _wait_for_index(server: MilvusServer, name: str) -> None:
    """Wait until the index is made.

    What is loaded before is searched by one that Milvus makes for the meantime. That finds less.
    """
    deadline = time.monotonic() + server.settings.publish_timeout
    while (state := server.call("describe_index", name, VECTOR)["state"]) != "Finished":
        if state == "Failed" or time.monotonic() > deadline:
            raise VectorDatabaseError(
                f"Milvus has not made the index of {name}: {state}",
                where=server.settings.uri,
                hint="see what its log says, and run `imgsearch build` again",
            )
        time.sleep(INDEX_PAUSE)


def _check_memory(server: MilvusServer, collection: Collection) -> None:
    """Refuse what does not fit: Milvus would wait for memory, and say nothing."""
    settings = server.settings
    if settings.memory_gb is None:
        return
    needed = collection.memory * settings.replicas / 1e9
    if needed > settings.memory_gb:
        raise VectorDatabaseError(
            f"{collection.rows:,} vectors of {collection.dim:,} numbers, {settings.replicas}"
            f" times, take about {needed:.1f} GB of memory, and index.milvus.memory_gb is"
            f" {settings.memory_gb:g}",
            where=settings.uri,
            hint="add query nodes, or use an engine with shorter vectors",
        )


def _remove_if(fault: str | None, server: MilvusServer, collection: Collection) -> None:
    if fault:
        raise _removed(fault, server, collection)


def _removed(fault: str, server: MilvusServer, collection: Collection) -> VectorDatabaseError:
    """Remove a collection that does not hold what it should; return what to raise."""
    drop(server, collection.name)
    return VectorDatabaseError(
        f"{collection.name} {fault}, and was removed",
        where=server.settings.uri,
        hint="run `imgsearch build` again",
    )
